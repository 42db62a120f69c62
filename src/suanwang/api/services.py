"""What handlers work with: the controller and the rooms around it, put together once when the server starts."""

from __future__ import annotations

from dataclasses import dataclass

from suanwang.api.agents import Agents
from suanwang.api.housekeeping import Housekeeping
from suanwang.api.settings import Settings
from suanwang.controller.authority import Authority
from suanwang.controller.conditions import Conditions
from suanwang.controller.credentials import Credentials
from suanwang.controller.engine import Controller
from suanwang.controller.node_states import NodeStates
from suanwang.measure.figures import Figures
from suanwang.model.registry import Registry
from suanwang.store.interface import Store


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a handler may use."""

    settings: Settings
    store: Store
    registry: Registry
    controller: Controller
    credentials: Credentials
    authority: Authority
    states: NodeStates
    conditions: Conditions
    agents: Agents
    housekeeping: Housekeeping
    figures: Figures
