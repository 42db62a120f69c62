"""Chakra traces, written here field by field: read, refused, and done again."""

from __future__ import annotations

import gzip
import json
import os
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fabric.wire_writer import write_field, write_varint

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.collectives.group import Cost, FabricModel, Group
from suanwang.fabric.collectives.routing import Routing
from suanwang.fabric.workload import chakra
from suanwang.fabric.workload.chakra import Trace, read_chakra, read_rank
from suanwang.fabric.workload.costs import StepOptions
from suanwang.fabric.workload.nodes import COLLECTIVES, NODE_TYPES
from suanwang.fabric.workload.replay import replay
from suanwang.fabric.workload.result import StepResult
from suanwang.fabric.workload.wire import fields, signed, varint
from suanwang.model.errors import SuanwangError

US = 10**6
INT64, STRING, BOOL = 9, 29, 27


class Design:
    """Eight accelerators on one switch."""

    scale_out = Clos((Tier(8, 1, 400 * 10**9, 500_000),))
    scale_up = None
    accelerators = 8
    per_server = 1


def alpha_beta(
    kind: str, size_bytes: int, group: Group, fabric: FabricModel, *, routing: Routing | None = None
) -> Cost:
    """10 us, and one for each byte."""
    return Cost((10 + size_bytes) * US, 0, 0, kind)


def message(body: bytes) -> bytes:
    return write_varint(len(body)) + body


def metadata() -> bytes:
    return message(write_field(1, "0.0.4"))


def attribute(name: str, value: int | str | bool, field: int = 0) -> bytes:
    field = field or (STRING if isinstance(value, str) else BOOL if isinstance(value, bool) else INT64)
    return write_field(10, write_field(1, name) + write_field(field, value))


def node(number: int, kind: str, after: tuple[int, ...] = (), us: int = 0, **attributes: int | str | bool) -> bytes:
    body = write_field(1, number) + write_field(2, f"n{number}") + write_field(3, NODE_TYPES.index(kind))
    body += b"".join(write_field(5, before) for before in after) + (write_field(7, us) if us else b"")
    return message(body + b"".join(attribute(name, value) for name, value in attributes.items()))


def collective(
    number: int, kind: str = "all-reduce", size: int = 5, after: tuple[int, ...] = (), group: str = ""
) -> bytes:
    named = {"pg_name": group} if group else {}
    return node(number, "collective", after, comm_type=COLLECTIVES.index(kind), comm_size=size, **named)


def trace(*ranks: bytes, groups: dict[str, tuple[int, ...]] | None = None) -> Trace:
    found = [read_rank(rank, f"t.{rank}.et", metadata() + data, groups or {}) for rank, data in enumerate(ranks)]
    return Trace("t", tuple(found))


def run(*ranks: bytes, groups: dict[str, tuple[int, ...]] | None = None, **options: object) -> StepResult:
    found = replay(trace(*ranks, groups=groups), Design(), StepOptions(collective=alpha_beta, **options))  # type: ignore[arg-type]
    for line in found.lines:
        assert line.compute_ps + line.exposed_ps + line.idle_ps == found.step_ps
        assert min(line.compute_ps, line.exposed_ps, line.idle_ps) >= 0
    assert sum(use.exposed_ps for use in found.collectives) * len(found.lines) == pytest.approx(
        sum(line.exposed_ps for line in found.lines)
    )
    return found


# The wire format


@given(st.integers(0, 2**64 - 1), st.binary(max_size=5))
def test_numbers_come_back(number: int, rest: bytes) -> None:
    written = write_varint(number)
    assert varint(written + rest, 0) == (number, len(written))
    assert signed(varint(write_varint(number - 2**63), 0)[0]) == number - 2**63


def test_numbers_of_the_documentation() -> None:
    """ "Encoding", Protocol Buffers documentation: 150 is 96 01, field 2 of text "testing" is 12 07 ..."""
    assert write_varint(150) == bytes([0x96, 0x01])
    assert write_field(2, "testing") == bytes([0x12, 0x07]) + b"testing"
    assert [(number, kind) for number, kind, _, _ in fields(bytes([0x08, 0x96, 0x01]))] == [(1, 0)]


@given(st.binary(max_size=200))
def test_hostile_bytes_are_refused_or_read(data: bytes) -> None:
    with suppress(SuanwangError):
        read_rank(0, "t.0.et", data, {})


