"""Linear and mixed-integer programs as arrays, HiGHS to solve them, and bounds that hold whatever HiGHS says.

Source: HiGHS (Huangfu and Hall, Math. Prog. Comp. 10, 2018). Bounds: Neumaier and Shcherbina, Safe bounds in linear and
mixed-integer programming, Math. Program. 99, 2004.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import highspy
import numpy as np
from scipy import sparse

from suanwang.steering.problem import Bools, Floats, Ints

SMALL = 4000
"""Programs with fewer columns go to the simplex method, or end with crossover: quick there, and exact to rounding."""


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Minimise cost·x within bounds of columns and rows. `group` (n,): of columns that are 0 or more and whose sum is
    at most `group_most[group]`; -1 for others.
    """

    cost: Floats
    lower: Floats
    upper: Floats
    matrix: Any
    row_lower: Floats
    row_upper: Floats
    integer: Bools
    group: Ints
    group_most: Floats

    @property
    def relaxed(self) -> Linear:
        """The same without whole numbers."""
        return replace(self, integer=np.zeros(len(self.cost), bool))


@dataclass(frozen=True, kw_only=True)
class Solution:
    """`x`: a point, within tolerance where `optimal`; `dual`: of rows, at least 0 where the lower bound holds; `bound`:
    what the cost can't be less than.
    """

    x: Floats | None
    dual: Floats
    bound: float
    optimal: bool
    infeasible: bool = False


class Builder:
    """A program that is put together block by block. The first columns are the rows of the table."""

    def __init__(self, upper: Floats, group: Ints, group_most: Floats) -> None:
        self.count = len(upper)
        self.cost = [np.zeros(self.count)]
        self.lower = [np.zeros(self.count)]
        self.upper = [upper]
        self.integer = [np.zeros(self.count, bool)]
        self.group, self.group_most = group, group_most
        self.columns = self.count
        self.rows = 0
        self.blocks: list[Any] = []
        self.row_lower: list[Floats] = []
        self.row_upper: list[Floats] = []
        self.entries: list[tuple[Ints, Ints, Floats]] = []

    def add_columns(self, count: int, cost: Any, lower: Any, upper: Any, integer: bool = False) -> Ints:
        """New columns' numbers."""
        self.cost.append(np.full(count, cost, float))
        self.lower.append(np.full(count, lower, float))
        self.upper.append(np.full(count, upper, float))
        self.integer.append(np.full(count, integer))
        self.columns += count
        return np.arange(self.columns - count, self.columns)

    def add_rows(self, block: Any, lower: Any, upper: Any, *more: tuple[Any, Any, Any]) -> Ints:
        """New rows' numbers: `block` over the table's rows, `more` (row within the block, column, value) elsewhere."""
        count = block.shape[0]
        self.blocks.append(block)
        self.row_lower.append(np.full(count, lower, float))
        self.row_upper.append(np.full(count, upper, float))
        for row, column, value in more:
            row, column, value = np.broadcast_arrays(np.atleast_1d(row), column, value)
            self.entries.append((row + self.rows, column, value.astype(float)))
        self.rows += count
        return np.arange(self.rows - count, self.rows)

    def nothing(self, count: int) -> Any:
        """A block of rows without the table's rows."""
        return sparse.csr_matrix((count, self.count))

    def only(self, columns: Ints, values: Floats | None = None) -> Any:
        """A block with one of the table's rows in each row."""
        values = np.ones(len(columns)) if values is None else values
        return sparse.csr_matrix((values, columns, np.arange(len(columns) + 1)), shape=(len(columns), self.count))

    def program(self, cost: Floats | None = None) -> Linear:
        """The whole."""
        table = sparse.vstack([*self.blocks, self.nothing(0)], format="csr").tocsc()
        empty = np.zeros(0, np.int64)
        row, column, value = (
            np.concatenate(part) for part in zip((empty, empty, np.zeros(0)), *self.entries, strict=True)
        )
        shape = (self.rows, self.columns - self.count)
        more = sparse.csc_matrix((value, (row, column - self.count)), shape=shape)
        pad = np.full(shape[1], -1)
        return Linear(
            cost=np.concatenate(self.cost) if cost is None else cost,
            lower=np.concatenate(self.lower),
            upper=np.concatenate(self.upper),
            matrix=sparse.hstack([table, more], format="csc"),
            row_lower=np.concatenate([*self.row_lower, np.zeros(0)]),
            row_upper=np.concatenate([*self.row_upper, np.zeros(0)]),
            integer=np.concatenate(self.integer),
            group=np.concatenate([self.group, pad]),
            group_most=self.group_most,
        )


