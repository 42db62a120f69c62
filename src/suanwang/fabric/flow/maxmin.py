"""Max-min fair rates: no flow can get more without taking from one that has no more than it.

A flow uses resources (cables, or ports of a switch) by fractions of its rate: a flow on one path has fraction 1 of
each cable, one sprayed over 16 paths has 1/16. With weights, what is fair is rate / weight; a limit holds a single flow
back.
The rates are found by progressive filling (Bertsekas and Gallager, "Data networks", 2nd ed. 1992, section 6.5.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suanwang.model.errors import INVALID, SuanwangError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

LEAST_WEIGHT = 1e-9
SPREAD = 10
"""Where flows use more resources than this on average, it pays to look for resources alike first."""


@dataclass(frozen=True)
class Usage:
    """What flows use: flow i uses `resource[first[i] : first[i + 1]]`, with `fraction` of its rate each.

    `capacity` is one a resource, in whatever unit rates shall have.
    """

    first: Integers
    resource: Integers
    fraction: Floats
    capacity: Floats

    @staticmethod
    def build(first: ArrayLike, resource: ArrayLike, fraction: ArrayLike, capacity: ArrayLike) -> Usage:
        """Checked arrays; one fraction may stand for all.

        Raises:
            SuanwangError: INVALID for offsets, resources, fractions or capacities that can't be.
        """
        offsets, numbers = np.asarray(first, np.int64), np.asarray(resource, np.int64)
        fractions = np.ascontiguousarray(np.broadcast_to(np.asarray(fraction, np.float64), numbers.shape))
        capacities = np.asarray(capacity, np.float64)
        if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(numbers) or (np.diff(offsets) < 0).any():
            raise SuanwangError(INVALID, "offsets of flows must rise from 0 to the number of entries")
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(capacities)):
            raise SuanwangError(INVALID, f"a flow uses resource {numbers.max()}, of {len(capacities)}")
        if not (np.isfinite(fractions).all() and (fractions > 0).all()):
            raise SuanwangError(INVALID, "a flow uses a fraction above 0 of its rate on each resource")
        if not (np.isfinite(capacities).all() and (capacities >= 0).all()):
            raise SuanwangError(INVALID, "a capacity is 0 or more")
        return Usage(offsets, numbers, fractions, capacities)

    def __len__(self) -> int:
        return len(self.first) - 1


def collapsed(usage: Usage) -> tuple[Usage, Integers]:
    """The same with resources that all flows use alike made one, of the least capacity; and the class of each resource.

    Unused resources have class -1. Under spraying all cables up from a leaf are one class. Columns are compared by
    64-bit fingerprints: n resources are mistaken with a probability of about n squared / 2^65.
    """
    from suanwang.fabric.flow.maxmin_kernels import fingerprints, only

    prints = fingerprints(usage.first, usage.resource, usage.fraction, len(usage.capacity))
    order = np.lexsort((usage.capacity, prints))
    ordered = prints[order]
    leads = np.concatenate([[True], ordered[1:] != ordered[:-1]]) & (ordered != 0)
    klass = np.full(len(prints), -1, np.int64)
    klass[order] = np.where(ordered != 0, np.cumsum(leads) - 1, -1)
    keep = np.full(len(prints), -1, np.int64)
    keep[order[leads]] = np.arange(int(leads.sum()))
    first, resource, fraction = only(usage.first, usage.resource, usage.fraction, keep)
    return Usage(first, resource, fraction, usage.capacity[order[leads]]), klass


def checked(weights: Floats, limits: Floats) -> None:
    """Refuse weights and limits that no rates can be worked out from."""
    if not ((weights >= LEAST_WEIGHT) & np.isfinite(weights)).all() or not (limits >= 0).all():
        raise SuanwangError(INVALID, f"weights are {LEAST_WEIGHT:g} or more, and limits not below 0")


def max_min(
    usage: Usage,
    weight: ArrayLike = 1.0,
    limit: ArrayLike = np.inf,
    active: Integers | None = None,
) -> Floats:
    """The rate of each flow; of `active` ones only where given, and then 0 of others.

    Work: entries x log(resources), once. The flows fixed at a full resource are its bottlenecked ones.

    Raises:
        SuanwangError: INVALID for weights, limits or active flows out of range, or a flow that nothing holds back.
    """
    from suanwang.fabric.flow.maxmin_kernels import fill

    weights = np.ascontiguousarray(np.broadcast_to(np.asarray(weight, np.float64), (len(usage),)))
    limits = np.ascontiguousarray(np.broadcast_to(np.asarray(limit, np.float64), (len(usage),)))
    checked(weights, limits)
    chosen = np.arange(len(usage)) if active is None else np.asarray(active, np.int64)
    if active is not None and len(chosen):
        if chosen.min() < 0 or chosen.max() >= len(usage):
            raise SuanwangError(INVALID, f"active flows are numbers from 0 to {len(usage) - 1}")
        if np.bincount(chosen).max() > 1:
            raise SuanwangError(INVALID, f"flow {np.bincount(chosen).argmax()} is among the active ones twice")
    free = chosen[(np.diff(usage.first)[chosen] == 0) & np.isinf(limits[chosen])]
    if len(free):
        raise SuanwangError(INVALID, f"flow {free[0]} uses nothing and has no limit", hint="leave it out, or limit it")
    if len(usage.resource) > SPREAD * len(usage):
        usage = collapsed(usage)[0]
    rate = np.zeros(len(usage))
    fill(usage.first, usage.resource, usage.fraction, usage.capacity, weights, limits, chosen, rate)
    return rate
