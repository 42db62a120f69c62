"""Finding a free value among claimed ones."""

from __future__ import annotations

from collections.abc import Callable

from suanwang.model.registry import Admission


def free_number(admission: Admission, scope: str, text: Callable[[int], str], first: int, last: int) -> int | None:
    """A free number in first..last, or None when there is none. `text` is fixed-width, so it orders as numbers do.

    Looks for the edge between taken and free numbers by doubling steps and then halving: with n numbers taken that is
    about 2·log2(n) look-ups, where walking from the start would be n. Only in a range that is nearly full does it walk.
    """

    def taken(number: int) -> bool:
        found = admission.values(scope, text(number), 1)
        return bool(found) and found[0].startswith(text(number))

    if not taken(first):
        return first
    below, step = first, 1
    while below < last:
        probe = min(below + step, last)
        if not taken(probe):
            # `below` is taken and `probe` is free: halving keeps it so until they are neighbours.
            while probe - below > 1:
                middle = (below + probe) // 2
                if taken(middle):
                    below = middle
                else:
                    probe = middle
            return probe
        below, step = probe, step * 2
    return _first_gap(admission, scope, text, first, last)


def _first_gap(admission: Admission, scope: str, text: Callable[[int], str], first: int, last: int) -> int | None:
    expected, start = first, text(first)
    while expected <= last:
        page = admission.values(scope, start, 1000)
        for value in page:
            if value.startswith(text(expected)):
                expected += 1
            elif expected == first or not value.startswith(text(expected - 1)):
                return expected
            if expected > last:
                return None
        if len(page) < 1000:
            return expected
        start = page[-1] + "\0"
    return None