@given(st.data())
@settings(max_examples=200)
def test_damaged_traces_are_refused_or_read(data: st.DataObject) -> None:
    whole = bytearray(metadata() + node(1, "compute", us=5) + collective(2, after=(1,)) + node(3, "compute", (2,), 7))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with suppress(SuanwangError):
        read = read_rank(0, "t.0.et", cut, {})
        replay(Trace("t", (read,)), Design(), StepOptions(collective=alpha_beta))


# Reading


def test_all_kinds_of_numbers_are_read() -> None:
    for field, value in ((7, 9), (9, 9), (11, 9), (13, 9), (15, 18), (17, 18), (9, 9)):
        body = node(1, "collective", comm_type=0)[1:] + attribute("comm_size", value, field)
        (found,) = read_rank(0, "t", metadata() + message(body), {}).nodes
        assert found.size_bytes == 9
    fixed = write_field(1, "comm_size") + write_varint(21 << 3 | 1) + struct.pack("<Q", 9)
    body = node(1, "collective", comm_type=0)[1:] + write_field(10, fixed)
    assert read_rank(0, "t", metadata() + message(body), {}).nodes[0].size_bytes == 9
    packed = write_field(1, 2) + write_field(3, 4) + write_field(4, write_varint(1)) + write_field(5, write_varint(1))
    found = read_rank(0, "t", metadata() + node(1, "compute") + message(packed), {}).nodes[1]
    assert found.after == (1,)


def test_metadata_of_any_form_is_passed_over() -> None:
    one = collective(0)
    attributes = message(write_field(2, write_field(1, "schema") + write_field(29, "1.0.2-chakra.0.0.4")))
    for head in (metadata(), attributes, message(b""), b""):
        assert len(read_rank(0, "t", head + one, {}).nodes) == 1


@pytest.mark.parametrize(
    ("data", "message_", "hint"),
    [
        (metadata() + node(1, "compute")[:-3], "byte 8: a message claims", "Chakra trace"),
        (metadata() + message(write_field(3, 99)), "node 0 is of type 99", "Chakra trace"),
        (metadata() + node(1, "compute") + node(1, "compute"), "another node has this number", "at byte 9"),
        (metadata() + node(2, "compute", (1,)), "depends on node 1, which is not in the trace", "cut off"),
        (metadata() + node(1, "compute", (2,)) + node(2, "compute", (3,)) + node(3, "compute", (2,)),
         r"depends on itself: 2 <- 3 <- 2", "break the cycle"),
        (metadata() + collective(1, "gather"), "the collective gather is not simulated", "all-reduce"),
        (metadata() + node(1, "collective", comm_type=77), "the collective type 77 is not simulated", "all-reduce"),
        (metadata() + node(1, "collective", comm_size="many"), "comm_size is 'many'", "Chakra trace"),
        (metadata() + node(1, "compute", us=10**15), "takes 1000000000000000 us", "Chakra trace"),
    ],
)  # fmt: skip
def test_malformed_traces(data: bytes, message_: str, hint: str) -> None:
    with pytest.raises(SuanwangError, match=message_) as caught:
        read_rank(0, "t.0.et", data, {})
    assert hint in caught.value.hint
    assert caught.value.place.file == "t.0.et"


def test_files_of_all_ranks_and_their_groups(tmp_path: Path) -> None:
    for rank in range(2):
        (tmp_path / f"job.{rank}.et").write_bytes(metadata() + collective(1, group="7"))
    (tmp_path / "comm_group.json").write_text(json.dumps({"7": [0, 1]}))
    for path in (tmp_path, tmp_path / "job.0.et", tmp_path / "job.1.et"):
        found = read_chakra(path)
        assert (found.name, len(found.ranks)) == ("job", 2)
        assert found.ranks[1].groups == {"7": (0, 1)}
    (tmp_path / "job.3.et").write_bytes(metadata())
    with pytest.raises(SuanwangError, match="3 traces of job, and none of rank 2"):
        read_chakra(tmp_path)
    (tmp_path / "other.0.et").write_bytes(metadata())
    with pytest.raises(SuanwangError, match="the traces job, other in"):
        read_chakra(tmp_path)
    (tmp_path / "comm_group.json").write_text('{"7": [0, 0]}')
    with pytest.raises(SuanwangError, match="no process groups"):
        read_chakra(tmp_path / "other.0.et")


