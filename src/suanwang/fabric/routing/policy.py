"""Who makes routes for a policy of load balancing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from suanwang.fabric.network import Network
from suanwang.fabric.routing.fare import path_bandwidth
from suanwang.fabric.routing.routes import Routes, shortest

Router = Callable[[Network, NDArray[np.bool_], NDArray[np.int64]], Routes]
"""Routes of a network whose ports are up or not, and carry so many bit/s."""


def router_for(balance: str) -> Router:
    """Who makes routes for a policy: FARE weighs paths by bandwidth, all others take what is shortest."""
    if balance == "fare":
        return lambda network, up, rate_bps: path_bandwidth(network, up, rate_bps).routes()
    return lambda network, up, rate_bps: shortest(network, up)
