"""Fabrics: AI and data-centre networks from files alone. Each command has a module of its own, loaded when called."""

from __future__ import annotations

from suanwang.cli.lazy import Entry, LazyGroup

DRAW, TRY, BUILD = "Design", "Simulate", "Configure"

COMMANDS = {
    "design": Entry("suanwang.cli.fabric_design:design", DRAW, "What it needs and gives, switches to price."),
    "plot": Entry("suanwang.cli.fabric_plot:plot", DRAW, "A picture of a fabric or of a simulation."),
    "simulate": Entry("suanwang.cli.fabric_simulate:simulate", TRY, "Flows and training steps on a fabric."),
    "compare": Entry("suanwang.cli.fabric_compare:compare", TRY, "Several policies or designs side by side."),
    "configure": Entry("suanwang.cli.fabric_configure:configure", BUILD, "Configuration of every switch."),
    "lab": Entry("suanwang.cli.fabric_lab:lab", BUILD, "A small fabric of real routers on this machine."),
}  # fmt: skip

fabric = LazyGroup("fabric", entries=COMMANDS, help="Design, simulate and configure AI and data-centre fabrics.")
