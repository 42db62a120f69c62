"""A switch's configuration as FRR's frr.conf, with the files `daemons` and `vtysh.conf` beside it.

eBGP unnumbered: sessions over link-local addresses that neighbours learn from router advertisements, IPv4 carried with
IPv6 next hops (RFC 8950). With a session per pair of switches, sessions run between IPv6 loopbacks instead, to which
static routes lead over all parallel links. FARE's path bandwidth travels in the link-bandwidth community (RFC 10005),
and is said by the advertiser: what FRR weighs by is what it has received, whatever an inbound route map makes of it.
Written for FRR 8.4 and later.
"""

from __future__ import annotations

from collections.abc import Iterator

from suanwang.fabric.clos import Clos
from suanwang.fabric.configure.bandwidths import Policy
from suanwang.fabric.configure.plan import Neighbour, Options, Plan, Switch
from suanwang.fabric.network import Network

DAEMONS = ("zebra", "bgpd", "staticd", "bfdd")
VTYSH = "service integrated-vtysh-config\n"
BEYOND = "64512:1"
"""The community of routes that came down from above the advertiser."""
MOST_PATHS = 256
"""As many as Debian's FRR is built for, and as SONiC's model takes."""
FAMILIES = (("ipv4", "ip", 4), ("ipv6", "ipv6", 6))


def configure_frr(fabric: Network | Clos, options: Options | None = None) -> dict[str, str]:
    """frr.conf of each switch by its name. Interfaces are `swp1` and on, in the order of the switch's ports.

    Raises:
        SuanwangError: INVALID where the plan does not work out; see `Plan`.
    """
    plan = Plan(fabric, options)
    return {switch.name: render(plan, switch) for switch in plan.switches()}


def daemons(options: Options) -> str:
    """The file `daemons`, which says what FRR starts."""
    wanted = [name for name in DAEMONS if name != "bfdd" or options.bfd]
    return "".join(f"{name}=yes\n" for name in wanted) + "vtysh_enable=yes\n"


def render(plan: Plan, switch: Switch) -> str:
    """The whole frr.conf of one switch."""
    return "\n".join(
        [*_head(plan, switch), *_interfaces(plan, switch), *_policies(plan, switch), *_bgp(plan, switch), ""]
    )


def interface(plan: Plan, number: int) -> str:
    """The name of port `number`."""
    return f"{plan.options.interfaces}{number}"


def _head(plan: Plan, switch: Switch) -> Iterator[str]:
    yield "frr defaults datacenter"
    yield f"hostname {switch.name}"
    yield "service integrated-vtysh-config"
    if plan.options.sessions == "link":
        # Before 9.0, the kernel's next-hop groups stay without a next hop whose link was down and is up again. Without
        # groups, FRR takes MAC addresses from link-local ones; with a session per pair those are given, and have none.
        yield "no zebra nexthop kernel enable"
    yield "!"
    if plan.options.sessions == "pair":
        for neighbour in switch.neighbours:
            for port in neighbour.ports:
                yield f"ipv6 route {neighbour.loopback6}/128 {neighbour.link_local} {interface(plan, port)}"
        yield "!"


def _interfaces(plan: Plan, switch: Switch) -> Iterator[str]:
    yield "interface lo"
    yield f" ip address {switch.loopback4}/32"
    yield f" ipv6 address {switch.loopback6}/128"
    yield "exit"
    index = 0
    for port in switch.ports:
        yield f"interface {interface(plan, port.number)}"
        far = "" if port.direction == "host" else f" {interface(plan, port.peer_number)}"
        yield f" description {port.peer_name}{far}"
        if port.direction == "host":
            for word, address in zip(("ip", "ipv6"), switch.gateway(index), strict=True):
                yield f" {word} address {address}"
            index += 1
        elif plan.options.sessions == "pair":
            yield f" ipv6 address {switch.link_local}/64"
        yield "exit"
    yield "!"


