"""Repair of what runs now after one change, and placing of what is new, in milliseconds."""

from suanwang.steering.online.service import Online
from suanwang.steering.online.solve import solve

__all__ = ["Online", "solve"]
