"""numba's compiler as kernels use it. Only modules of kernels import this, since numba takes a while to load.

Numba keeps what it compiled on disk, and compiles a function anew when its own file changes, not when a file changes
from which it calls something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

Function = Callable[..., Any]


def njit(**options: Any) -> Callable[[Function], Function]:
    """Compile without Python objects, so that other threads run meanwhile; once, and kept on disk."""

    def compiled(function: Function) -> Function:
        found: Function = numba.njit(cache=True, nogil=True, **options)(function)
        return found

    return compiled


def inlined() -> Callable[[Function], Function]:
    """`njit` for a function that becomes part of what calls it: no call, no counting of references to arrays."""
    return njit(forceinline=True)
