"""The files of a fabric's configuration: a folder for each switch, and beside them what is of all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import msgspec

from suanwang.fabric.configure.frr import VTYSH, daemons, render
from suanwang.fabric.configure.openconfig import openconfig
from suanwang.fabric.configure.plan import Plan, Switch
from suanwang.fabric.configure.sonic import config_db
from suanwang.fabric.exchange.containerlab import containerlab_text
from suanwang.model.errors import INVALID, SuanwangError

Format = Literal["frr", "sonic", "openconfig", "containerlab"]
FORMATS: tuple[Format, ...] = get_args(Format)

CONTAINERLAB = "fabric.clab.yml"
LIST = "switches.csv"
DAEMONS_FILE, VTYSH_FILE = "daemons", "vtysh.conf"
TAKEN = (CONTAINERLAB, LIST, DAEMONS_FILE, VTYSH_FILE)
"""Files beside the switches' folders, which no switch can be called after."""


class Writer:
    """The files of a plan in some formats, made switch by switch: path in the folder and content.

    containerlab counts interfaces from eth1, so its routers get a file of their own, `frr.clab.conf`. FRR's `daemons`
    and `vtysh.conf` are alike for all.

    Raises:
        SuanwangError: INVALID for a switch that has the name of one of the files.
    """

    def __init__(self, plan: Plan, formats: Sequence[Format], name: str = "fabric") -> None:
        self.plan, self.formats, self.name = plan, tuple(dict.fromkeys(formats)), name
        net = plan.network
        if taken := {name.lower() for name in net.names[net.endpoints :]} & set(TAKEN):
            raise SuanwangError(
                INVALID, f"a switch is named {min(taken)!r}, as a file beside the switches' folders", "rename it"
            )
        self._lab = Plan(plan.network, replace(plan.options, interfaces="eth"))

    def all(self) -> Iterator[tuple[str, bytes]]:
        """All files, those of the whole fabric last."""
        lines = ["switch,plane,tier,asn,loopback4,loopback6,prefix4,prefix6,sessions"]
        for switch in self.plan.switches():
            yield from self.of(switch)
            lines.append(_line(self.plan, switch))
        yield LIST, "\n".join([*lines, ""]).encode()
        if "frr" in self.formats or "containerlab" in self.formats:
            yield DAEMONS_FILE, daemons(self.plan.options).encode()
            yield VTYSH_FILE, VTYSH.encode()
        if "containerlab" in self.formats:
            yield CONTAINERLAB, "".join(containerlab_text(self.name, self.plan.network, binds=self._binds)).encode()

    def of(self, switch: Switch) -> Iterator[tuple[str, bytes]]:
        """The files of one switch."""
        if "frr" in self.formats:
            yield f"{switch.name}/frr.conf", render(self.plan, switch).encode()
        if "containerlab" in self.formats:
            yield f"{switch.name}/frr.clab.conf", render(self._lab, switch).encode()
        if "sonic" in self.formats:
            yield f"{switch.name}/config_db.json", json_text(config_db(self.plan, switch))
        if "openconfig" in self.formats:
            yield f"{switch.name}/openconfig.json", json_text(openconfig(self.plan, switch))

    def _binds(self, node: str) -> list[str]:
        if self.plan.network.node(node) < self.plan.network.endpoints:
            return []
        places = {f"{node}/frr.clab.conf": "frr.conf", DAEMONS_FILE: "daemons", VTYSH_FILE: "vtysh.conf"}
        return [f"{here}:/etc/frr/{there}" for here, there in places.items()]


def json_text(content: Any) -> bytes:
    """JSON for people."""
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _line(plan: Plan, switch: Switch) -> str:
    prefixes = switch.announced or ("", "")
    sessions = sum(len(one.ports) if plan.options.sessions == "link" else 1 for one in switch.neighbours)
    place = switch.place
    fields = (switch.name, place.plane, place.tier, switch.asn, switch.loopback4, switch.loopback6, *prefixes, sessions)
    return ",".join(str(field) for field in fields)
