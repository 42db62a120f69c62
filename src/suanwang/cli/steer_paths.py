"""Candidate paths as stable fields and as a table, with what each does to packets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from suanwang.cli.steer_text import number, plain, share
from suanwang.cli.table import table

if TYPE_CHECKING:
    from suanwang.steering.paths import Candidates
    from suanwang.steering.problem import Bools, Problem

NAMED_HOPS = 12


def paths_fields(
    problem: Problem, candidates: Candidates, most: int, failed: Bools | None, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """The paths as `-o json` has them, at most so many, and where a demand has none, why."""
    import numpy as np

    from suanwang.steering.servable import metrics

    network = problem.network
    sums = metrics(network)
    found: list[dict[str, Any]] = []
    total = sum(len(paths) for paths in candidates.sets)
    for limit, paths in enumerate(candidates.sets):
        for path in range(min(len(paths), most - len(found))):
            main, backup = paths.main_of(path), paths.backup_of(path)
            latency, jitter, loss, down = sums[:, main].sum(axis=1).tolist()
            found.append(
                {
                    "source": network.nodes[paths.source[path]],
                    "target": network.nodes[paths.target[path]],
                    "limits": limit,
                    "hops": len(main),
                    "latency_us": latency,
                    "jitter_us": jitter,
                    "loss": float(-np.expm1(-loss)),
                    "availability": float(np.exp(-down)),
                    "capacity": float(network.capacity[main].min(initial=np.inf)),
                    "cost": float(network.cost[main].sum()),
                    "nodes": [network.nodes[node] for node in paths.nodes_of(network, path)],
                    "links": [network.names[link] for link in main.tolist()],
                    "backup": [network.names[link] for link in backup.tolist()],
                }
            )
    missing = _missing(problem, candidates, failed)
    told: dict[str, Any] = {"count": total, "complete": candidates.complete, "paths": found, "without": missing[:100],
            "without_count": len(missing), "seconds": dict(seconds)}  # fmt: skip
    whole: dict[str, Any] = plain(told)
    return whole


def _missing(problem: Problem, candidates: Candidates, failed: Bools | None) -> list[dict[str, Any]]:
    """Demands none of whose endpoints any path reaches."""
    import numpy as np

    from suanwang.steering.answer import Allocation, Answer
    from suanwang.steering.explain import Explainer
    from suanwang.steering.paths import PathSet

    demands, ends = problem.demands, problem.endpoints
    sizes = np.diff(demands.choice_first)[demands.choice]
    owner = np.repeat(np.arange(len(demands)), sizes)
    at = np.arange(len(owner)) + np.repeat(demands.choice_first[demands.choice] - (np.cumsum(sizes) - sizes), sizes)
    reached = np.zeros(len(demands), bool)
    for limit in range(len(demands.limits)):
        mine = np.flatnonzero(demands.limit[owner] == limit)
        first, last = candidates.between(limit, demands.source[owner[mine]], ends.node[demands.choice_of[at[mine]]])
        reached[owner[mine[last > first]]] = True
    none = np.zeros(0, np.int64)
    nobody = Allocation(
        paths=PathSet.of(problem.network, []), demand=none, endpoint=none, path=none, rate=none.astype(float)
    )
    down = failed if failed is not None else np.zeros(len(problem.network.source), bool)
    empty = Answer(method="", problem=problem, allocation=nobody, value=0, bound=0, bound_over="", failed=down)
    explainer = Explainer(empty)
    out = []
    for number_, demand in enumerate(np.flatnonzero(~reached).tolist()):
        why = "; ".join(one.text for one in explainer.reasons(demand)) if number_ < 100 else ""
        out.append({"demand": problem.demand_name(demand), "why": why})
    return out


def paths_text(told: Mapping[str, Any]) -> str:
    """The paths for people."""
    head = ("FROM", "TO", "HOPS", "LATENCY us", "JITTER us", "LOSS", "AVAILABILITY", "CAPACITY", "COST", "BY")
    rows = [
        (one["source"], one["target"], one["hops"], number(one["latency_us"]), number(one["jitter_us"]),
         share(one["loss"]), f"{one['availability']:.6g}", number(one["capacity"]), number(one["cost"]), _way(one))
        for one in told["paths"]
    ]  # fmt: skip
    lines = [table(head, rows, right=head[2:9])] if rows else []
    left = told["count"] - len(rows)
    if left > 0:
        lines.append(f"… and {left} more; --most shows more")
    for one in told["without"][:20]:
        lines.append(f"no path for {one['demand']}: {one['why']}")
    return "\n".join(lines)


def _way(one: Mapping[str, Any]) -> str:
    nodes = one["nodes"]
    shown = nodes if len(nodes) <= NAMED_HOPS else [*nodes[: NAMED_HOPS // 2], "…", *nodes[-NAMED_HOPS // 2 :]]
    return " > ".join(shown) + (f"  (backup: {', '.join(one['backup'])})" if one["backup"] else "")
