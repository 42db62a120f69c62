"""What a lab's underlay is made of, in plain data: nodes, links, and how routes are chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

from suanwang.linux.frr import Metric, Protocol

DEFAULT_MTU_BYTES = 9_000
"""Leaves room for every encapsulation around 1,500-byte packets, and is what data centres use."""


@dataclass(frozen=True, slots=True)
class NodeDescription:
    """A node: its name, what it is for, the addresses on its `lo` (with prefix length), and its own AS number.

    `router_id` may be empty when one of the loopbacks is IPv4: then that is it.
    """

    name: str
    role: str
    asn: int
    loopbacks: tuple[str, ...]
    router_id: str = ""


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a link does to packets, in each direction alike.

    `delay_us` is one way; `loss` is the share of packets lost, 0 to 1; `rate_bps` is 0 where nothing limits it.
    """

    delay_us: int = 0
    loss: float = 0.0
    rate_bps: int = 0

    def __bool__(self) -> bool:
        return bool(self.delay_us or self.loss or self.rate_bps)


@dataclass(frozen=True, slots=True)
class LinkDescription:
    """A link between nodes `a` and `b`. Interface names that are left empty are made from the far node's name."""

    name: str
    a: str
    b: str
    impairment: Impairment = Impairment()
    mtu_bytes: int = DEFAULT_MTU_BYTES
    a_interface: str = ""
    b_interface: str = ""


@dataclass(frozen=True, slots=True)
class UnderlayDescription:
    """A whole underlay. `emulate_all` puts every link under emulation, so that each can be impaired later."""

    nodes: tuple[NodeDescription, ...]
    links: tuple[LinkDescription, ...] = field(default=())
    protocol: Protocol = "bgp"
    metric: Metric = "hops"
    bfd: bool = False
    emulate_all: bool = False
