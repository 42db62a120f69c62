"""FRR as a switch runs it: the daemons first, then the whole frr.conf by vtysh, as the machine's own start script does.

`FrrDaemons` renders a configuration of ours; here the file comes from elsewhere and is taken as it is.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from suanwang.linux.frr_daemons import FRR_FAILED, FrrDaemons
from suanwang.model.errors import SuanwangError

_ORDER = ("zebra", "staticd", "bfdd", "bgpd")
_AT_START = ("frr defaults", "hostname")
"""Lines that count from the start on, or that vtysh keeps to itself: daemons are told them before anything else."""


@dataclass(frozen=True, slots=True)
class FileRouter(FrrDaemons):
    """The daemons of one router that is told what a file says."""

    def start_from(self, configuration: str, daemons: Iterable[str], environment: dict[str, str]) -> None:
        """Start the daemons, zebra first, and have them read `configuration` (a whole frr.conf).

        Raises:
            SuanwangError: FRR_MISSING, or FRR_FAILED with the words of the daemon or of vtysh.
        """
        owner = pwd.getpwnam("frr")
        self.run_directory.mkdir(parents=True, exist_ok=True)
        os.chown(self.run_directory, owner.pw_uid, owner.pw_gid)
        path = self.run_directory / "frr.conf"
        self._write(path, configuration)
        first = "".join(f"{line}\n" for line in configuration.splitlines() if line.startswith(_AT_START))
        wanted = set(daemons)
        for daemon in (name for name in _ORDER if name in wanted):
            self._start_daemon(daemon, first, environment)
        argv = ["vtysh", "--vty_socket", str(self.run_directory), "-f", str(path)]
        answer = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=os.environ)
        words = (answer.stdout + answer.stderr).strip()
        if answer.returncode != 0 or "% " in words:
            raise SuanwangError(FRR_FAILED, f"FRR refused {path}: {words[-500:]}")