def test_groups_from_metadata_nodes() -> None:
    text = str([json.dumps([{"pg_name": "3", "ranks": [0, 2]}, {"pg_name": "0", "ranks": []}])])
    noted = message(write_field(1, 9) + write_field(3, 1) + write_field(8, write_field(1, text)))
    found = read_rank(0, "t", metadata() + noted + collective(1, group="3"), {})
    assert found.groups == {"3": (0, 2), "0": ()}


def fixed(name: str, form: str, value: float, field: int) -> bytes:
    """An attribute of a floating-point number."""
    wire = 5 if form == "<f" else 1
    return write_field(10, write_field(1, name) + write_varint(field << 3 | wire) + struct.pack(form, value))


@pytest.mark.parametrize(("form", "field"), [("<f", 5), ("<d", 3)])
def test_whole_numbers_written_as_fractions(form: str, field: int) -> None:
    for value in (9.0, 2.5, float("nan"), -1.0):
        body = node(1, "collective", comm_type=0)[1:] + fixed("comm_size", form, value, field)
        data = metadata() + message(body)
        if value == 9:
            assert read_rank(0, "t", data, {}).nodes[0].size_bytes == 9
            continue
        with pytest.raises(SuanwangError, match="node 1: comm_size is"):
            read_rank(0, "t", data, {})


def truths(*values: bool) -> bytes:
    """The attribute involved_dim: a list of truths."""
    listed = write_field(1, bytes(values))
    return write_field(10, write_field(1, "involved_dim") + write_field(28, listed))


def test_dimensions_left_out_are_refused() -> None:
    body = node(1, "collective", comm_type=0, comm_size=9)[1:]
    assert read_rank(0, "t", metadata() + message(body + truths(True, True)), {}).nodes[0].size_bytes == 9
    with pytest.raises(SuanwangError, match="involved_dim leaves out dimensions") as caught:
        read_rank(0, "t", metadata() + message(body + truths(True, False)), {})
    assert "pg_name" in caught.value.hint


@pytest.mark.parametrize(
    ("data", "message_"),
    [
        (node(1, "collective", comm_size=5), "node 1, a collective, has no comm_type"),
        (node(1, "collective", comm_type=0), "node 1, a collective, has no comm_size"),
        (node(1, "send", comm_dst=1), "node 1, a send, has no comm_size"),
        (node(1, "collective", comm_type=0, comm_size=-1), "node 1: comm_size is '-1'"),
    ],
)
def test_what_is_sent_must_be_said(data: bytes, message_: str) -> None:
    with pytest.raises(SuanwangError, match=message_):
        read_rank(0, "t", metadata() + data, {})
    assert read_rank(0, "t", metadata() + node(1, "collective", comm_type=COLLECTIVES.index("barrier")), {}).nodes


def test_the_call_of_a_collective_is_work_of_the_host() -> None:
    """PyTorch's c10d::allreduce_ on the host, typed as a collective, beside the kernel that communicates."""
    data = node(1, "collective", us=7, is_cpu_op=True)
    data += node(2, "collective", (1,), comm_type=0, comm_size=5, is_cpu_op=False)
    result = run(data, data)
    assert (result.step_ps, result.collectives[0].count) == ((7 + 15) * US, 1)


def control(number: int, after: tuple[int, ...] = (), callers: tuple[int, ...] = (), us: int = 1) -> bytes:
    body = write_field(1, number) + write_field(3, 4) + write_field(7, us)
    body += b"".join(write_field(4, one) for one in callers) + b"".join(write_field(5, one) for one in after)
    return message(body)


def test_control_dependencies_order_nodes_unless_they_can_not() -> None:
    both = metadata() + control(1) + control(2, (), (1,))
    assert [one.after for one in read_rank(0, "t", both, {}).nodes] == [(), (1,)]
    without = read_rank(0, "t", metadata() + control(2, (), (1,)) + control(3, (2,), (7,)), {})
    assert ([one.after for one in without.nodes], without.callers_left_out) == ([(), (2,)], 2)
    stack = read_rank(0, "t", metadata() + control(1, (2,)) + control(2, (), (1,)), {})  # 1 calls 2 and ends after it
    assert ([one.after for one in stack.nodes], stack.callers_left_out) == ([(2,), ()], 1)
    assert "1 control dependencies are left out" in run(control(1, (2,)) + control(2, (), (1,))).text()
    with pytest.raises(SuanwangError, match="depends on itself: 1 <- 2 <- 1"):
        read_rank(0, "t", metadata() + control(1, (2,)) + control(2, (1,), (1,)), {})


