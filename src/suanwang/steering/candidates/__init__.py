"""Candidate paths in bulk: which paths may a demand use, for all demands at once, and why there is none.

`build` makes them, `cache` keeps them, `nearest_miss` explains. What numba compiles is in the modules named `*_kernel`,
which are imported when they are needed.
"""

from suanwang.steering.candidates.build import Built, Kind, build
from suanwang.steering.candidates.miss import Miss, nearest_miss

__all__ = ["Built", "Kind", "Miss", "build", "nearest_miss"]
