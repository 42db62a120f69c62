"""What FRR is told: one router's configuration as frozen data, and its text.

Rendering is pure, so a configuration can be kept as a golden file and compared. Two ways of choosing a path are
offered, because the Internet has both:

* `metric="hops"`: eBGP as data centres run it (RFC 7938). Every router is an autonomous system, sessions are made over
  link-local addresses (RFC 8950 carries IPv4 over them), the shortest AS path wins and equal ones share the load.
* `metric="delay"`: every router adds the delay of the link to the metric of what it learns there, and the least sum
  wins. With BGP the sum travels in MULTI_EXIT_DISC (RFC 4271, section 5.1.4), which is passed on unchanged and compared
  between all neighbours, in place of the AS path's length; the AS path still breaks loops. With OSPF (RFC 2328) the sum
  is the cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Literal

Protocol = Literal["bgp", "ospf"]
Metric = Literal["hops", "delay"]

OSPF_MAXIMUM_COST = 65_535
"""RFC 2328, appendix C.3: an interface's output cost is an unsigned 16-bit number."""

OSPF_COST_UNIT_US = 10
"""One unit of OSPF cost stands for this much delay, so that links of up to 0.65 s can be told apart."""


@dataclass(frozen=True, slots=True)
class RouterInterface:
    """An interface on which a router seeks a neighbour. `delay_us` is the link's one-way delay."""

    name: str
    delay_us: int = 0


@dataclass(frozen=True, slots=True)
class RouterConfiguration:
    """Everything FRR on one node is told.

    `loopbacks` are addresses with their prefix lengths, IPv4 and IPv6, that the router announces; they stand on `lo`
    already. `maximum_paths` bounds how many equal paths are used at once. `bfd` asks for fast detection of silent
    failures (RFC 5880); a link that goes down is noticed at once without it.
    """

    name: str
    router_id: str
    asn: int
    loopbacks: tuple[str, ...]
    interfaces: tuple[RouterInterface, ...]
    protocol: Protocol = "bgp"
    metric: Metric = "hops"
    maximum_paths: int = 16
    bfd: bool = False

    @property
    def daemons(self) -> tuple[str, ...]:
        """The FRR daemons this configuration needs, in the order in which they must start."""
        routing = ("bgpd",) if self.protocol == "bgp" else ("ospfd", "ospf6d")
        return ("zebra", *routing, *(("bfdd",) if self.bfd else ()))


def render(router: RouterConfiguration) -> str:
    """The router's whole configuration, as `frr.conf` holds it."""
    return "!\n".join(render_daemon(router, daemon) for daemon in router.daemons)


def render_daemon(router: RouterConfiguration, daemon: str) -> str:
    """The part of the configuration that one daemon understands, to start it with."""
    return "".join(f"{line}\n" for line in (*_head(router), *_SECTIONS[daemon](router)))


def _head(router: RouterConfiguration) -> Iterator[str]:
    yield "frr defaults traditional"
    yield f"hostname {router.name}"


def _zebra(router: RouterConfiguration) -> Iterator[str]:
    if router.protocol == "bgp":
        return
    # OSPFv2 speaks only on interfaces that have an IPv4 address; point-to-point ones may all borrow the router's own.
    own = _addresses(router, version=4)
    for interface in router.interfaces:
        yield "!"
        yield f"interface {interface.name}"
        yield from (f" ip address {address}" for address in own)


def _bgpd(router: RouterConfiguration) -> Iterator[str]:
    yield "!"
    if router.metric == "delay":
        # A session that comes up within 5 s after its route map was defined would otherwise wait for the rest of them.
        yield "bgp route-map delay-timer 0"
        for interface in router.interfaces:
            yield "!"
            yield f"route-map add-delay-{interface.name} permit 10"
            # A step that costs nothing would let two routers each find the way through the other one best.
            yield f" set metric +{max(1, interface.delay_us)}"
            yield "exit"
        yield "!"
    yield f"router bgp {router.asn}"
    yield f" bgp router-id {router.router_id}"
    # Link-local sessions bring up both address families below; nothing is on by default and no policy is demanded.
    yield " no bgp default ipv4-unicast"
    yield " no bgp ebgp-requires-policy"
    yield " no bgp network import-check"
    yield " bgp bestpath as-path multipath-relax"
    if router.metric == "delay":
        yield " bgp always-compare-med"
        yield " bgp bestpath as-path ignore"
    # FRR waits a second for more neighbours before it announces to the first ones; a lab would feel that at each hop.
    yield " coalesce-time 50"
    yield " timers bgp 3 9"
    for interface in router.interfaces:
        yield f" neighbor {interface.name} interface remote-as external"
        yield f" neighbor {interface.name} timers connect 1"
        yield f" neighbor {interface.name} advertisement-interval 0"
        if router.bfd:
            yield f" neighbor {interface.name} bfd"
    for family, version in (("ipv4", 4), ("ipv6", 6)):
        yield " !"
        yield f" address-family {family} unicast"
        yield from (f"  network {address}" for address in _addresses(router, version))
        for interface in router.interfaces:
            yield f"  neighbor {interface.name} activate"
            if router.metric == "delay":
                yield f"  neighbor {interface.name} attribute-unchanged med"
                yield f"  neighbor {interface.name} route-map add-delay-{interface.name} in"
        yield f"  maximum-paths {router.maximum_paths}"
        yield " exit-address-family"
    yield "exit"


def _ospfd(router: RouterConfiguration) -> Iterator[str]:
    yield from _ospf_interfaces(router, "ip ospf", "ip ospf area 0")
    yield "!"
    yield "router ospf"
    yield f" ospf router-id {router.router_id}"
    yield " timers throttle spf 10 50 500"
    yield " timers throttle lsa all 0"
    yield " timers lsa min-arrival 0"
    yield f" maximum-paths {router.maximum_paths}"
    yield "exit"


def _ospf6d(router: RouterConfiguration) -> Iterator[str]:
    yield from _ospf_interfaces(router, "ipv6 ospf6", "ipv6 ospf6 area 0")
    yield "!"
    yield "router ospf6"
    yield f" ospf6 router-id {router.router_id}"
    yield " timers throttle spf 10 50 500"
    yield " timers lsa min-arrival 0"
    yield f" maximum-paths {router.maximum_paths}"
    yield "exit"


def _ospf_interfaces(router: RouterConfiguration, prefix: str, area: str) -> Iterator[str]:
    for name, cost in (("lo", 0), *((i.name, _ospf_cost(router, i)) for i in router.interfaces)):
        yield "!"
        yield f"interface {name}"
        yield f" {area}"
        if name == "lo":
            yield f" {prefix} passive"
        else:
            yield f" {prefix} network point-to-point"
            yield f" {prefix} cost {cost}"
            yield f" {prefix} hello-interval 1"
            yield f" {prefix} dead-interval 4"
            if router.bfd:
                yield f" {prefix} bfd"
        yield "exit"


def _ospf_cost(router: RouterConfiguration, interface: RouterInterface) -> int:
    if router.metric == "hops":
        return 10
    return min(OSPF_MAXIMUM_COST, max(1, round(interface.delay_us / OSPF_COST_UNIT_US)))


def _bfdd(router: RouterConfiguration) -> Iterator[str]:
    yield "!"
    yield "bfd"
    yield "exit"


def _addresses(router: RouterConfiguration, version: int) -> tuple[str, ...]:
    return tuple(text for text in router.loopbacks if ip_interface(text).version == version)


_SECTIONS = {"zebra": _zebra, "bgpd": _bgpd, "ospfd": _ospfd, "ospf6d": _ospf6d, "bfdd": _bfdd}
