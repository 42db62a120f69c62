"""What a run of the packet engine found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import Network
from suanwang.fabric.packet import layout as at
from suanwang.fabric.packet.memory import Memory
from suanwang.fabric.traffic import Traffic

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class PacketResult:
    """Times of flows and counts of packets.

    `fct_ps[i]` is flow i's completion time: from its start until its sender knows that all of it arrived, -1 if it was
    not done when the run ended. `received_ps[i]` is when the last byte arrived, counted from time 0.
    `sent_bytes[p]` is what port p put on its cable, headers and acknowledgements included.
    Bytes of data: `data_sent` = `data_arrived` + `data_trimmed` + `data_dropped` + `data_queued`.
    """

    fct_ps: Integers
    received_ps: Integers
    started_ps: Integers
    sent_bytes: Integers
    now_ps: int
    complete: bool
    events: int
    packets: int
    retransmissions: int
    acks: int
    nacks: int
    trims: int
    drops: int
    losses: int
    marks: int
    timeouts: int
    pauses: int
    duplicates: int
    deepest_queue_bytes: int
    data_sent: int
    data_arrived: int
    data_trimmed: int
    data_dropped: int
    data_queued: int
    engine_bytes: int

    @staticmethod
    def of(network: Network, traffic: Traffic, memory: Memory) -> PacketResult:
        """Read it off the engine's memory."""
        m = memory.m
        flows = memory.rows(int(m[at.FLOWS_AT]), len(traffic), at.FLOW_WIDTH)
        ports = memory.rows(int(m[at.PORTS_AT]), network.ports, at.PORT_WIDTH)
        done = flows[:, at.DONE]
        created, resent = int(m[at.CREATED] - m[at.PAUSE_FRAMES]), int(flows[:, at.RESENT].sum())
        return PacketResult(
            fct_ps=np.where(done >= 0, done - flows[:, at.BEGAN], -1),
            received_ps=flows[:, at.RECEIVED].copy(),
            started_ps=np.where(flows[:, at.STARTED] > 0, flows[:, at.BEGAN], -1),
            sent_bytes=ports[:, at.SENT].copy(),
            now_ps=int(m[at.NOW]),
            complete=int(m[at.OPEN]) == 0,
            events=int(m[at.EVENTS]),
            packets=created,
            retransmissions=created - resent,
            acks=int(m[at.ACKS]),
            nacks=int(m[at.NACKS]),
            trims=int(m[at.TRIMS]),
            drops=int(m[at.DROPS]),
            losses=int(m[at.LOSSES]),
            marks=int(m[at.MARKS]),
            timeouts=int(m[at.TIMEOUTS]),
            pauses=int(m[at.PAUSES]),
            duplicates=int(m[at.DUPLICATES]),
            deepest_queue_bytes=int(m[at.DEEPEST]),
            data_sent=int(m[at.SENT_BYTES]),
            data_arrived=int(m[at.ARRIVED_BYTES]),
            data_trimmed=int(m[at.TRIMMED_BYTES]),
            data_dropped=int(m[at.DROPPED_BYTES]),
            data_queued=data_in_network(memory),
            engine_bytes=memory.bytes,
        )


def data_in_network(memory: Memory) -> int:
    """Bytes of data queued or on a wire, counted packet by packet: all rows that are not in the list of free ones."""
    from suanwang.fabric.packet.loop_kernels import free_list

    m = memory.m
    first = int(m[at.PACKETS_AT])
    rows = memory.rows(first, (len(m) - first) // at.PACKET_WIDTH, at.PACKET_WIDTH)
    busy = np.ones(len(rows), np.bool_)
    free_list(m, int(m[at.FREE_HEAD]), int(m[at.FREE_PACKETS]), busy, first, at.PACKET_WIDTH)
    info = rows[busy, at.INFO]
    return int((info[(info & (at.KIND | at.TRIMMED)) == at.DATA] >> at.SIZE_SHIFT).sum())
