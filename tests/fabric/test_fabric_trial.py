"""A trial by either engine, told in the same terms."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.failing import ports_of
from suanwang.fabric.packet.engine import Change, Limits
from suanwang.fabric.packet.settings import BALANCES, Balance, Settings
from suanwang.fabric.traffic import Traffic, permutation
from suanwang.fabric.trial import ENGINES, PS_PER_US, Engine, Outcome, Trial, run
from suanwang.model.errors import INVALID, SuanwangError

GBPS = 10**9
MB = 10**6
NETWORK = Clos((Tier(4, 1, 100 * GBPS), Tier(4, 4, 100 * GBPS))).network()
MOVED = permutation(16, MB, np.random.default_rng(2))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("balance", BALANCES)
def test_engines_tell_the_same_fields(engine: Engine, balance: Balance) -> None:
    found = run(Trial(NETWORK, MOVED, Settings(balance=balance), engine))
    fields = found.fields()
    assert json.loads(json.dumps(fields)) == fields
    assert fields["flows"] == fields["done"] == 16
    assert fields["fct_us"]["mean"] == pytest.approx(found.fct_us.mean(), abs=0.001)
    assert fields["fct_us"]["p99"] == pytest.approx(np.percentile(found.fct_us, 99), abs=0.001)
    assert fields["utilisation"] == pytest.approx(found.fct_us.min() / found.fct_us.mean(), abs=1e-4)
    assert found.packets >= 16 * 245
    # Endpoints send every byte, with headers; the packet engine counts acknowledgements and what is sent again too.
    sent = found.port_bytes[:16].sum()
    assert sent == pytest.approx(16 * (MB + 245 * 64), rel=1e-9 if engine == "flow" else 0.15)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_flow_without_a_way_is_not_done_or_refused(engine: Engine) -> None:
    cut = [Change(0, tuple(ports_of(NETWORK, "gpu0-leaf0").tolist()), 0.0)]
    if engine == "packet":
        with pytest.raises(SuanwangError, match="no path"):
            run(Trial(NETWORK, MOVED, engine=engine, changes=cut))
        cut = [Change(10**6, cut[0].ports, 0.0)]
    found = run(Trial(NETWORK, MOVED, engine=engine, changes=cut))
    assert np.isnan(found.fct_us).tolist() == ((MOVED.source == 0) | (MOVED.target == 0)).tolist()
    assert len(found.done) == 14
    assert "2 flows were not done" in found.unfinished
    assert found.fields()["done"] == 14


def test_nothing_done_has_no_times() -> None:
    found = run(Trial(NETWORK, MOVED, limits=Limits(until_ps=1000)))
    assert found.fields()["fct_us"] == dict.fromkeys(("min", "mean", "p50", "p99", "max"))
    assert found.utilisation is None
    assert "time was up" in found.unfinished


def test_the_flow_engine_refuses_changes_on_the_way() -> None:
    later = [Change(5, tuple(ports_of(NETWORK, "leaf0-spine1").tolist()), 0.0)]
    with pytest.raises(SuanwangError) as refused:
        run(Trial(NETWORK, MOVED, engine="flow", changes=later))
    assert refused.value.code == INVALID


@pytest.mark.parametrize("engine", ENGINES)
def test_degraded_cables_weigh_less_under_fare(engine: Engine) -> None:
    weak = [Change(0, tuple(ports_of(NETWORK, "leaf0-spine1").tolist()), 0.1)]
    traffic = Traffic.build(16, [0, 1], [4, 8], 4 * MB)
    shares = {}
    for balance in ("spray", "fare"):
        found = run(Trial(NETWORK, traffic, Settings(balance=balance), engine, weak))
        up = NETWORK.first_port[16] + 4 + np.arange(4)
        shares[balance] = found.port_bytes[up][1] / found.port_bytes[up].sum()
    assert shares["fare"] == pytest.approx(0.1 / 3.1, rel=0.03)
    assert shares["spray"] > 2 * shares["fare"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sender_that_waits_for_the_acknowledgement_starts_others_later(engine: Engine) -> None:
    ends = []
    for at_sender in (False, True):
        traffic = Traffic.build(
            16, [0, 5], [5, 9], MB, waits_for=[-1, 0], fires=[0, -1], trigger_count=1, at_sender=at_sender
        )
        ends.append(run(Trial(NETWORK, traffic, engine=engine)).simulated_us)
    back = NETWORK.latency_ps[0] * 4 / PS_PER_US
    assert ends[1] - ends[0] == pytest.approx(back, rel=0.02)


def test_progress_is_told() -> None:
    asked: list[tuple[int, int]] = []

    def tell(done: int, flows: int) -> bool:
        asked.append((done, flows))
        return True

    found = run(Trial(NETWORK, MOVED), tell)
    assert asked == [(16, 16)]
    assert not found.unfinished


@pytest.mark.parametrize("engine", ENGINES)
def test_progress_may_end_a_run_and_what_was_done_is_there(engine: Engine) -> None:
    rng = np.random.default_rng(1)
    source, flows = rng.integers(16, size=20_000), 20_000
    target = (source + rng.integers(1, 16, flows)) % 16
    traffic = Traffic.build(16, source, target, rng.integers(1, MB, flows), start_ps=10**6 * np.arange(flows))
    asked: list[int] = []

    def tell(done: int, _flows: int) -> bool:
        asked.append(done)
        return done < 10

    found = run(Trial(NETWORK, traffic, engine=engine), tell)
    assert asked[-1] >= 10
    assert len(found.done) == asked[-1] < flows
    assert found.unfinished == f"{flows - asked[-1]:,} flows were not done when stopped"


@pytest.mark.parametrize("engine", ENGINES)
def test_time_is_up(engine: Engine) -> None:
    """Of two flows over one cable, one is done; the other has sent what the time allowed."""
    traffic = Traffic.build(16, [0, 0], [1, 1], [MB, 10 * MB])
    found = run(Trial(NETWORK, traffic, engine=engine, limits=Limits(until_ps=400 * PS_PER_US)))
    assert np.isnan(found.fct_us).tolist() == [False, True]
    assert found.simulated_us == 400
    assert found.unfinished == "1 flow was not done when time was up"
    assert found.port_bytes[0] * 8 / 400e-6 == pytest.approx(NETWORK.rate_bps[0], rel=0.02)


def test_utilisation_counts_per_byte() -> None:
    outcome = Outcome(np.array([10.0, 20.0, 1.5]), np.zeros(3), np.array([100, 100, 5]), np.zeros(1), 1, 1, 20.0, {})
    assert outcome.utilisation == pytest.approx(0.1 / 0.2)
    cut_short = replace(outcome, fct_us=np.array([10.0, 20.0, np.nan]))
    assert cut_short.fields()["utilisation"] is None
    assert cut_short.fields()["done"] == 2
