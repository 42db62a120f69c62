"""Answers of `suanwang steer` as stable fields, and as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from suanwang.cli.table import Styled, printable, table

if TYPE_CHECKING:
    from suanwang.steering.answer import Answer
    from suanwang.steering.certificate import Certificate
    from suanwang.steering.explain import Explanation
    from suanwang.steering.failures import Loss
    from suanwang.steering.problem import Network

MOST_UNSERVED = 100
SHOWN_UNSERVED = 10
MOST_EXPLAINED_LINKS = 200_000
"""Links of a network up to which every demand that is listed is explained too."""


def plain(value: Any) -> Any:
    """Numbers that JSON has no word for as null."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def answer_fields(answer: Answer, proof: Certificate, seconds: Mapping[str, float]) -> dict[str, Any]:
    """An answer as `-o json` has it."""
    import numpy as np

    from suanwang.steering.answer import GREATEST, ratio

    problem, rows = answer.problem, answer.allocation
    great = problem.aim in GREATEST
    bound = answer.bound
    served, rate = answer.served, problem.demands.rate
    used = rows.rate > 0
    load = answer.allocation.endpoint_load(problem)
    told: dict[str, Any] = plain(
        {
            "objective": str(problem.aim),
            "value": answer.value,
            "upper_bound": float(bound if great else answer.value),
            "lower_bound": float(answer.value if great else bound),
            "bound_over": answer.bound_over if np.isfinite(bound) else "",
            "gap": answer.gap,
            "served": float(served.sum()),
            "demanded": float(rate.sum()),
            "method": answer.method,
            "finished": answer.finished,
            "feasible": proof.feasible,
            "seconds": {name: round(value, 6) for name, value in seconds.items()},
            "steps": {name: round(value, 6) for name, value in answer.seconds.items()},
            "paths_used": len(np.unique(rows.path[used])),
            "rows": int(used.sum()),
            "max_utilisation": float(answer.utilisation.max(initial=0.0)),
            "max_endpoint_utilisation": float(ratio(load, problem.endpoints.free).max(initial=0.0)),
            "nodes": len(problem.network.nodes),
            "links": len(problem.network.source),
            "links_down": int(answer.failed.sum()),
            "demands": len(problem.demands),
            "certificate": {
                "value": proof.value,
                "bound": proof.bound,
                "gap": proof.gap,
                "claim_proven": proof.proven,
                "violations": list(proof.violations),
                "broken": proof.broken,
            },
            "notes": list(answer.notes),
            **_unserved(answer),
        }
    )
    return told


def _unserved(answer: Answer) -> dict[str, Any]:
    import numpy as np

    from suanwang.steering.explain import FULL, Explainer

    rate, served = answer.problem.demands.rate, answer.served
    missing = np.maximum(rate - served, 0.0)
    short = np.flatnonzero(served < rate * FULL)
    largest = short[np.argsort(-missing[short], kind="stable")][:MOST_UNSERVED]
    explainer = Explainer(answer) if len(answer.problem.network.source) <= MOST_EXPLAINED_LINKS else None
    listed = []
    for number in largest.tolist():
        entry = {
            "demand": answer.problem.demand_name(number),
            "rate": float(rate[number]),
            "served": float(served[number]),
            "missing": float(missing[number]),
        }
        if explainer is not None:
            reasons = explainer.reasons(number)
            entry["reasons"] = [asdict(one) for one in reasons]
        listed.append(entry)
    return {"unserved_count": len(short), "unserved_total": float(missing.sum()), "unserved": listed}


def answer_text(told: Mapping[str, Any]) -> str:
    """An answer for people: what was reached, what is known, what is missing."""
    state = (
        click.style("feasible", fg="green") if told["feasible"] else click.style("NOT FEASIBLE", fg="red", bold=True)
    )
    proof = told["certificate"]
    side = "upper_bound" if told["upper_bound"] != told["value"] else "lower_bound"
    bound = "none" if told["gap"] is None else f"{number(told[side])} over {told['bound_over']}"
    lines = [
        click.style(f"{told['objective']}: {number(told['value'])}", bold=True) + f"  ({told['method']}, {state})",
        f"bound      {bound}, gap {share(told['gap'])}; proven over any path: {number(proof['bound'])}",
        f"served     {number(told['served'])} of {number(told['demanded'])} ({share(_part(told))}), "
        f"{told['demands'] - told['unserved_count']} of {told['demands']} demands whole",
        f"network    {told['nodes']} nodes, {told['links']} links, {told['links_down']} down; "
        f"fullest {_fullest(told)}; {told['paths_used']} paths used",
        "seconds    " + ", ".join(f"{name} {value:.3f}" for name, value in told["seconds"].items()),
    ]
    if max(told["max_utilisation"] or 0.0, told["max_endpoint_utilisation"] or 0.0) > 1 + 1e-6:
        lines.append(click.style("overfull: not all of it fits what there is", fg="yellow"))
    if not told["finished"]:
        lines.append(click.style("stopped at its time limit: the best until then", fg="yellow"))
    lines += [click.style("note: ", fg="yellow") + printable(text) for text in told["notes"]]
    lines += [click.style("broken: ", fg="red") + printable(text) for text in proof["violations"]]
    if told["unserved"]:
        rows = [
            (one["demand"], number(one["missing"]), number(one["rate"]), _why(one))
            for one in told["unserved"][:SHOWN_UNSERVED]
        ]
        left = told["unserved_count"] - len(rows)
        lines += ["", table(("NOT SERVED", "MISSING", "OF", "WHY"), rows, right=("MISSING", "OF"))]
        lines += [f"… and {left} more"] if left > 0 else []
    return "\n".join(lines)


