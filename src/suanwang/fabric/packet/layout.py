"""How the engine keeps its state: one array of 64-bit integers, `m`, in which everything has an address.

First come numbers that are there once (`m[NOW]`), then rows: of ports, of flows, one integer for each packet that a
flow will send, the ring of events, the heap of timers, and at the end, where they can grow, the rows of packets on
their way. What kernels call a port, a flow or a packet is the address of its row: `m[packet + INFO]`. A packet's row
is one line of the processor's cache, a port's is two. Kernels take few arguments and touch few lines, which makes them
fast.
"""

from __future__ import annotations

# There once: what changes.
NOW, FREE_PACKETS, FREE_HEAD, CURRENT, BUCKET, WAITING, FAR, EVENTS, OPEN, DELIVERED, DUPLICATES = range(11)
TRIMS, DROPS, LOSSES, MARKS, TIMEOUTS, CREATED, ACKS, NACKS, PAUSES, ARRIVED_BYTES, SENT_BYTES = range(11, 22)
DROPPED_BYTES, TRIMMED_BYTES, DEEPEST, PAUSE_FRAMES, RANDOM = 22, 23, 24, 25, 26
# What stays.
(ENDPOINTS, PAYLOAD, HEADER, CONTROL, QUEUE, MARK_LOW, MARK_HIGH, MODE, RECOVERY, BALANCE, PATHS, ACK_BYTES,
 CONGESTION, LEAST_PATIENCE, XOFF, XON, FLOWLET_GAP, BUCKET_SHIFT, BUCKETS, TARGET_DELAY, NETWORK_RTT, LOSS,
 SALT) = range(32, 55)  # fmt: skip
# Where things begin.
PORTS_AT, FLOWS_AT, NOTES_AT, RING_AT, FAR_AT, TRIGGERS_AT, PACKETS_AT = range(56, 63)
HEADER_WIDTH = 64

# What may wait in the calendar of events has its time and the next of its bucket in these places.
WHEN, LINK = 0, 1

# A port. At an endpoint the low queue holds flows that want to send, at a switch packets. PACE is picoseconds a byte
# times 2^20, 0 when the cable is cut. INGRESS: bytes that came in here and still wait in the switch. NODE: whose port
# it is, and above that the share of its rate that it has left, in 65,536ths.
PORT_WIDTH = 16
LOW_HEAD, LOW_TAIL, HIGH_HEAD, HIGH_TAIL, BACKLOG, FREE_AT = 2, 3, 4, 5, 6, 7
LATENCY, PACE, FLAGS, INGRESS, SENT, PEER, NODE, HIGH_BYTES = 8, 9, 10, 11, 12, 13, 14, 15
ARMED, BLOCKED, PAUSING = 1, 2, 4
NODE_MASK, SHARE_SHIFT, SHARE_BITS = (1 << 32) - 1, 32, 16
PACE_SHIFT = 20

# A packet.
PACKET_WIDTH = 8
FLOW, SEQUENCE, INFO, PORT, STAMP, EXTRA = 2, 3, 4, 5, 6, 7
# INFO: the kind in bits 0-3, flags, the entropy in bits 8-31, the size in bytes above.
DATA, ACK, NACK, PAUSE = 0, 1, 2, 3
KIND, MARKED, TRIMMED, AGAIN, ASK = 15, 16, 32, 64, 128
ENTROPY_SHIFT, ENTROPY_MASK, SIZE_SHIFT = 8, 0xFFFFFF, 32

# A flow. FIRES: the trigger that it counts towards; less than 0 where that is when its sender knows that it is done.
FLOW_WIDTH = 64
SOURCE_PORT, SOURCE_PORTS, GOAL_PORT, GOAL_PORTS, SOURCE_GROUP, GOAL_GROUP = 0, 1, 2, 3, 4, 5
BYTES, PACKETS, FIRST, NEXT, FLYING, GOT, ACKED, EXPECTED, SINCE_ACK = 6, 7, 8, 9, 10, 11, 12, 13, 14
LOST_HEAD, LOST_TAIL, QUEUED, RING_NEXT, TURN, MIXER, PROGRESS, PATIENCE = 15, 16, 17, 18, 19, 20, 21, 22
BEGAN, RECEIVED, DONE, STARTED, COMPLAINED, LAST_SENT, RESENT, CUMULATIVE = 23, 24, 25, 26, 27, 28, 29, 30
LAST_DECREASE, LAST_ADJUST, QUICK_END, ACHIEVED, IGNORED, TO_IGNORE = 31, 32, 33, 34, 35, 36
TRIGGERED, SINCE_ADJUST, RISING, CALM, FIRES, WAITS_NEXT, REALS, SAVED, HEAD_SAVED = 37, 38, 39, 40, 41, 42, 43, 44, 45
CHECKED, UNASKED = 46, 47
ENTROPIES, PLANES = 48, 56
SAVED_ENTROPIES = 8
MOST_PLANES = 8
"""Ports of an endpoint; PLANES holds the share of each, 0 where it leads nowhere."""

# A flow's reals, in an array of their own, at m[flow + REALS].
REAL_WIDTH = 8
WINDOW, MOST_WINDOW, BASE, AVERAGE, INCREASE, SCALE = 0, 1, 2, 3, 4, 5
SWEPT, SWEPT_AT = 6, 7

# A note on one packet that a flow sends: what both ends know, which lost packet is sent after it (bits 4-33), and which
# packet was the i-th to arrive (bits 34-63), for which the note lends its place.
THERE, KNOWN, FRESH, ON_ITS_WAY = 1, 2, 4, 8
NOTE_MASK = (1 << 30) - 1
LOST_SHIFT, RECEIPT_SHIFT = 4, 34
MOST_PACKETS = (1 << 29) - 1
"""Of one flow, so that a packet's number fits its place in a note."""

# A trigger: flows still to come, and the first flow that waits for it.
TRIGGER_WIDTH = 2
LEFT, FIRST_WAITING = 0, 1

TRIM, DROP, PFC = 0, 1, 2
SELECTIVE, GO_BACK_N = 0, 1
ECMP, FLOWLET, SPRAY, ADAPTIVE, SWITCH_ADAPTIVE, FARE = 0, 1, 2, 3, 4, 5
NO_CONGESTION_CONTROL, SENDER = 0, 1

# Why the loop came back.
FINISHED, TIME_UP, ENOUGH_EVENTS, NO_ROOM, STALLED = 0, 1, 2, 3, 4

MOST_PATIENCE = 6
"""Retransmission timers double up to this many times."""
MOST_SMALL = 10
"""Small packets that go before waiting data in a row: so headers of trimmed packets leave room for payloads."""
TURN_UNIT = 256
"""Of small packets sent in a row, counted in a port's FLAGS above its flags."""

NOTHING = 0
"""No address: the header is there."""
NO_MORE = 1 << 62