def test_schemas_of_old_are_refused() -> None:
    third = message(
        write_field(1, 7) + write_field(2, "n") + write_field(3, 4) + write_field(5, "[1, 2]")
        + write_field(11, write_field(1, "num_ops") + write_field(2, 3) + write_field(7, 5))
    )  # fmt: skip
    first = message(
        write_field(1, 7) + write_field(2, "n") + write_field(3, 6) + write_field(13, 1) + write_field(18, 9)
    )
    plain = message(write_field(1, 6) + write_field(2, "n") + write_field(3, 3) + write_field(7, 5))
    for data in (third, first, metadata() + third, plain + first):
        with pytest.raises(SuanwangError, match=r"schema before 0\.0\.4") as caught:
            read_rank(0, "t", data, {})
        assert "later Chakra" in caught.value.hint
    storage = message(write_field(1, 7) + write_field(3, 8) + write_field(11, write_field(1, 1)))  # of May 2026
    assert read_rank(0, "t", metadata() + storage, {}).nodes[0].kind == "storage"


def test_compressed_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = metadata() + collective(1)
    for name, data in (
        ("a.0.et", gzip.compress(whole)),
        ("b.0.et.gz", gzip.compress(metadata()) + gzip.compress(collective(1))),
    ):
        (tmp_path / name).write_bytes(data)
        assert len(read_chakra(tmp_path / name).ranks[0].nodes) == 1
    for data, message_ in (
        (gzip.compress(whole)[:-9], "cut off"), (chakra.GZIP + b"junk" * 9, "damaged"),
        (gzip.compress(whole) + b"tail", "4 bytes behind"),
    ):  # fmt: skip
        (tmp_path / "a.0.et").write_bytes(data)
        with pytest.raises(SuanwangError, match=message_):
            read_chakra(tmp_path / "a.0.et")
    monkeypatch.setattr(chakra, "LARGEST_FILE_BYTES", 10_000)
    (tmp_path / "a.0.et").write_bytes(gzip.compress(bytes(10_001)))
    with pytest.raises(SuanwangError, match="when unpacked"):
        read_chakra(tmp_path / "a.0.et")


def test_what_holds_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.0.et").write_bytes(b"")
    with pytest.raises(SuanwangError, match="the trace has no nodes"):
        read_chakra(tmp_path / "a.0.et")
    os.mkfifo(tmp_path / "a.1.et")  # reading it would never end
    with pytest.raises(SuanwangError, match="this is no file"):
        read_chakra(tmp_path)
    (tmp_path / "b.0.et").write_bytes(metadata() + node(1, "compute") * 9)
    monkeypatch.setattr(chakra, "MOST_NODES", 5)
    with pytest.raises(SuanwangError, match="10 nodes; at most 5"):  # with the metadata, before any is read
        read_chakra(tmp_path / "b.0.et")


def graph(tmp_path: Path, *nodes_: dict[str, object]) -> Path:
    file = tmp_path / "job.0.json"
    file.write_text(json.dumps({"workload_graph": nodes_}))
    return file


