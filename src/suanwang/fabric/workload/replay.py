"""A trace done again on a fabric: every rank computes for as long as its nodes say, and collectives take what they
cost.

A node begins when all that it depends on is done and what it runs on is free: a rank has one host, one stream of
computing and one of communication, which take ready nodes by their numbers, as ASTRA-sim does. A collective begins
when all members have come to it: the first of a group on one rank belongs to the first of that group on the others,
and so on. A send begins at once, and what it carries waits for its receive, by sender, receiver and tag.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from suanwang.fabric.collectives.group import Cost, Group
from suanwang.fabric.workload.chakra import RankTrace, Trace
from suanwang.fabric.workload.costs import Costs, Networks, StepOptions, fabric_of
from suanwang.fabric.workload.nodes import SIMULATED, Node
from suanwang.fabric.workload.ranks import (
    COMPUTING,
    FREE,
    HOST,
    SENDING,
    Key,
    Members,
    Rank,
    at_start,
    do_the_same,
    stream_of,
)
from suanwang.fabric.workload.result import CollectiveUse, Line, StepResult
from suanwang.model.errors import INVALID, SuanwangError

BARRIER_BYTES = 8
UNEVEN = "all-to-all"
"""The collective whose members may bring different sizes, as tokens do that go to experts."""
MOST_MEMBERS = 50_000_000
"""Members of all collectives together that are matched."""


@dataclass(slots=True)
class _Meeting:
    """A collective that members come to."""

    first: tuple[int, int]
    members: int
    there: list[tuple[int, int]]
    largest: Node
    uneven: bool = False


@dataclass(slots=True)
class _Use:
    members: int = 0
    count: int = 0
    size_bytes: int = 0
    time_ps: int = 0
    exposed_ps: int = 0
    largest: tuple[int, str] = (-1, "")


def replay(
    trace: Trace, design: Networks, options: StepOptions, progress: Callable[[float], None] | None = None
) -> StepResult:
    """What a trace takes on a design. A trace of one rank without sends stands for every accelerator of the design.

    Raises:
        SuanwangError: INVALID for ranks that the design lacks, collectives that do not match, receives without a send.
    """
    fabric = fabric_of(design, options)
    if len(trace.ranks) > fabric.accelerators:
        raise SuanwangError(
            INVALID, f"the trace has {len(trace.ranks):,} ranks, and the design {fabric.accelerators:,} accelerators",
            hint="enlarge the design",
        )  # fmt: skip
    world = fabric.accelerators if len(trace.ranks) == 1 else len(trace.ranks)
    for number in options.slow:
        if number >= world:
            raise SuanwangError(
                INVALID, f"accelerator {number} is slow, and the trace is of {world:,}", hint="number from 0"
            )
    return _Replay(trace, Costs(fabric, options), options, world).run(progress)


class _Replay:
    def __init__(self, trace: Trace, costs: Costs, options: StepOptions, world: int) -> None:
        self.trace, self.costs, self.options = trace, costs, options
        self.alike = len(trace.ranks) == 1 or (not options.slow and do_the_same(trace))
        self.world = world
        slowest = max(options.slow.values(), default=1.0)  # the one trace is then that of the slowest: all wait for it
        self.slow = {0: slowest} if self.alike else dict(options.slow)
        self.events: list[tuple[int, int, int, int]] = []
        self.order = 0
        self.ranks = [at_start(one) for one in (trace.ranks[:1] if self.alike else trace.ranks)]
        self.meetings: dict[tuple[int, int], _Meeting] = {}
        self.sent: dict[tuple[int, int, int], deque[int]] = defaultdict(deque)
        self.awaited: dict[tuple[int, int, int], deque[tuple[int, int]]] = defaultdict(deque)
        self.uses: dict[Key, _Use] = defaultdict(_Use)
        self.untimed = 0
        self.known: dict[tuple[int, ...], Members] = {}
        self.everyone = self.members_of(tuple(range(self.world)))
        self.matched = self.uneven = 0

    def run(self, progress: Callable[[float], None] | None) -> StepResult:
        total = sum(len(one.nodes) for one in self.trace.ranks)
        done = now = 0
        for number in range(len(self.ranks)):
            self.start(number, 0)
        while self.events:
            now, _, number, at = heappop(self.events)
            self.finish(number, at, now)
            self.start(number, now)
            done += 1
            if progress and done % 4096 == 0:
                progress(done / total)
        self.complain()
        return self.report(now)

    # What ranks do

    def start(self, number: int, now: int) -> None:
        """Begins all nodes of a rank that can begin."""
        rank = self.ranks[number]
        for stream in (FREE, HOST, COMPUTING, SENDING):
            queue = rank.ready[stream]
            while queue and (stream == FREE or not rank.busy[stream]):
                _, at = heappop(queue)
                rank.busy[stream] = stream != FREE
                self.begin(number, at, now)

    def begin(self, number: int, at: int, now: int) -> None:
        rank = self.ranks[number]
        node = rank.trace.nodes[at]
        if node.kind == "collective":
            self.meet(number, at, now)
        elif node.kind == "send":
            self.send(number, at, now)
        elif node.kind == "receive":
            self.receive(number, at, now)
        else:
            taken = self.work(number, node)
            if taken:
                self.count(rank, now)
                self.at_work(rank, node, 1)
            self.at(now + taken, number, at)

    def finish(self, number: int, at: int, now: int) -> None:
        rank = self.ranks[number]
        node = rank.trace.nodes[at]
        self.count(rank, now)
        if node.kind in ("collective", "send", "receive"):
            rank.active.pop(at, None)
        elif self.work(number, node, again=True):
            self.at_work(rank, node, -1)
        rank.busy[stream_of(node)] = False
        for follower in rank.followers[at]:
            rank.missing[follower] -= 1
            if not rank.missing[follower]:
                after = rank.trace.nodes[follower]
                heappush(rank.ready[stream_of(after)], (after.number, follower))

    def at(self, when: int, number: int, node: int) -> None:
        self.order += 1
        heappush(self.events, (when, self.order, number, node))

    def at_work(self, rank: Rank, node: Node, more: int) -> None:
        if stream_of(node) == COMPUTING:
            rank.computing += more
        else:
            rank.hosting += more

    def count(self, rank: Rank, now: int) -> None:
        """Books the time since the last event: computing, or communication that no accelerator computes beside."""
        passed = now - rank.since
        rank.since = now
        if passed and rank.computing:
            rank.compute_ps += passed
        elif passed and rank.active:
            rank.exposed_ps += passed
            self.uses[next(iter(rank.active.values()))].exposed_ps += passed
        elif passed and rank.hosting:
            rank.compute_ps += passed

    def work(self, number: int, node: Node, again: bool = False) -> int:
        """Picoseconds of what is not communication: what the trace says, or a roofline of operations and bytes."""
        taken = node.duration_ps
        if not taken and node.kind in ("compute", "memory load", "memory store"):
            peak, rate = self.options.peak_flops_per_s, self.options.memory_bytes_per_s
            computing = node.operations * 10**12 // peak if peak else 0
            moving = node.size_bytes * 10**12 // rate if rate else 0
            taken = max(computing, moving)
            self.untimed += not (taken or again)
        return int(taken * self.slow.get(number, 1.0)) if node.kind == "compute" else taken

    # Communication

    def members_of(self, ranks: tuple[int, ...]) -> Members:
        if ranks not in self.known:
            group = Group.of(ranks, alone=len(ranks) == self.world)
            self.known[ranks] = Members(len(self.known), ranks, group)
        return self.known[ranks]

    def members(self, number: int, at: int) -> Members:
        rank = self.ranks[number]
        node = rank.trace.nodes[at]
        if node.group in rank.groups:
            return rank.groups[node.group]
        if node.group in ("", "0") and node.group not in rank.trace.groups:
            return self.everyone
        found = rank.trace.groups.get(node.group)
        if found is None:
            known = ", ".join(sorted(rank.trace.groups)[:8]) or "none"
            hint = f"known: {known}; put comm_group.json beside the traces"
            raise rank.trace.fail(node, f"no process group is called {node.group!r}", hint)
        if not found:
            return self.everyone
        if max(found) >= self.world:
            raise rank.trace.fail(
                node, f"group {node.group} has rank {max(found)}, of {self.world}",
                "ranks count from 0, and each has a trace, unless one stands for all of the design",
            )  # fmt: skip
        if not self.alike and number not in found:
            raise rank.trace.fail(node, f"rank {number} is not in its group {node.group}", "correct the group")
        rank.groups[node.group] = self.members_of(found)
        return rank.groups[node.group]

    def meet(self, number: int, at: int, now: int) -> None:
        rank = self.ranks[number]
        node = rank.trace.nodes[at]
        group = self.members(number, at)
        self.count(rank, now)
        rank.active[at] = SIMULATED[node.collective], _group_name(group.size, self.world)
        if self.alike:
            self.at(now + self.pay(rank.trace, node, group), number, at)
            return
        self.matched += 1
        if self.matched > MOST_MEMBERS:
            raise SuanwangError(INVALID, f"more than {MOST_MEMBERS:,} members of collectives", hint="trace fewer ranks")
        turn = rank.met[group.number]
        rank.met[group.number] += 1
        meeting = self.meetings.setdefault((group.number, turn), _Meeting((number, at), group.size, [], node))
        first = self.ranks[meeting.first[0]].trace
        other = first.nodes[meeting.first[1]]
        if other.collective == node.collective == UNEVEN:
            meeting.uneven |= node.size_bytes != other.size_bytes
            meeting.largest = max(meeting.largest, node, key=lambda one: one.size_bytes)
        elif (other.collective, other.size_bytes) != (node.collective, node.size_bytes):
            raise rank.trace.fail(
                node,
                f"rank {number} does {node.collective} of {node.size_bytes} bytes where rank {first.rank}, at node "
                f"{other.number}, does {other.collective} of {other.size_bytes}",
                "collectives of a group come in the same order on all its ranks",
            )
        meeting.there.append((number, at))
        if len(meeting.there) == meeting.members:
            self.uneven += meeting.uneven
            end = now + self.pay(rank.trace, meeting.largest, group)
            for member, place in meeting.there:
                self.at(end, member, place)
            del self.meetings[group.number, turn]

    def pay(self, trace: RankTrace, node: Node, members: Members) -> int:
        """What a collective costs; noted once for all its members."""
        kind, size = SIMULATED[node.collective], node.size_bytes
        if kind == "barrier":
            cost = self.cost(trace, node, "all-reduce", BARRIER_BYTES, members.group)
        else:
            size = size * members.size if kind == "all-gather" else size  # a trace counts what each brings
            cost = self.cost(trace, node, kind, size, members.group)
        size = members.size
        self.book(node, kind, _group_name(size, self.world), size, cost, 1 if self.alike else size)
        return cost.time_ps

    def cost(self, trace: RankTrace, node: Node, kind: str, size: int, group: Group) -> Cost:
        if group.size == 1:
            return Cost(0, 0, 0, "none")
        try:
            return self.costs.of(kind, size, group)
        except SuanwangError as problem:
            raise trace.fail(node, problem.message, problem.hint) from None

    def book(self, node: Node, kind: str, group: str, members: int, cost: Cost, times: int) -> None:
        use = self.uses[kind, group]
        use.members = members
        use.count += times
        use.size_bytes += times * node.size_bytes
        use.time_ps += times * cost.time_ps
        if node.size_bytes > use.largest[0]:
            use.largest = node.size_bytes, cost.algorithm

    def send(self, number: int, at: int, now: int) -> None:
        rank = self.ranks[number]
        node = rank.trace.nodes[at]
        source = number if node.source < 0 else node.source
        if source != number or not 0 <= node.target < len(self.ranks) or node.target == number:
            raise rank.trace.fail(
                node, f"it sends from {source} to {node.target}, in the trace of rank {number} of {len(self.ranks)}",
                "comm_src is the rank itself, comm_dst another that has a trace; -1 is none given",
            )  # fmt: skip
        cost = self.cost(rank.trace, node, "send", node.size_bytes, Group.of((number, node.target), alone=True))
        self.book(node, "send", "pair", 2, cost, 1)
        self.count(rank, now)
        rank.active[at] = "send", "pair"
        end = now + cost.time_ps
        self.at(end, number, at)
        key = number, node.target, node.tag
        if self.awaited[key]:
            self.at(end, *self.awaited[key].popleft())
        else:
            self.sent[key].append(end)

    def receive(self, number: int, at: int, now: int) -> None:
        rank = self.ranks[number]
        node = rank.trace.nodes[at]
        target = number if node.target < 0 else node.target
        if target != number or not 0 <= node.source < len(self.ranks) or node.source == number:
            raise rank.trace.fail(
                node, f"it receives at {target} from {node.source}, in the trace of rank {number} of {len(self.ranks)}",
                "comm_dst is the rank itself, comm_src another that has a trace; -1 is none given",
            )  # fmt: skip
        self.count(rank, now)
        rank.active[at] = "send", "pair"
        key = node.source, number, node.tag
        if self.sent[key]:
            self.at(max(now, self.sent[key].popleft()), number, at)
        else:
            self.awaited[key].append((number, at))

    # The end

    def complain(self) -> None:
        """Refuses a trace that came to a halt: someone waits for a member or a sender that never comes."""
        for meeting in self.meetings.values():
            number, at = meeting.first
            trace = self.ranks[number].trace
            node = trace.nodes[at]
            came = {member for member, _ in meeting.there}
            lacking = next(one for one in self.members(number, at).ranks if one not in came)
            raise trace.fail(
                node, f"rank {number} waits for rank {lacking}, which does not come to this {node.collective}",
                "every rank of a group does the same collectives, in an order that the others can follow",
            )  # fmt: skip
        for (source, target, tag), waiting in self.awaited.items():
            if waiting:
                number, at = waiting[0]
                trace = self.ranks[number].trace
                raise trace.fail(
                    trace.nodes[at], f"rank {source} sends rank {target} nothing with tag {tag} any more",
                    "each receive needs a send with its comm_src, comm_dst and comm_tag",
                )  # fmt: skip

    def report(self, end: int) -> StepResult:
        for rank in self.ranks:
            self.count(rank, end)
        ranks = len(self.ranks)
        every = self.ranks * len(self.trace.ranks) if self.alike else self.ranks
        lines = tuple(
            Line(f"rank {number}", rank.compute_ps, rank.exposed_ps, end - rank.compute_ps - rank.exposed_ps)
            for number, rank in enumerate(every)
        )
        uses = tuple(
            CollectiveUse(
                kind, group, use.members, use.count / ranks, use.size_bytes / ranks, use.time_ps / ranks,
                use.exposed_ps / ranks, use.largest[1],
            )
            for (kind, group), use in self.uses.items()
        )  # fmt: skip
        notes = []
        if left_out := sum(rank.trace.callers_left_out for rank in self.ranks):
            notes.append(f"{left_out:,} control dependencies are left out: on callers that are not there or end later")
        if self.uneven:
            notes.append(
                f"{self.uneven:,} all-to-alls have members of different sizes; each takes what its largest does"
            )
        if self.untimed:
            notes.append(f"{self.untimed:,} nodes have no duration and count as none; give --peak and --memory-rate")
        if len(self.trace.ranks) == 1:
            notes.append("one rank's trace stands for all accelerators")
        return StepResult(self.trace.name, "Chakra", self.world, end, lines, uses, notes=tuple(notes))


def _group_name(members: int, world: int) -> str:
    return "all" if members == world else f"group of {members}"
