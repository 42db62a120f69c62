"""The fast solver: prices of links and endpoints by Newton's method on a smoothed dual, and rates that follow them."""

from suanwang.steering.fast.solve import solve

__all__ = ["solve"]
