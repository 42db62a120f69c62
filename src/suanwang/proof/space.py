"""Spaces: what one namespace on one node does with packets, read off the objects of a program.

`reads` enters how an object of a program adds to a space; objects that change packets or redirect them are entered by
`transfers` (see `transfer.py`) and need no reader. What one fragment says of a namespace is read into a space as well,
once; the spaces of nodes are joined from those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import TypeVar

from suanwang.program import objects
from suanwang.program.objects import Object, identity
from suanwang.proof.transfer import SCOPES, TRANSFERS, Rule, Scope, Stage

SpaceKey = tuple[str, str]
"""(node, netns)."""

Item = TypeVar("Item", bound=Object)

_READERS: dict[type, Callable[[Space, object], None]] = {}


def reads(kind: type[Item]) -> Callable[[Callable[[Space, Item], None]], Callable[[Space, Item], None]]:
    """Decorator: this function takes objects of `kind` into a space."""

    def enter(function: Callable[[Space, Item], None]) -> Callable[[Space, Item], None]:
        _READERS[kind] = function  # type: ignore[assignment]
        return function

    return enter


class Space:
    """A namespace on a node: `tables` number -> routes by destination; `filters` by device; and so on.

    `declared` are the names of its address sets; members of a set that is not declared count for nothing. `kept` are
    the objects that transfers are about, by identity.
    """

    __slots__ = (
        "_rules", "declared", "deliveries", "fdb", "filtered", "filters", "forwarding", "gateways", "groups", "kept",
        "members", "neighbours", "netns", "node", "ports", "selections", "tables", "tunnels",
    )  # fmt: skip

    def __init__(self, key: SpaceKey, items: Iterable[object] = ()) -> None:
        self.node, self.netns = key
        self.forwarding = False
        self.filtered = False
        self.tables: dict[int, dict[str, objects.Route]] = {}
        self.neighbours: dict[tuple[str, str], str] = {}
        self.fdb: dict[tuple[str, str], str] = {}
        self.tunnels: dict[str, objects.Vxlan] = {}
        self.ports: dict[str, objects.PortDevice] = {}
        self.gateways: set[str] = set()
        self.filters: dict[str, objects.PortFilter] = {}
        self.groups: dict[str, objects.SecurityGroupFilter] = {}
        self.declared: set[str] = set()
        self.members: dict[str, set[str]] = {}
        self.deliveries: dict[tuple[str, str], str] = {}
        self.selections: dict[str, int] = {}
        self.kept: dict[tuple[str | int, ...], Object] = {}
        self._rules: dict[Stage, list[Rule]] = {}
        for item in items:
            reader = _READERS.get(type(item))
            if reader is not None:
                reader(self, item)
            if type(item) in SCOPES and isinstance(item, Object):
                self.kept[identity(item)] = item

    @classmethod
    def joined(cls, key: SpaceKey, parts: Iterable[Space]) -> Space:
        """What several fragments say together. Where they contradict each other, the later part counts."""
        whole = cls(key)
        for part in parts:
            whole.forwarding = whole.forwarding or part.forwarding
            whole.filtered = whole.filtered or part.filtered
            for number, routes in part.tables.items():
                whole.tables.setdefault(number, {}).update(routes)
            for name, prefixes in part.members.items():
                whole.members.setdefault(name, set()).update(prefixes)
            whole.neighbours |= part.neighbours
            whole.fdb |= part.fdb
            whole.tunnels |= part.tunnels
            whole.ports |= part.ports
            whole.gateways |= part.gateways
            whole.filters |= part.filters
            whole.groups |= part.groups
            whole.declared |= part.declared
            whole.deliveries |= part.deliveries
            whole.selections |= part.selections
            whole.kept |= part.kept
        return whole

    @property
    def key(self) -> SpaceKey:
        """(node, netns)."""
        return self.node, self.netns

    @property
    def guarded(self) -> bool:
        """Whether the namespace has filters at all; if not, whatever is routed passes."""
        return self.filtered or bool(self.filters) or bool(self.groups)

    def of(self, kind: type[Item]) -> list[Item]:
        """The objects of a type that transfers are about."""
        return [item for item in self.kept.values() if isinstance(item, kind)]

    def scopes(self) -> list[Scope]:
        """Of all objects that transfers are about."""
        return [scope(item) for item in self.kept.values() for scope in SCOPES[type(item)]]

    def rules(self, stage: Stage) -> list[Rule]:
        """What is asked of packets at a stage, in that order. To be called when all is read in."""
        found = self._rules.get(stage)
        if found is None:
            known = (
                Rule(transfer, item, transfer.scope(item))
                for item in self.kept.values()
                for transfer in TRANSFERS.get(type(item), ())
                if transfer.stage == stage
            )
            found = self._rules[stage] = sorted(known, key=_place_in_order)
        return found

    def set_members(self, name: str) -> Set[str]:
        """The prefixes of an address set; none where it is not declared."""
        return self.members.get(name, frozenset()) if name in self.declared else frozenset()


def _place_in_order(rule: Rule) -> tuple[object, ...]:
    tag, *key = identity(rule.item)
    return rule.transfer.order, tag, rule.scope.rank, *map(str, key)


@reads(objects.Namespace)
def _namespace(space: Space, item: objects.Namespace) -> None:
    space.forwarding = item.forwarding
    space.filtered = item.filtered


@reads(objects.Route)
def _route(space: Space, item: objects.Route) -> None:
    space.tables.setdefault(item.table, {})[item.destination] = item


@reads(objects.Neighbour)
def _neighbour(space: Space, item: objects.Neighbour) -> None:
    space.neighbours[item.device, item.address] = item.mac


@reads(objects.ForwardingEntry)
def _forwarding_entry(space: Space, item: objects.ForwardingEntry) -> None:
    space.fdb[item.device, item.mac] = item.remote


@reads(objects.Vxlan)
def _vxlan(space: Space, item: objects.Vxlan) -> None:
    space.tunnels[item.device] = item


@reads(objects.PortDevice)
def _port(space: Space, item: objects.PortDevice) -> None:
    space.ports[item.device] = item
    space.gateways.update(gateway.partition("/")[0] for gateway in item.gateways)


@reads(objects.PortFilter)
def _port_filter(space: Space, item: objects.PortFilter) -> None:
    space.filters[item.device] = item


@reads(objects.SecurityGroupFilter)
def _security_group(space: Space, item: objects.SecurityGroupFilter) -> None:
    space.groups[item.name] = item


@reads(objects.AddressSet)
def _address_set(space: Space, item: objects.AddressSet) -> None:
    space.declared.add(item.name)


@reads(objects.AddressSetElement)
def _address_set_element(space: Space, item: objects.AddressSetElement) -> None:
    space.members.setdefault(item.set, set()).add(item.prefix)


@reads(objects.Delivery)
def _delivery(space: Space, item: objects.Delivery) -> None:
    space.deliveries[item.device, item.mac] = item.port


@reads(objects.RouteSelection)
def _selection(space: Space, item: objects.RouteSelection) -> None:
    space.selections[item.device] = item.table