@dataclass(frozen=True, kw_only=True)
class Highs:
    """How HiGHS is to be run: `method` is `auto`, `ipm`, `pdlp` or `simplex`; `gap` is for whole numbers."""

    method: str = "auto"
    gap: float = 1e-7
    options: dict[str, Any] = field(default_factory=dict)

    def chosen(self, columns: int) -> str:
        """The method for a program of that many columns."""
        return self.method if self.method != "auto" else "simplex" if columns < SMALL else "ipm"

    def solve(self, program: Linear, seconds: float) -> Solution:
        """Solve within so many seconds."""
        rows, columns = program.matrix.shape
        unknown = Solution(x=None, dual=np.zeros(rows), bound=safe_bound(program, np.zeros(rows)), optimal=False)
        if seconds <= 0:
            return unknown
        if not columns:
            return replace(unknown, x=np.zeros(0), optimal=True)
        whole = bool(program.integer.any())
        highs = highspy.Highs()
        highs.silent()
        options = {**self._method(columns, whole), "time_limit": min(seconds, 1e9), **self.options}
        for name, value in options.items():
            highs.setOptionValue(name, value)
        self._pass(highs, program, whole)
        highs.run()
        if columns < SMALL and highs.getModelStatus() == highspy.HighsModelStatus.kUnknown:
            highs.setOptionValue("solver", "simplex")
            highs.run()
        return self._read(highs, program, whole, unknown)

    def _method(self, columns: int, whole: bool) -> dict[str, Any]:
        if whole:
            return {"mip_rel_gap": self.gap, "mip_abs_gap": 1e-9, "mip_feasibility_tolerance": 1e-9}
        crossover = "on" if columns < SMALL else "off"
        return {"solver": self.chosen(columns), "run_crossover": crossover}

    @staticmethod
    def _pass(highs: Any, program: Linear, whole: bool) -> None:
        matrix = program.matrix
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = matrix.shape
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = program.cost, program.lower, program.upper
        lp.row_lower_, lp.row_upper_ = program.row_lower, program.row_upper
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.num_row_, lp.a_matrix_.num_col_ = matrix.shape
        lp.a_matrix_.start_ = matrix.indptr.astype(np.int32)
        lp.a_matrix_.index_ = matrix.indices.astype(np.int32)
        lp.a_matrix_.value_ = matrix.data
        if whole:
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            lp.integrality_ = [kinds[one] for one in program.integer.astype(int).tolist()]
        highs.passModel(lp)

    @staticmethod
    def _read(highs: Any, program: Linear, whole: bool, unknown: Solution) -> Solution:
        status = highs.getModelStatus()
        found = highs.getSolution()
        optimal = status == highspy.HighsModelStatus.kOptimal
        x = np.asarray(found.col_value, float) if found.value_valid else None
        if x is not None and (len(x) != len(program.cost) or not np.isfinite(x).all()):
            x = None
        dual, bound = unknown.dual, unknown.bound
        if whole:
            proven = float(highs.getInfo().mip_dual_bound)
            bound = max(bound, proven) if np.isfinite(proven) and abs(proven) < 1e100 else bound
        elif found.dual_valid:
            dual = signed(program, np.asarray(found.row_dual, float))
            bound = max(bound, safe_bound(program, dual))
            if status == highspy.HighsModelStatus.kUnknown and x is not None:
                # HiGHS doubts what it found without crossover; the bound does not.
                value = float(program.cost @ x)
                optimal = abs(value - bound) <= 1e-7 * max(abs(value), abs(bound))
        none = status in (
            highspy.HighsModelStatus.kInfeasible,
            highspy.HighsModelStatus.kUnboundedOrInfeasible,
        )
        return Solution(x=x, dual=dual, bound=bound, optimal=optimal and x is not None, infeasible=none)


def signed(program: Linear, dual: Floats) -> Floats:
    """Duals with what has the wrong sign, or is no number, set to 0."""
    dual = np.where(np.isfinite(dual), dual, 0.0)
    dual = np.where((dual > 0) & ~np.isfinite(program.row_lower), 0.0, dual)
    return np.where((dual < 0) & ~np.isfinite(program.row_upper), 0.0, dual)


def safe_bound(program: Linear, dual: Floats) -> float:
    """A bound from any duals of the rows: what x can gain against them is counted at its bounds."""
    held = np.where(dual > 0, program.row_lower, program.row_upper)
    total = float((dual[dual != 0] * held[dual != 0]).sum())
    reduced = program.cost - program.matrix.T @ dual
    # A column that rests at a bound it does not have gains nothing if its reduced cost is 0.
    rest = np.where(reduced > 0, program.lower, program.upper)
    single = np.where(reduced == 0, 0.0, np.where(np.isfinite(rest), rest, 0.0) * reduced)
    if (~np.isfinite(rest) & (reduced != 0) & (program.group < 0)).any():
        return -np.inf
    total += float(single[program.group < 0].sum())
    mine = program.group >= 0
    if mine.any():
        group, gain = program.group[mine], np.minimum(reduced[mine], 0.0)
        best = np.zeros(len(program.group_most))
        np.minimum.at(best, group, gain)
        together = np.where(best < 0, best * program.group_most, 0.0)
        upper = program.upper[mine]
        alone = np.bincount(group, np.where(gain < 0, gain * upper, 0.0), minlength=len(best))
        total += float(np.maximum(together, alone).sum())
        # Columns of a group have no lower bound but 0.
    return total
