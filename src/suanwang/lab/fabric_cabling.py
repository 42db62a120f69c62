"""The cabling of a running fabric, as its ports tell it by LLDP, and the sessions that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from suanwang.fabric.cabling.cables import Cable
from suanwang.fabric.cabling.lldp import Advertisement
from suanwang.fabric.cabling.lldp_bgp import BgpInformation, PeeringAddress
from suanwang.fabric.cabling.neighbours import Comparison, End, compare, ends, named, sighting
from suanwang.fabric.cabling.sessions import Discovery, discover
from suanwang.lab.fabric import FabricLab
from suanwang.lab.fabric_lldp import PortState, exchange
from suanwang.lab.fabric_setting import Setting

GROUP = 1
"""The session group of ports that lead to other switches; operators choose such numbers as they like."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What all ports heard: frames, the cabling against the list, the sessions to configure."""

    frames: int
    ports: int
    comparison: Comparison
    discovery: Discovery


def survey(lab: FabricLab, setting: Setting) -> Survey:
    """Have every port send and hear one frame. Switches say on ports to switches what BGP needs to know of them."""
    own: dict[End, BgpInformation] = {}
    speak = _speaker(setting, own)
    ports: dict[str, list[str]] = {}
    for end in sorted(setting.port_of):
        ports.setdefault(end.node, []).append(end.port)
    heard = exchange(ports, lab.namespace, speak)
    seen = [sighting(end, said) for end, all_said in heard.items() for said in all_said]
    found = compare(setting.cables, seen)
    wrong = {one.at for one in found.findings if one.kind != "rate"}
    return Survey(len(seen), len(heard), found, discover(own, heard, wrong))


def _speaker(setting: Setting, own: dict[End, BgpInformation]) -> Callable[[End, PortState], Advertisement]:
    """What ports say; what they say of BGP is put down in `own`."""
    switches = {switch.name: switch for switch in setting.switches}
    to_switches = {
        End(switch.name, f"swp{port}") for switch in setting.switches for one in switch.neighbours for port in one.ports
    }

    def says(end: End, state: PortState) -> Advertisement:
        bgp = None
        if end in to_switches and state.link_local is not None:
            switch = switches[end.node]
            peering = (PeeringAddress(state.link_local),)
            bgp = BgpInformation(peering, (switch.asn,), IPv4Address(switch.loopback4), GROUP)
            own[end] = bgp
        return Advertisement(state.mac.hex(":"), end.port, system_name=end.node, bgp=bgp)

    return says


def exchanged(cables: Sequence[Cable], one: Cable, other: Cable) -> tuple[Cable, ...]:
    """How cables lie when the upper plugs of two are exchanged."""
    lying = {
        one: Cable(*ends(one)[0], *ends(other)[1], one.rate_bps),
        other: Cable(*ends(other)[0], *ends(one)[1], other.rate_bps),
    }
    return tuple(lying.get(cable, cable) for cable in cables)


def mended(lying: Sequence[Cable], found: Comparison) -> tuple[Cable, ...]:
    """How cables lie once the remedies are carried out, plug by plug."""
    for remedy in found.remedies:
        a, b = remedy.at
        swap: Mapping[End, End] = {a: b, b: a}
        lying = [
            Cable(*swap.get(ends(cable)[0], ends(cable)[0]), *swap.get(ends(cable)[1], ends(cable)[1]), cable.rate_bps)
            for cable in lying
        ]
    return tuple(lying)


def established(lab: FabricLab, setting: Setting) -> tuple[int, tuple[str, ...]]:
    """How many ends of sessions FRR has established, and those that should be and are not."""
    count, missing = 0, []
    for switch in setting.switches:
        shown = lab.router(switch.name).show("bgp ipv4 unicast summary")
        peers = shown.get("peers", {}) if isinstance(shown, dict) else {}
        for neighbour in switch.neighbours:
            for name in (f"swp{port}" for port in neighbour.ports):
                peer = peers.get(name, {})
                if peer.get("state") == "Established" and peer.get("remoteAs") == neighbour.asn:
                    count += 1
                else:
                    missing.append(f"{switch.name} {name} to {neighbour.name}: {peer.get('state', 'none')}")
    return count, tuple(missing)


def same_as_configured(setting: Setting, discovery: Discovery) -> tuple[str, ...]:
    """Sessions that LLDP's information gives and the configuration does not, and the other way round; none is well."""
    found = {(one.node, *one.ports, one.neighbour, one.local_as, one.remote_as) for one in discovery.sessions}
    wanted = {
        (switch.name, f"swp{port}", neighbour.name, switch.asn, neighbour.asn)
        for switch in setting.switches
        for neighbour in switch.neighbours
        for port in neighbour.ports
    }
    return (
        *(f"{' '.join(map(str, one))}: discovered only" for one in sorted(found - wanted, key=str)),
        *(f"{' '.join(map(str, one))}: configured only" for one in sorted(wanted - found, key=str)),
    )


def moved(before: Sequence[Cable], after: Sequence[Cable]) -> tuple[list[Cable], list[Cable]]:
    """Cables to pull and cables to lay, to come from one to the other."""
    one, other = {named(cable) for cable in before}, {named(cable) for cable in after}
    return (
        [cable for cable in before if named(cable) not in other],
        [cable for cable in after if named(cable) not in one],
    )