def test_traces_in_json(tmp_path: Path) -> None:
    first = {"Id": 1, "NodeType": 4, "runtime": 6, "is_cpu_op": False, "data_deps": [], "ctrlDeps": [77]}
    second = {"Id": 2, "Name": "sum", "NodeType": 7, "data_deps": [1], "comm_type": 0, "comm_size": 5, "pg_name": "3"}
    read = read_chakra(graph(tmp_path, first, second))
    assert (read.name, read.ranks[0].callers_left_out) == ("job", 1)
    one, two = read.ranks[0].nodes
    assert (one.duration_ps, two.after, two.collective, two.group) == (6 * US, (1,), "all-reduce", "3")
    for changed, message_ in (
        ({"Id": -1}, r"workload_graph\[0\]: Id is '-1'"), ({"runtime": "NaN"}, "runtime is 'NaN'"),
        ({"data_deps": [1, "x"]}, "data_deps is no list of nodes"), ({"NodeType": True}, "NodeType is 'True'"),
        ({"NodeType": 7}, "has no comm_type"), ({"data_deps": [4]}, "depends on node 4"),
    ):  # fmt: skip
        with pytest.raises(SuanwangError, match=message_):
            read_chakra(graph(tmp_path, {**first, **changed}))
    for text, message_ in (("[1", "no JSON"), ("[" * 100_000, "no JSON"), ("{}", "no list workload_graph")):
        (tmp_path / "job.0.json").write_text(text)
        with pytest.raises(SuanwangError, match=message_):
            read_chakra(tmp_path / "job.0.json")


# Doing it again


def test_compute_and_communication_side_by_side() -> None:
    data = node(1, "compute", us=10) + collective(2, size=20, after=(1,)) + node(3, "compute", (1,), 15)
    data += node(4, "compute", (2, 3), 5)
    result = run(data, data)
    assert result.step_ps == (10 + 30 + 5) * US
    assert [(line.compute_ps, line.exposed_ps) for line in result.lines] == [(30 * US, 15 * US)] * 2
    (use,) = result.collectives
    assert (use.kind, use.members, use.count, use.size_bytes, use.time_ps) == ("all-reduce", 2, 1, 20, 30 * US)


def test_members_wait_for_the_last() -> None:
    result = run(
        node(1, "compute", us=3) + collective(2, after=(1,)), node(1, "compute", us=8) + collective(2, after=(1,))
    )
    assert result.step_ps == (8 + 15) * US
    assert [line.exposed_ps for line in result.lines] == [20 * US, 15 * US]


def test_all_gathers_count_what_each_brings() -> None:
    assert run(collective(1, "all-gather", 5), collective(1, "all-gather", 5)).step_ps == (10 + 2 * 5) * US
    assert run(collective(1, "reduce-scatter", 5), collective(1, "reduce-scatter", 5)).step_ps == 15 * US


def test_one_communication_and_one_computation_at_a_time_by_number() -> None:
    data = collective(5, size=1) + collective(2, size=2) + node(7, "compute", us=4) + node(6, "compute", us=50)
    data += node(8, "compute", us=100, is_cpu_op=True)
    result = run(data, data)
    assert result.step_ps == 100 * US
    assert result.lines[0].compute_ps == 100 * US
    alone = run(collective(5, size=1) + collective(2, size=2), collective(2, size=2) + collective(5, size=1))
    assert alone.step_ps == (11 + 12) * US  # by number, whatever the order in the file


def test_sends_and_receives() -> None:
    first = node(1, "compute", us=5) + node(2, "send", (1,), comm_dst=1, comm_size=20, comm_tag=3)
    first += node(3, "receive", (2,), comm_src=1, comm_size=7)
    second = node(1, "receive", comm_src=0, comm_size=20, comm_tag=3) + node(2, "compute", (1,), 6)
    second += node(3, "send", (2,), comm_dst=0, comm_size=7)
    result = run(first, second)
    assert result.step_ps == (5 + 30 + 6 + 17) * US
    assert [line.compute_ps for line in result.lines] == [5 * US, 6 * US]


