"""BGP sessions to configure, from what neighbours say of themselves by LLDP and from where cables should be.

A session is wanted where a node and its neighbour both offer an address, agree on the kind of session (group) and on
how it is secured, and the cable between them is as listed. Link-local addresses give a session for each cable, others
one for all cables to the same address.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from suanwang.fabric.cabling.lldp import Advertisement
from suanwang.fabric.cabling.lldp_bgp import WILDCARD, Address, BgpInformation, PeeringAddress, SessionCapability
from suanwang.fabric.cabling.neighbours import End

Families = tuple[tuple[int, int], ...]

_FAMILY_NAMES = {WILDCARD: "all", (1, 1): "ipv4", (2, 1): "ipv6", (25, 70): "evpn"}


@dataclass(frozen=True, slots=True)
class Session:
    """A session that `node` should have. `ports` lead to the neighbour; a link-local address has one.

    `families` are (AFI, SAFI), the wildcard for all that both have. `key_chain` is empty for a session without keys.
    """

    node: str
    ports: tuple[str, ...]
    neighbour: str
    local_as: int
    remote_as: int
    address: Address
    families: Families
    group: int | None = None
    capabilities: SessionCapability = SessionCapability.NONE
    key_chain: str = ""

    def __str__(self) -> str:
        where = f"{self.address}%{self.ports[0]}" if self.address.is_link_local else str(self.address)
        families = ",".join(_FAMILY_NAMES.get(one, f"{one[0]}/{one[1]}") for one in self.families)
        kind = "external" if self.local_as != self.remote_as else "internal"
        secured = f" key-chain {self.key_chain}" if self.key_chain else ""
        return (
            f"{self.node} AS {self.local_as} -> {self.neighbour} AS {self.remote_as} "
            f"{kind} {where} over {','.join(self.ports)} families {families}{secured}"
        )


@dataclass(frozen=True, slots=True)
class Discovery:
    """Sessions, by node, port and address; and neighbours at ports that get none, with the reason."""

    sessions: tuple[Session, ...]
    refused: tuple[tuple[End, str], ...]

    def text(self) -> str:
        """A line for each."""
        return "\n".join(map(str, (*self.sessions, *(f"{end}: no session, {why}" for end, why in self.refused))))

    def as_dict(self) -> dict[str, object]:
        """Stable JSON fields."""
        return {
            "sessions": [
                {"node": one.node, "ports": list(one.ports), "neighbour": one.neighbour, "local_as": one.local_as,
                 "remote_as": one.remote_as, "address": str(one.address), "families": [list(f) for f in one.families],
                 "group": one.group, "key_chain": one.key_chain,
                 "ttl_security": bool(one.capabilities & SessionCapability.TTL_SECURITY)}
                for one in self.sessions
            ],
            "refused": [{"node": end.node, "port": end.port, "reason": why} for end, why in self.refused],
        }  # fmt: skip


def discover(
    own: Mapping[End, BgpInformation],
    heard: Mapping[End, Iterable[Advertisement]],
    wrong: Collection[End] = (),
) -> Discovery:
    """What each port says (`own`) and what it has heard come to. `wrong`: ports whose cable is not as listed."""
    found: dict[tuple[str, Address, str], Session] = {}
    refused: list[tuple[End, str]] = []
    for end in sorted(own):
        for said in heard.get(end, ()):
            if said.bgp is None:
                continue
            if end in wrong:
                refused.append((end, f"its cable leads to {said.node} {said.port}, which is not as listed"))
            elif why := _disagreement(own[end], said.bgp):
                refused.append((end, f"{said.node} {why}"))
            else:
                _add(found, end, own[end], said, said.bgp)
    return Discovery(tuple(found[key] for key in sorted(found, key=_order)), tuple(refused))


def _order(key: tuple[str, Address, str]) -> tuple[str, str, int, bytes]:
    node, address, port = key
    return node, port, address.version, address.packed


def _add(
    found: dict[tuple[str, Address, str], Session],
    end: End,
    own: BgpInformation,
    said: Advertisement,
    bgp: BgpInformation,
) -> None:
    for peering in bgp.addresses:
        families = _common(own.addresses, peering.families)
        if not families:
            continue
        key = (end.node, peering.address, end.port if peering.address.is_link_local else "")
        before = found.get(key)
        ports = (*before.ports, end.port) if before else (end.port,)
        capabilities = own.capabilities & bgp.capabilities
        found[key] = Session(
            end.node, ports, said.node, own.local_as[0], bgp.local_as[0], peering.address, families, own.group,
            capabilities, own.key_chain,
        )  # fmt: skip


def _common(own: Iterable[PeeringAddress], theirs: Families) -> Families:
    """Families that both ends offer; the wildcard agrees with every one."""
    ours = {family for peering in own for family in peering.families}
    if WILDCARD in ours:
        return tuple(dict.fromkeys(theirs))
    return tuple(sorted(ours)) if WILDCARD in theirs else tuple(sorted(ours.intersection(theirs)))


def _disagreement(own: BgpInformation, theirs: BgpInformation) -> str:
    """Why two can't have a session; empty when they can."""
    if not own.local_as or not theirs.local_as:
        return "and this node must both say their AS numbers"
    if not theirs.addresses:
        return "offers no address"
    if own.group != theirs.group:
        return f"is of session group {theirs.group}, this port of {own.group}"
    if own.key_chain != theirs.key_chain:
        return f"has key chain {theirs.key_chain!r}, this port {own.key_chain!r}"
    keyed = SessionCapability.MD5 | SessionCapability.AUTHENTICATION_OPTION
    if own.key_chain and not own.capabilities & theirs.capabilities & keyed:
        return "has the key chain, and no way of using keys in common"
    return ""
