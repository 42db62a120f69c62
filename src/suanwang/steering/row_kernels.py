"""The inner loops over rows (demand, endpoint, path), compiled."""

from __future__ import annotations

from suanwang.compiled import njit


@njit()
def rows_of(  # type: ignore[no-untyped-def]
    source,
    choice,
    limit,
    rate,
    work,
    choice_first,
    choice_of,
    node,
    free,
    delay,
    longest,
    begin,
    target,
    alive,
    slow,
    first,
    demand,
    endpoint,
    path,
):
    """The rows of all demands, in order; with no room for them in `path`, only how many, as `first` (D + 1,).

    Paths from node s in the set of limit k are `begin[k, s]:begin[k, s + 1]`, sorted by `target`; only those that are
    `alive`, and no slower than `longest[k]` with the endpoint's delay, are taken.
    """
    count = 0
    for i in range(len(source)):
        first[i] = count
        if rate[i] <= 0.0:
            continue
        for at in range(choice_first[choice[i]], choice_first[choice[i] + 1]):
            end = choice_of[at]
            if free[end] <= 0.0 and work[i] != 0.0:
                continue
            low, stop = begin[limit[i], source[i]], begin[limit[i], source[i] + 1]
            high = stop
            while low < high:
                middle = (low + high) // 2
                if target[middle] < node[end]:
                    low = middle + 1
                else:
                    high = middle
            while low < stop and target[low] == node[end]:
                if alive[low] and slow[low] + delay[end] <= longest[limit[i]]:
                    if len(path) > 0:
                        demand[count], endpoint[count], path[count] = i, end, low
                    count += 1
                low += 1
    first[len(source)] = count
