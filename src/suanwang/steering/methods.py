"""The solvers by name, each imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from suanwang.model.errors import SuanwangError
from suanwang.model.registry import nearest
from suanwang.steering.answer import Solver
from suanwang.steering.problem import BAD_PROBLEM


class Method(NamedTuple):
    """Where a solver is (`module:function`), what it does in a line, and what it is called with."""

    target: str
    summary: str
    settings: dict[str, Any] = {}  # noqa: RUF012 - never written to


METHODS = {
    "fast": Method("suanwang.steering.fast:solve", "prices first, then demands move; with a certified gap"),
    "exact": Method("suanwang.steering.exact:solve", "linear and integer programs, on HiGHS"),
    "online": Method("suanwang.steering.online:solve", "repair of the present allocation"),
    "greedy": Method("suanwang.steering.greedy:solve", "one demand after the other, shortest path with room first"),
    "pop": Method("suanwang.steering.pop:solve", "parts of the demands on parts of the capacities, each exact"),
    "pdlp": Method(
        "suanwang.steering.exact:solve", "linear programs by HiGHS's first-order method", {"method": "pdlp"}
    ),
}


def solver(name: str) -> Solver:
    """The solver of a name. Raises BAD_PROBLEM for one that is not there."""
    method = METHODS.get(name)
    if method is None:
        raise SuanwangError(BAD_PROBLEM, f"there is no method {name[:60]!r}", nearest(name, METHODS, "methods"))
    module, _, function = method.target.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as problem:
        raise SuanwangError(BAD_PROBLEM, f"the method {name} is not in this build", str(problem)) from None
    return partial(found, **method.settings) if method.settings else found
