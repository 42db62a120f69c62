"""Transfers: how objects of a program change packets on their way, or send them another way than routes do.

`transfers` enters for a type of object *one* function that says of one packet what may become of it, and the `Scope`
of the packets that it is asked about. The walk asks it of its packet; the set engine, of one packet for each part into
which scopes cut addresses and services. So a scope must name every boundary at which the function tells packets apart,
and what it writes.

A router asks on ARRIVAL, before it routes (destination addresses are translated there, as in `prerouting` of Linux),
and on DEPARTURE, after routes and filters (source addresses, as in `postrouting`): so filters see the destination as it
was translated, and the source as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from suanwang.program.objects import FilterRule, Object
from suanwang.proof.matching import contains, service_matches
from suanwang.proof.packet import Packet

if TYPE_CHECKING:
    from suanwang.proof.space import Space

Stage = Literal["arrival", "departure"]
ARRIVAL: Final = "arrival"
DEPARTURE: Final = "departure"

Item = TypeVar("Item", bound=Object)


@dataclass(frozen=True, slots=True)
class Scope:
    """The packets that an object is asked about: of these sources, destinations, services and devices; empty: of all.

    Sources and destinations are prefixes or addresses; of services, protocol, ports and ICMP type and code count.
    Devices are those by which packets come (on arrival) or go (on departure). `cuts` are further addresses and prefixes
    that the function tells apart or writes, `service_cuts` further services. `moves` are pairs of prefixes of one
    length, (from, to), of which it changes one into the other and leaves the rest of the address as it is. Of objects
    of one type, that of the lowest `rank` is asked first. No function may look at source ports.
    """

    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    services: tuple[FilterRule, ...] = ()
    devices: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()
    service_cuts: tuple[FilterRule, ...] = ()
    moves: tuple[tuple[str, str], ...] = ()
    rank: int = 0

    def takes(self, packet: Packet, device: str) -> bool:
        """Whether a packet is in it."""
        return (
            (not self.devices or device in self.devices)
            and (not self.destinations or any(contains(prefix, packet.destination) for prefix in self.destinations))
            and (not self.sources or any(contains(prefix, packet.source) for prefix in self.sources))
            and (not self.services or any(service_matches(rule, packet) for rule in self.services))
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that may become of a packet: `what` is a phrase for people, `code` a reason.

    `packet` is what it is from now on (None: what it was). On arrival it may be sent another way: looked up in `table`
    first, or sent out by `device` (a port's or a tunnel's) to the next hop `via`; a port that it comes to by that must
    have the address `meant`, where one is given, instead of the destination. `drops`: this is its end.
    """

    what: str
    code: str = ""
    packet: Packet | None = None
    table: int = 0
    device: str = ""
    via: str = ""
    meant: str = ""
    drops: bool = False

    @property
    def redirects(self) -> bool:
        """Whether it goes another way than by destination and the usual tables."""
        return bool(self.table or self.device)


Function = Callable[["Space", Item, Packet, str], Sequence[Turn]]
"""(space, object, packet, device) -> what may become of the packet: any of these; nothing: not concerned."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A function that was entered for a type of object."""

    kind: type[Object]
    stage: Stage
    function: Callable[[Space, Any, Packet, str], Sequence[Turn]]
    scope: Callable[[Any], Scope]
    order: int
    connections: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """One object in one space at one stage."""

    transfer: Transfer
    item: Object
    scope: Scope

    def turns(self, space: Space, packet: Packet, device: str) -> Sequence[Turn]:
        """What may become of a packet in its scope. Raises ValueError for a redirection on departure."""
        found = self.transfer.function(space, self.item, packet, device)
        if self.transfer.stage == DEPARTURE and any(turn.redirects for turn in found):
            raise ValueError(f"{self.item.__struct_config__.tag} sends packets another way after they were routed")
        return found


TRANSFERS: dict[type[Object], list[Transfer]] = {}
SCOPES: dict[type[Object], list[Callable[[Any], Scope]]] = {}


def transfers(
    kind: type[Item], stage: Stage, scope: Callable[[Item], Scope], *, order: int = 0, connections: bool = True
) -> Callable[[Function[Item]], Function[Item]]:
    """Decorator: this function says what objects of `kind` do with packets in their scope, at a stage of a router.

    Where several types have something to say, those of lower `order` come first, and each sees what the former left;
    of one type the first object that has an answer decides. A redirection ends the stage.

    `connections`: it is asked of the first packet of a connection, and the router turns the answers back (as connection
    tracking does). Else it is asked of every packet, answers too.
    """

    def enter(function: Function[Item]) -> Function[Item]:
        entered = TRANSFERS.setdefault(kind, [])
        if any(one.stage == stage for one in entered):
            raise ValueError(f"{kind.__name__} has two functions on {stage}")
        entered.append(Transfer(kind, stage, function, scope, order, connections))
        keeps(kind, scope)
        return function

    return enter


def keeps(kind: type[Item], scope: Callable[[Item], Scope]) -> None:
    """Objects of this type are kept in spaces for transfers to see (`Space.of`); this scope of theirs only cuts."""
    SCOPES.setdefault(kind, []).append(scope)
