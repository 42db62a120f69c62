"""Compiled loops of `paths.py`."""

from __future__ import annotations

import numpy as np

from suanwang.compiled import njit


@njit()
def mix(value):  # type: ignore[no-untyped-def]
    """A 64-bit hash of a 64-bit number (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit()
def pick(seed, key, node, total):  # type: ignore[no-untyped-def]
    """What node chooses for a flow, from 0 to total - 1."""
    return np.int64(mix(mix(np.uint64(key) ^ np.uint64(seed)) ^ np.uint64(node)) % np.uint64(total))


@njit()
def _longer(array, more):  # type: ignore[no-untyped-def]
    longer = np.empty(2 * (len(array) + more), array.dtype)
    longer[: len(array)] = array
    return longer


@njit()
def walk(endpoints, first_port, target, peer, alive, group, table, set_first, set_port, set_weight, source, sink, seed):  # type: ignore[no-untyped-def]
    """One path a flow, chosen port by port by hashes: offsets and ports; no ports where there is no way."""
    flows = len(source)
    offset = np.zeros(flows + 1, np.int64)
    ports = np.empty(8 * flows + 64, np.int64)
    count = 0
    for flow in range(flows):
        if count + 3 > len(ports):
            ports = _longer(ports, 0)
        key = mix(np.uint64(source[flow])) ^ mix(np.uint64(sink[flow]) << np.uint64(20)) ^ np.uint64(flow)
        to = group[sink[flow]]
        usable = 0
        for port in range(first_port[source[flow]], first_port[source[flow] + 1]):
            usable += alive[port] and to >= 0 and table[target[port] - endpoints, max(to, 0)] != -1
        if usable:
            chosen = pick(seed, key, source[flow], usable)
            for port in range(first_port[source[flow]], first_port[source[flow] + 1]):
                if alive[port] and table[target[port] - endpoints, to] != -1:
                    if chosen == 0:
                        ports[count] = port
                        count += 1
                        break
                    chosen -= 1
            node = target[ports[count - 1]]
            while table[node - endpoints, to] >= 0:
                if count + 3 > len(ports):
                    ports = _longer(ports, 0)
                entry = table[node - endpoints, to]
                total = 0
                for index in range(set_first[entry], set_first[entry + 1]):
                    total += set_weight[index]
                chosen = pick(seed, key, node, total)
                for index in range(set_first[entry], set_first[entry + 1]):
                    chosen -= set_weight[index]
                    if chosen < 0:
                        ports[count] = set_port[index]
                        count += 1
                        break
                node = target[ports[count - 1]]
            usable = 0
            for port in range(first_port[sink[flow]], first_port[sink[flow] + 1]):
                usable += target[port] == node and alive[port]
            chosen = pick(seed, key, node, max(usable, 1))
            for port in range(first_port[sink[flow]], first_port[sink[flow] + 1]):
                if target[port] == node and alive[port]:
                    if chosen == 0:
                        ports[count] = peer[port]
                        count += 1
                        break
                    chosen -= 1
        offset[flow + 1] = count
    return offset, ports[:count].copy()


@njit()
def spread(endpoints, target, rate, latency, table, set_first, set_port, set_weight, leaf, to):  # type: ignore[no-untyped-def]
    """How traffic from a leaf to a group of endpoints spreads over ports, for each pair of leaf and group.

    Returns offsets, ports, fractions; offsets, switches, fractions, latency and time a bit of where it comes out.
    """
    switches = table.shape[0]
    amount = np.zeros(switches)
    longest = np.zeros(switches, np.int64)
    per_bit = np.zeros(switches)
    seen = np.full(switches, -1, np.int64)
    queue = np.empty(switches, np.int64)
    offset = np.zeros(len(leaf) + 1, np.int64)
    out_offset = np.zeros(len(leaf) + 1, np.int64)
    ports, fractions = np.empty(64, np.int64), np.empty(64)
    outs, out_fraction = np.empty(64, np.int64), np.empty(64)
    out_latency, out_per_bit = np.empty(64, np.int64), np.empty(64)
    count = out = 0
    for pair in range(len(leaf)):
        head, tail = 0, 1
        queue[0] = leaf[pair]
        seen[leaf[pair]] = pair
        amount[leaf[pair]] = 1.0
        longest[leaf[pair]] = 0
        per_bit[leaf[pair]] = 0.0
        while head < tail:
            switch = queue[head]
            head += 1
            entry = table[switch, to[pair]]
            degree = set_first[entry + 1] - set_first[entry] if entry >= 0 else 1
            if count + degree >= len(ports):
                ports, fractions = _longer(ports, degree), _longer(fractions, degree)
            if out + 1 >= len(outs):
                outs, out_fraction = _longer(outs, 1), _longer(out_fraction, 1)
                out_latency, out_per_bit = _longer(out_latency, 1), _longer(out_per_bit, 1)
            if entry < 0:
                outs[out] = switch
                out_fraction[out] = amount[switch]
                out_latency[out] = longest[switch]
                out_per_bit[out] = per_bit[switch]
                out += 1
                continue
            total = 0
            for index in range(set_first[entry], set_first[entry + 1]):
                total += set_weight[index]
            for index in range(set_first[entry], set_first[entry + 1]):
                if set_weight[index] == 0:
                    continue
                port = set_port[index]
                other = target[port] - endpoints
                part = amount[switch] * set_weight[index] / total
                ports[count] = port
                fractions[count] = np.floor(part * 2.0**40 + 0.5) / 2.0**40  # alike in spite of rounding
                count += 1
                if seen[other] != pair:
                    seen[other] = pair
                    amount[other] = 0.0
                    longest[other] = 0
                    per_bit[other] = 0.0
                    queue[tail] = other
                    tail += 1
                amount[other] += part
                longest[other] = max(longest[other], longest[switch] + latency[port])
                per_bit[other] = max(per_bit[other], per_bit[switch] + 1e12 / rate[port])
        offset[pair + 1] = count
        out_offset[pair + 1] = out
    return (
        offset, ports[:count].copy(), fractions[:count].copy(), out_offset, outs[:out].copy(),
        out_fraction[:out].copy(), out_latency[:out].copy(), out_per_bit[:out].copy(),
    )  # fmt: skip


@njit()
def assemble(  # type: ignore[no-untyped-def]
    first_port, target, peer, rate, latency, alive, source, sink, lane_offset, lane_port, lane_share, lane_pair,
    offset, resource, fraction, out_offset, outs, out_fraction, out_latency, out_per_bit, port_resource, endpoints,
):  # fmt: skip
    """Rows of flows: their own ports, what lies between with the share of each, and the ports to the receiver."""
    flows = len(source)
    most = 0
    for flow in range(flows):
        for lane in range(lane_offset[flow], lane_offset[flow + 1]):
            pair = lane_pair[lane]
            degree = first_port[sink[flow] + 1] - first_port[sink[flow]]
            most += 1 + offset[pair + 1] - offset[pair] + degree * (out_offset[pair + 1] - out_offset[pair])
    first = np.zeros(flows + 1, np.int64)
    numbers = np.empty(most, np.int64)
    parts = np.empty(most)
    delay = np.zeros(flows, np.int64)
    per_bit = np.zeros(flows)
    count = 0
    for flow in range(flows):
        for lane in range(lane_offset[flow], lane_offset[flow + 1]):
            pair, share, up = lane_pair[lane], lane_share[lane], lane_port[lane]
            numbers[count] = port_resource[up]
            parts[count] = share
            count += 1
            for entry in range(offset[pair], offset[pair + 1]):
                numbers[count] = resource[entry]
                parts[count] = share * fraction[entry]
                count += 1
            for out in range(out_offset[pair], out_offset[pair + 1]):
                ways = 0
                for port in range(first_port[sink[flow]], first_port[sink[flow] + 1]):
                    ways += target[port] == outs[out] + endpoints and alive[port]
                for port in range(first_port[sink[flow]], first_port[sink[flow] + 1]):
                    if target[port] == outs[out] + endpoints and alive[port]:
                        numbers[count] = port_resource[peer[port]]
                        parts[count] = share * out_fraction[out] / ways
                        count += 1
                        delay[flow] = max(delay[flow], latency[up] + out_latency[out] + latency[peer[port]])
                        per_bit[flow] = max(per_bit[flow], out_per_bit[out] + 1e12 / rate[peer[port]])
        first[flow + 1] = count
    return first, numbers[:count].copy(), parts[:count].copy(), delay, per_bit