def _policies(plan: Plan, switch: Switch) -> Iterator[str]:
    if plan.options.bfd:
        yield "bfd"
        yield " profile fabric"
        yield f"  detect-multiplier {plan.options.bfd_multiplier}"
        yield f"  transmit-interval {plan.options.bfd_ms}"
        yield f"  receive-interval {plan.options.bfd_ms}"
        yield " exit"
        yield "exit"
        yield "!"
    if plan.options.announce == "port" and switch.announced:
        for (family, word, version), prefix in zip(FAMILIES, switch.announced, strict=True):
            yield f"{word} prefix-list ports seq 5 permit {prefix} ge {31 if version == 4 else 127}"
            yield f"route-map ports-{family} permit 10"
            yield f" match {word} address prefix-list ports"
            yield "exit"
    if plan.options.fare:
        # Else a session that comes up within five seconds of its route maps waits for them.
        yield "bgp route-map delay-timer 0"
        if _marks(switch):
            yield f"bgp community-list standard beyond permit {BEYOND}"
            yield "route-map from-above permit 10"
            yield f" set community {BEYOND} additive"
            yield "exit"
        for name, neighbour in _groups(plan, switch).items():
            yield from _export(plan, name, neighbour.policy)
    yield "!"


def _marks(switch: Switch) -> bool:
    """Whether routes from above must be told from others, as another bandwidth is said with them."""
    return any(one.policy.beyond_bps != one.policy.own_bps for one in switch.neighbours)


def _export(plan: Plan, name: str, policy: Policy) -> Iterator[str]:
    if policy.beyond_bps != policy.own_bps:
        yield f"route-map {name} permit 10"
        yield " match community beyond"
        yield f" set extcommunity bandwidth {_told(plan, policy.beyond_bps)}"
        yield "exit"
    yield f"route-map {name} permit 20"
    yield f" set extcommunity bandwidth {_told(plan, policy.own_bps)}"
    yield "exit"


def _told(plan: Plan, bandwidth_bps: int) -> str:
    """FRR's word for a bandwidth. `cumulative` is the sum of a route's paths; that of a single one is passed on."""
    return str(max(1, bandwidth_bps // plan.unit_bps)) if bandwidth_bps else "cumulative"


def _bgp(plan: Plan, switch: Switch) -> Iterator[str]:
    yield f"router bgp {switch.asn}"
    yield f" bgp router-id {switch.loopback4}"
    yield " no bgp default ipv4-unicast"
    yield " no bgp ebgp-requires-policy"
    yield " no bgp network import-check"
    yield " bgp bestpath as-path multipath-relax"
    groups = _groups(plan, switch)
    for name in groups:
        yield f" neighbor {name} peer-group"
        yield f" neighbor {name} remote-as external"
        yield f" neighbor {name} advertisement-interval 0"
        yield f" neighbor {name} timers connect 1"
        if plan.options.sessions == "pair":
            yield f" neighbor {name} disable-connected-check"
            yield f" neighbor {name} update-source {switch.loopback6}"
            yield f" neighbor {name} capability extended-nexthop"
        if plan.options.bfd:
            yield f" neighbor {name} bfd"
            yield f" neighbor {name} bfd profile fabric"
    for neighbour in switch.neighbours:
        group = group_of(plan, neighbour)
        if plan.options.sessions == "pair":
            yield f" neighbor {neighbour.loopback6} peer-group {group}"
            yield f" neighbor {neighbour.loopback6} description {neighbour.name}"
        else:
            for port in neighbour.ports:
                yield f" neighbor {interface(plan, port)} interface peer-group {group}"
    for index, (family, _, version) in enumerate(FAMILIES):
        yield f" address-family {family} unicast"
        yield f"  network {(switch.loopback4, switch.loopback6)[index]}/{32 if version == 4 else 128}"
        if switch.announced and plan.options.announce == "leaf":
            yield f"  network {switch.announced[index]}"
        elif switch.announced:
            yield f"  redistribute connected route-map ports-{family}"
        for name, neighbour in groups.items():
            yield f"  neighbor {name} activate"
            if plan.options.fare:
                if _marks(switch) and neighbour.direction == "up":
                    yield f"  neighbor {name} route-map from-above in"
                yield f"  neighbor {name} route-map {name} out"
        yield f"  maximum-paths {MOST_PATHS}"
        yield " exit-address-family"
    yield "exit"


def _groups(plan: Plan, switch: Switch) -> dict[str, Neighbour]:
    """Peer groups, and a neighbour of each: those of one direction and policy are alike."""
    return {group_of(plan, neighbour): neighbour for neighbour in switch.neighbours}


def group_of(plan: Plan, neighbour: Neighbour) -> str:
    """The peer group of a neighbour: its direction and, with FARE, what it is told of bandwidth."""
    if not plan.options.fare:
        return neighbour.direction
    own, beyond = neighbour.policy.own_bps, neighbour.policy.beyond_bps
    words = [neighbour.direction, _told(plan, own)] + ([_told(plan, beyond)] if beyond != own else [])
    return "-".join(words)
