"""Starts a lab's relay and speaks with it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from suanwang.lab import namespaces
from suanwang.lab.emulation import DirectionCounters, Order
from suanwang.model.errors import SuanwangError, code

RELAY_FAILED = code("RELAY_FAILED", "the process that emulates a lab's links did not start, answer or obey")


@dataclass(frozen=True, slots=True)
class RelayClient:
    """The relay of the lab whose run directory this is, in the namespace of that name."""

    run_directory: Path
    namespace: str

    @property
    def control_path(self) -> Path:
        """The Unix socket on which the relay takes orders."""
        return self.run_directory / "relay.sock"

    def start(self, links: list[Order], environment: dict[str, str], seed: int = 1) -> int:
        """Start the relay with these links and wait until it serves; the answer is its process id.

        Raises RELAY_FAILED.
        """
        links_path, log_path = self.run_directory / "relay.links", self.run_directory / "relay.log"
        links_path.write_text("".join(json.dumps(order) + "\n" for order in links))
        answer = subprocess.run(
            [
                *("nsenter", f"--net={namespaces.path_of(self.namespace)}", "--", sys.executable, "-m"),
                *("suanwang.lab.relay", str(self.control_path), str(links_path), str(log_path), str(seed)),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        if answer.returncode != 0:
            raise SuanwangError(RELAY_FAILED, f"the relay did not start: {answer.stderr.strip()[-500:]}")
        return int(answer.stdout)

    def order(self, order: Order) -> object:
        """The relay's answer to one order. Raises RELAY_FAILED."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(5.0)
                connection.connect(str(self.control_path))
                connection.sendall(json.dumps(order).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    line = answers.readline()
            answer = json.loads(line)
        except (OSError, ValueError) as error:
            raise SuanwangError(RELAY_FAILED, f"the relay does not answer: {error}") from error
        if isinstance(answer, dict) and "error" in answer:
            raise SuanwangError(RELAY_FAILED, f"the relay refused {order!r}: {answer['error']}")
        return answer

    def counters(self) -> dict[str, list[DirectionCounters]]:
        """What happened to frames on every emulated link, a pair of directions each. Raises RELAY_FAILED."""
        answer = self.order({"do": "stats"})
        if not isinstance(answer, dict):
            raise SuanwangError(RELAY_FAILED, f"the relay answered {answer!r}")
        return answer
