"""The registry: how a capability room enters its kinds and its compiler without any other room knowing its name.

A room that has a module `capability.py` with a `CAPABILITY` is found by `load()`, which looks through the packages
beside this one. So adding a capability adds a folder and edits nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from suanwang.model.errors import SuanwangError, code
from suanwang.model.reference import Key, resolve

UNKNOWN_KIND = code("UNKNOWN_KIND", "no kind of that name exists")


class Spec(BaseModel):
    """Base of every kind's spec: camelCase in files, snake_case in Python, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=False, extra="forbid", frozen=True, strict=False
    )


@dataclass(frozen=True, slots=True)
class Ref:
    """Marks a spec field (or the items of a list field) as the name of another resource of `kind`."""

    kind: str


class Admission(Protocol):
    """What a kind's `admit` may use while a resource is being accepted, all inside one store transaction."""

    def read(self, key: Key) -> Mapping[str, Any] | None:
        """The stored document (`spec`, `allocation`) of another resource, or None."""

    def claim(self, scope: str, value: str) -> None:
        """Own `value` in `scope` for the resource at hand. Raises ALREADY_CLAIMED, naming the present owner."""

    def owner(self, scope: str, value: str) -> Key | None:
        """Who owns `value` in `scope`."""

    def values(self, scope: str, start: str = "", limit: int = 1000) -> list[str]:
        """Claimed values of `scope` from `start` on, in order."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A declared thing, checked and in canonical form. `allocation` holds what the system chose for it on admission."""

    key: Key
    spec: Spec
    labels: Mapping[str, str] = field(default_factory=dict)
    allocation: Mapping[str, Any] = field(default_factory=dict)
    set: str = ""
    """The set of files that it was applied with; pruning removes what is no longer in its set."""


Admit = Callable[[Admission, Resource, Mapping[str, Any] | None], Mapping[str, Any]]
"""(admission, new resource, stored document before or None) -> allocation. Raises SuanwangError to refuse."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource. `columns` are the table columns of `get`: title -> path into the document, e.g.
    `spec.cidr`.
    """

    name: str
    scope: Literal["tenant", "infrastructure"]
    spec: type[Spec]
    summary: str
    example: str
    admit: Admit | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    short_names: tuple[str, ...] = ()
    order: int = 50
    """Kinds of lower order are admitted first, so that what they allocate is there for the others."""
    precedence: Callable[[Any], int] = lambda spec: 0
    """Within a kind, specs of lower precedence are admitted first: those that ask for something particular."""


class Endpoint(NamedTuple):
    """The workload that a resource stands for: who owns its network, its namespace in programs, its addresses."""

    owner: str
    workload: str
    addresses: tuple[str, ...]


class Compiler(Protocol):
    """One capability's way from resources to fragments of programs, kept up to date change by change.

    The compiler is the capability's inventory: lean records of its resources and the index from a changed resource to
    the
    nodes it touches. `load` and `change` never fail for one bad resource: they report a problem for its key and go on.
    """

    def load(self, key: Key, document: Mapping[str, Any]) -> None:
        """Take over a stored resource at start. Kinds come by their `order`; nothing is compiled."""

    def loaded(self) -> None:
        """All stored resources were given to `load`."""

    def change(self, key: Key, document: Mapping[str, Any] | None) -> None:
        """Take note of a resource's new document (None: deleted). Cheap; no compiling yet."""

    def settle(self) -> Mapping[str, set[str]]:
        """Compile what the noted changes touch; returns, for each node whose program changed, the fragments' owners."""

    def fragments(self, node: str, owners: Set[str] | None = None) -> Iterable[Any]:
        """The capability's fragments (`program.Fragment`) of a node's program, compiled when not yet there; with
        `owners` only theirs, in time proportional to what they have."""

    def fingerprint(self, node: str) -> int:
        """Sum of the fingerprints of those fragments, modulo 2**128."""

    def problems(self) -> Mapping[Key, SuanwangError]:
        """Resources that could not be compiled, and why."""

    def placed(self, key: Key) -> Iterable[tuple[str, Any]]:
        """(node, fragment) of every fragment that this one resource has of its own; empty where it has none."""

    def owners(self) -> Iterable[str]:
        """All owners of fragments."""

    def nodes_of(self, owner: str) -> Iterable[str]:
        """Nodes whose programs hold fragments of an owner."""

    def related(self, owner: str) -> Set[str]:
        """Owners that must be proven together with this one: what is promised of it, and what a promise is about."""

    def endpoint(self, key: Key) -> Endpoint | None:
        """Where packets start or end that a resource (a Port, say) sends or receives; None where it does not."""

    def nodes(self) -> Iterable[str]:
        """Nodes whose programs hold anything of this capability."""


@dataclass(frozen=True, slots=True)
class Capability:
    """What a room enters: its kinds and, if it compiles to programs, how to make its compiler."""

    name: str
    kinds: tuple[Kind, ...]
    compiler: Callable[[], Compiler] | None = None
    watches: tuple[str, ...] = ()
    """Kinds of other rooms whose changes the compiler wants to see too."""