def test_groups_meet_by_themselves() -> None:
    groups = {"1": (0, 1), "2": (2, 3)}
    ranks = [collective(1, size=10 * (rank // 2), group=str(1 + rank // 2)) for rank in range(4)]
    result = run(*ranks, groups=groups)
    assert result.step_ps == 20 * US
    assert [line.idle_ps for line in result.lines] == [10 * US, 10 * US, 0, 0]


def test_one_rank_stands_for_all() -> None:
    result = run(node(1, "compute", us=1) + collective(2, after=(1,)))
    assert result.accelerators == 8
    assert result.collectives[0].members == 8
    assert "stands for all" in result.text()


def test_ranks_that_do_the_same_are_replayed_once() -> None:
    """As quick as one, and with the result of all; whoever differs is replayed with the others."""
    data = metadata() + node(1, "compute", us=4) + collective(2, after=(1,), group="9") + collective(3, "all-gather")
    one = read_rank(0, "t.0.et", data, {"9": (1, 0, 2)})
    alike = tuple(chakra.replace(one, rank=rank) for rank in range(3))
    unlike = tuple(read_rank(rank, f"t.{rank}.et", data, {"9": (1, 0, 2)}) for rank in range(3))
    options = StepOptions(collective=alpha_beta)
    found, other = (replay(Trace("t", ranks), Design(), options) for ranks in (alike, unlike))
    assert (found.step_ps, found.accelerators, found.lines) == (other.step_ps, 3, other.lines)
    assert [(use.kind, use.count, use.time_ps, use.members) for use in found.collectives] == [
        (use.kind, use.count, use.time_ps, use.members) for use in other.collectives
    ]
    assert not found.notes
    slowed = replay(Trace("t", alike), Design(), StepOptions(collective=alpha_beta, slow={1: 2.0}))
    assert slowed.lines[0].exposed_ps > slowed.lines[1].exposed_ps


def test_all_to_alls_take_as_long_as_their_largest() -> None:
    """Tokens that go to experts: every rank has other numbers of them."""
    ranks = [collective(1, "all-to-all", size) for size in (4, 20, 4)]
    result = run(*ranks)
    assert result.step_ps == 30 * US
    assert "1 all-to-alls have members of different sizes" in result.text()
    assert "different" not in run(*[collective(1, "all-to-all", 4)] * 3).text()


def test_groups_without_ranks_are_all() -> None:
    assert run(*[collective(1, group="5")] * 2, groups={"5": ()}).collectives[0].members == 2


def test_the_host_does_not_hide_communication() -> None:
    data = node(1, "compute", us=100, is_cpu_op=True) + collective(2, size=5)
    result = run(data, data)
    assert [(line.compute_ps, line.exposed_ps) for line in result.lines] == [(85 * US, 15 * US)] * 2


def test_slow_accelerators_of_traces() -> None:
    data = node(1, "compute", us=4) + collective(2, after=(1,))
    assert run(data, slow={5: 2.0, 0: 1.5}).step_ps == (8 + 15) * US  # the one trace is that of the slowest of eight
    assert run(data, data, slow={1: 2.0}).step_ps == (8 + 15) * US
    for ranks, number in (((data,), 8), ((data, data), 2)):
        with pytest.raises(SuanwangError, match=f"accelerator {number} is slow, and the trace is of {number}"):
            run(*ranks, slow={number: 2.0})


def test_dependencies_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chakra, "MOST_DEPENDENCIES", 5)
    whole = metadata() + b"".join(node(at, "compute", tuple(range(at))) for at in range(3))  # three of them
    (tmp_path / "job.0.et").write_bytes(whole)
    assert len(chakra.read_chakra(tmp_path).ranks) == 1
    (tmp_path / "job.1.et").write_bytes(whole)
    assert len(chakra.read_chakra(tmp_path).ranks) == 2  # equal to the first, and read once
    (tmp_path / "job.1.et").write_bytes(whole + node(3, "invalid"))
    with pytest.raises(SuanwangError, match="more than 5 dependencies"):
        chakra.read_chakra(tmp_path)
    monkeypatch.setattr("suanwang.fabric.workload.nodes.LONGEST_LIST_BYTES", 2)
    packed = message(write_field(1, 2) + write_field(3, 4) + write_field(5, bytes([1, 1, 1])))
    with pytest.raises(SuanwangError, match="node 2 depends on more than a trace may have"):
        read_rank(0, "t.0.et", metadata() + node(1, "compute") + packed, {})


def test_operations_and_bytes_take_time_where_rates_are_known() -> None:
    data = node(1, "compute", num_ops=6 * 10**9, tensor_size=10**6)
    data += node(2, "memory load", (1,), tensor_size=3 * 10**6)
    unknown = run(data)
    assert unknown.step_ps == 0
    assert "2 nodes have no duration" in unknown.text()
    assert run(data, peak_flops_per_s=10**15, memory_bytes_per_s=10**12).step_ps == 6 * US + 3 * US
    assert run(data, peak_flops_per_s=10**15, memory_bytes_per_s=10**12, slow={0: 2.0}).step_ps == 12 * US + 3 * US


@pytest.mark.parametrize(
    ("ranks", "message_"),
    [
        ((collective(1), node(1, "compute", us=1)), r"node 1 \(n1\).*rank 0 waits for rank 1.*this all-reduce"),
        ((collective(1), collective(1, size=6)), "rank 1 does all-reduce of 6 bytes where rank 0, at node 1, does"),
        ((collective(1), collective(1, "broadcast")), "rank 1 does broadcast of 5 bytes"),
        ((node(1, "receive", comm_src=1), node(1, "compute")), "rank 1 sends rank 0 nothing with tag 0"),
        ((node(1, "send", comm_dst=0, comm_size=1), node(1, "compute")), "it sends from 0 to 0"),
        ((node(1, "send", comm_dst=9, comm_size=1), node(1, "compute")), "it sends from 0 to 9"),
        ((node(1, "receive", comm_dst=1, comm_src=1), node(1, "compute")), "it receives at 1 from 1"),
        ((collective(1, group="5"), node(1, "compute")), "no process group is called '5'"),
        ((collective(1, group="2"), node(1, "compute")), "rank 0 is not in its group 2"),
        ((collective(1, group="3"), node(1, "compute")), "group 3 has rank 4, of 2"),
        (tuple([node(1, "compute")] * 9), "9 ranks, and the design 8"),
    ],
)  # fmt: skip
def test_traces_that_do_not_fit_together(ranks: tuple[bytes, ...], message_: str) -> None:
    with pytest.raises(SuanwangError, match=f"(?s){message_}"):
        run(*ranks, groups={"2": (1,), "3": (0, 4)})


def naive(ranks: list[list[tuple[int, tuple[int, ...], int]]]) -> int:
    """Compute and world-wide collectives, found by looping over all ranks until nothing changes.

    A node is (time, or -1 for a collective, what it depends on, number); streams take nodes by number when ready.
    """
    ends: list[dict[int, int]] = [{} for _ in ranks]
    now, running = 0, [[-1, -1] for _ in ranks]
    finish: dict[tuple[int, int], int] = {}
    met: list[list[int]] = [[] for _ in ranks]
    while True:
        for rank, nodes in enumerate(ranks):
            for number, (us, after, _) in enumerate(nodes):
                stream = int(us < 0)
                ready = all(before in ends[rank] for before in after)
                if number not in ends[rank] and (rank, number) not in finish and ready and running[rank][stream] < 0:
                    running[rank][stream] = number
                    if us >= 0:
                        finish[rank, number] = now + us
                    else:
                        met[rank].append(number)
                        finish[rank, number] = -1
        for turn in range(max(map(len, met))):
            members = [(rank, come[turn]) for rank, come in enumerate(met) if len(come) > turn]
            if len(members) == len(ranks) and all(finish.get(one, 0) == -1 for one in members):
                finish.update(dict.fromkeys(members, now + 15))
        coming = [at for at in finish.values() if at >= now]
        if not coming:
            return now
        now = min(coming)
        for (rank, number), at in list(finish.items()):
            if at == now:
                del finish[rank, number]
                ends[rank][number] = now
                running[rank] = [-1 if one == number else one for one in running[rank]]


@settings(max_examples=60)
@given(st.data())
def test_replay_equals_a_naive_one(data: st.DataObject) -> None:
    """Ranks with the same collectives one after the other, and anything computed between and beside them."""
    collectives = data.draw(st.integers(1, 3))
    ranks, written = [], []
    for _ in range(data.draw(st.integers(2, 3))):
        nodes: list[tuple[int, tuple[int, ...], int]] = []
        last: tuple[int, ...] = ()
        for _ in range(collectives):
            for _ in range(data.draw(st.integers(0, 2))):
                before = tuple(data.draw(st.sets(st.integers(0, len(nodes) - 1), max_size=2))) if nodes else ()
                nodes.append((data.draw(st.integers(1, 9)), before, 0))
            near = tuple(data.draw(st.sets(st.integers(0, len(nodes) - 1), max_size=1))) if nodes else ()
            nodes.append((-1, tuple({*near, *last}), 0))
            last = (len(nodes) - 1,)
        ranks.append(nodes)
        written.append(
            b"".join(
                node(at, "compute", after, us) if us >= 0 else collective(at, after=after)
                for at, (us, after, _) in enumerate(nodes)
            )
        )
    assert run(*written).step_ps == naive(ranks) * US