def _fullest(told: Mapping[str, Any]) -> str:
    end = told["max_endpoint_utilisation"]
    return f"link {share(told['max_utilisation'])}" + (f", endpoint {share(end)}" if end else "")


def _part(told: Mapping[str, Any]) -> float:
    return float(told["served"] / told["demanded"]) if told["demanded"] else 1.0


def _why(one: Mapping[str, Any]) -> str:
    text = "; ".join(reason["text"] for reason in one.get("reasons", ()))
    return text if len(text) <= 90 else f"{text[:89]}…"


def number(value: float | None) -> str:
    """A number as people read it."""
    return "unknown" if value is None else f"{value:.7g}"


def share(value: float | None) -> str:
    """A share in percent, with more digits near nothing and near all."""
    if value is None:
        return "unknown"
    fine = 5e-6 < abs(value) < 0.01 or 0.999 <= value < 1 - 5e-6
    return f"{value:.3%}" if fine else f"{value:.1%}"


def explanation_text(told: Explanation) -> str:
    """Why a demand got what it got."""
    head = f"{told.demand}: {number(told.served)} of {number(told.rate)}, from {told.source} to {told.to}"
    lines = [click.style(printable(head), bold=True)]
    for way in told.ways:
        tight = f"; tightest {way.tightest} at {share(way.utilisation)}" if way.tightest else ""
        lines.append(printable(f"  {number(way.rate)} to {way.endpoint}, {number(way.delay_us)} us{tight}"))
        lines.append(printable(f"    {' > '.join(way.nodes)}"))
        if way.backup:
            lines.append(printable(f"    backup: {', '.join(way.backup)}"))
    for reason in told.reasons:
        lines.append(click.style("  not more: ", fg="yellow") + printable(f"{reason.text} ({reason.code})"))
    return "\n".join(lines)


def with_shared_gap(rows: Sequence[dict[str, Any]]) -> None:
    """Note in each of several answers to one problem how far it is from the tightest bound that any of them has."""
    from suanwang.steering.answer import GREATEST

    answers = [one for one in rows if "error" not in one]
    great = bool(answers) and answers[0]["objective"] in GREATEST
    known = [one["upper_bound" if great else "lower_bound"] for one in answers if one["gap"] is not None]
    for one in answers:
        one["shared_gap"] = None
        if known and one["value"] is not None:
            bound, value = min(known) if great else max(known), one["value"]
            one["shared_gap"] = abs(bound - value) / max(abs(bound), abs(value), 1e-12)


def comparison_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Several methods side by side."""
    head = ("METHOD", "VALUE", "GAP", "PROVEN GAP", "SERVED", "FULLEST", "PATHS", "SECONDS", "FEASIBLE")
    lines = []
    for one in rows:
        if "error" in one:
            lines.append((one["method"], one["error"], "", "", "", "", "", "", ""))
            continue
        feasible = Styled("yes", "green") if one["feasible"] else Styled("NO", "red")
        lines.append(
            (one["method"], number(one["value"]), share(one["shared_gap"]), share(one["certificate"]["gap"]),
             share(_part(one)), share(one["max_utilisation"]), one["paths_used"], f"{one['seconds']['solve']:.3f}",
             feasible)
        )  # fmt: skip
    return table(head, lines, right=head[1:8])


def loss_fields(loss: Loss, network: Network) -> dict[str, Any]:
    """What a failure costs, as `-o json` has it."""
    told: dict[str, Any] = plain(
        {
            "failure": loss.scenario.name,
            "kind": loss.scenario.kind,
            "links": [network.names[link] for link in loss.scenario.links],
            "value": loss.value,
            "lost": loss.lost,
            "served": loss.served,
            "lost_rate": loss.lost_rate,
            "demands_hit": loss.hit,
            "cut_off": loss.cut_off,
            "feasible": not loss.broken,
            "max_utilisation": loss.max_utilisation,
        }
    )
    return told


def losses_text(told: Mapping[str, Any], most: int = 20) -> str:
    """Failures for people, the worst first."""
    head = ("FAILURE", "KIND", "VALUE", "LOST", "LESS SERVED", "DEMANDS HIT", "CUT OFF", "FULLEST")
    rows = [
        (one["failure"], one["kind"], number(one["value"]), number(one["lost"]), number(one["lost_rate"]),
         one["demands_hit"], number(one["cut_off"]), share(one["max_utilisation"]))
        for one in told["failures"][:most]
    ]  # fmt: skip
    left = len(told["failures"]) - len(rows)
    rest = [f"… and {left} more"] if left > 0 else []
    skipped = f", of {told['scenarios']} those that carry most" if told["scenarios"] > len(told["failures"]) else ""
    tail = f"{len(told['failures'])} failures tried by {told['method']}{skipped}; value before: {number(told['value'])}"
    broken = [one["failure"] for one in told["failures"] if not one["feasible"]]
    wrong = [click.style("NOT FEASIBLE after ", fg="red") + printable(", ".join(broken[:most]))] if broken else []
    return "\n".join([table(head, rows, right=head[2:]) if rows else "Nothing can fail.", *rest, "", tail, *wrong])