def target(registry: Registry, kind: str, reference: str, tenant: str) -> Key:
    """The key that `reference`, to a resource of `kind`, names when it stands in a resource of `tenant`."""
    if registry.kind(kind).scope == "infrastructure":
        return Key(kind, "", reference)
    return resolve(kind, reference, tenant)


class Registry:
    """All kinds and capabilities of this installation."""

    def __init__(self, capabilities: Iterable[Capability]) -> None:
        self.capabilities = tuple(capabilities)
        self._kinds: dict[str, Kind] = {}
        self._spoken: dict[str, Kind] = {}
        for capability in self.capabilities:
            for kind in capability.kinds:
                if kind.name in self._kinds:
                    raise ValueError(f"kind {kind.name} is entered twice")
                self._kinds[kind.name] = kind
                lower = kind.name.lower()
                plural = (
                    f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}es" if lower.endswith("s") else f"{lower}s"
                )
                for name in (lower, plural, *kind.short_names):
                    self._spoken[name] = kind

    def __iter__(self) -> Iterator[Kind]:
        return iter(sorted(self._kinds.values(), key=lambda kind: (kind.order, kind.name)))

    def __contains__(self, name: str) -> bool:
        return name in self._kinds

    def kind(self, name: str) -> Kind:
        """The kind of exactly that name. Raises UNKNOWN_KIND with the nearest name as hint."""
        if name in self._kinds:
            return self._kinds[name]
        raise SuanwangError(UNKNOWN_KIND, f"there is no kind {name!r}", nearest(name, self._kinds, "kinds"))

    def spoken(self, word: str) -> Kind:
        """The kind a user means on the command line: any case, plural or short name."""
        found = self._spoken.get(word.lower())
        if found is None:
            raise SuanwangError(UNKNOWN_KIND, f"there is no kind {word!r}", nearest(word, self._kinds, "kinds"))
        return found


@cache
def load() -> Registry:
    """The registry of every capability room that stands beside this one."""
    package = importlib.import_module("suanwang")
    capabilities = []
    for module in pkgutil.iter_modules(package.__path__, "suanwang."):
        if module.ispkg and importlib.util.find_spec(f"{module.name}.capability"):
            capabilities.append(importlib.import_module(f"{module.name}.capability").CAPABILITY)
    return Registry(capabilities)


def nearest(word: str, names: Iterable[str], what: str = "names") -> str:
    """A hint that offers the name most like `word`, or lists the few there are."""
    import difflib  # only needed when something went wrong

    known = sorted(names)
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    return f"known {what}: {', '.join(known)}" if 0 < len(known) <= 40 else ""


@cache
def reference_paths(spec: type[BaseModel]) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Where a spec holds references: (path of camelCase names, with `*` for list items; kind)."""
    return tuple(_reference_paths(spec, ()))


def _reference_paths(spec: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, info in spec.model_fields.items():
        here = (*path, info.alias or name)
        for marker in info.metadata:
            if isinstance(marker, Ref):
                yield here, marker.kind
        yield from _in_annotation(info.annotation, here)


def _in_annotation(annotation: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *markers = get_args(annotation)
        for marker in markers:
            if isinstance(marker, Ref):
                yield path, marker.kind
        yield from _in_annotation(inner, path)
    elif origin in (Union, UnionType):
        for choice in get_args(annotation):
            yield from _in_annotation(choice, path)
    elif origin in (list, tuple):
        for item in get_args(annotation)[:1]:
            yield from _in_annotation(item, (*path, "*"))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _reference_paths(annotation, path)


def references(spec: type[BaseModel], document: Any) -> Iterator[tuple[str, str, str]]:
    """References in a spec document: (path as users read it, kind, reference text)."""
    for path, kind in reference_paths(spec):
        yield from _follow(document, path, "spec", kind)


def bare_references(spec: type[BaseModel], document: Any, tenant: str) -> Any:
    """The spec document with references into `tenant` itself, `tenant/name`, written as `name`."""
    for path, _ in reference_paths(spec):
        document = _bare(document, path, f"{tenant}/")
    return document


def _bare(value: Any, path: tuple[str, ...], own: str) -> Any:
    if value is None:
        return None
    if not path:
        short = value.removeprefix(own)
        return value if "/" in short else short
    if path[0] == "*":
        return [_bare(item, path[1:], own) for item in value]
    return {**value, path[0]: _bare(value[path[0]], path[1:], own)} if path[0] in value else value


def _follow(value: Any, path: tuple[str, ...], at: str, kind: str) -> Iterator[tuple[str, str, str]]:
    if value is None:
        return
    if not path:
        yield at, kind, value
    elif path[0] == "*":
        for index, item in enumerate(value):
            yield from _follow(item, path[1:], f"{at}[{index}]", kind)
    else:
        yield from _follow(value.get(path[0]), path[1:], f"{at}.{path[0]}", kind)
