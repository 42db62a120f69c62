"""Commands, a server and two agents that drive the kernel, in namespaces of the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from suanwang.cli.main import main

pytestmark = pytest.mark.root

PROGRAM = [sys.executable, "-c", "from suanwang.cli.main import main; main()"]
LIMIT_S = 30

NETWORK = """\
apiVersion: suanwang/v1
kind: Region
metadata: {name: north}
spec: {}
---
apiVersion: suanwang/v1
kind: Node
metadata: {name: h1}
spec: {region: north, roles: [host], address: 10.255.0.1}
---
apiVersion: suanwang/v1
kind: Node
metadata: {name: h2}
spec: {region: north, roles: [host], address: 10.255.0.2}
---
apiVersion: suanwang/v1
kind: Tenant
metadata: {name: retail}
spec: {}
---
apiVersion: suanwang/v1
kind: Vpc
metadata: {name: shop, tenant: retail}
spec: {cidrs: [10.0.0.0/16]}
---
apiVersion: suanwang/v1
kind: Subnet
metadata: {name: web, tenant: retail}
spec: {vpc: shop, cidr: 10.0.1.0/24}
---
apiVersion: suanwang/v1
kind: SecurityGroup
metadata: {name: ping, tenant: retail}
spec: {vpc: shop, rules: [{direction: ingress, protocol: icmp}]}
---
apiVersion: suanwang/v1
kind: Port
metadata: {name: web-1, tenant: retail}
spec: {subnet: web, node: h1}
---
apiVersion: suanwang/v1
kind: Port
metadata: {name: web-2, tenant: retail}
spec: {subnet: web, node: h2, securityGroups: [ping]}
---
apiVersion: suanwang/v1
kind: Assertion
metadata: {name: there, tenant: retail}
spec: {from: {port: web-1}, to: {port: web-2}}
---
apiVersion: suanwang/v1
kind: Assertion
metadata: {name: not-back, tenant: retail}
spec: {from: {port: web-2}, to: {port: web-1}, expect: denied}
"""

HTTP = """\
apiVersion: suanwang/v1
kind: Assertion
metadata: {name: http, tenant: retail}
spec: {from: {port: web-1}, to: {port: web-2}, protocol: tcp, port: 80}
"""

THIRD = """\
apiVersion: suanwang/v1
kind: Port
metadata: {name: web-3, tenant: retail}
spec: {subnet: web, node: h2}
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=LIMIT_S)


class Pair(NamedTuple):
    """A server and the agents of h1 and h2."""

    data: Path
    agents: list[subprocess.Popen[bytes]]

    def run(self, *words: str, stdin: str | None = None) -> Result:
        """Run a command against the server."""
        return CliRunner().invoke(main, ["--data-directory", str(self.data), *words], input=stdin)

    def nodes(self) -> list[dict[str, object]]:
        """What `nodes` shows."""
        found: list[dict[str, object]] = json.loads(self.run("nodes", "-o", "json").stdout)
        return found


@pytest.fixture
def pair(start_server: Callable[[], Path], tmp_path: Path) -> Iterator[Pair]:
    data = start_server()
    url = json.loads((data / "server.json").read_text())["url"]
    unique = f"swcli{os.getpid()}"
    underlays = [f"{unique}u1", f"{unique}u2"]
    made = Pair(data, [])
    agent_words = []
    try:
        for name in underlays:
            ip("netns", "add", name)
        ip("link", "add", "v1", "netns", underlays[0], "type", "veth", "peer", "name", "v2", "netns", underlays[1])
        for number, name in enumerate(underlays, 1):
            for device, address in (("lo", f"10.255.0.{number}/32"), (f"v{number}", f"172.31.0.{number}/24")):
                ip("-n", name, "link", "set", device, "up")
                ip("-n", name, "addr", "add", address, "dev", device)
            ip("-n", name, "route", "add", f"10.255.0.{3 - number}", "via", f"172.31.0.{3 - number}")
        result = made.run("apply", "-f", "-", stdin=NETWORK)
        assert result.exit_code == 0, result.output
        for number, name in enumerate(underlays, 1):
            token = tmp_path / f"h{number}.token"
            assert made.run("enrol-token", f"h{number}", "--out", str(token)).exit_code == 0
            assert token.stat().st_mode & 0o077 == 0
            words = ["agent", "--node", f"h{number}", "--underlay", name, "--prefix", f"{unique}p{number}."]
            words += ["--state-directory", str(tmp_path / f"h{number}")]
            agent_words.append(words)
            started = [*PROGRAM, *words, "--controller", url, "--token-file", str(token)]
            with (tmp_path / f"h{number}.log").open("wb") as log:
                made.agents.append(subprocess.Popen(started, stdout=log, stderr=log))
        limit = time.monotonic() + LIMIT_S
        while not all(node["connected"] and node["appliedHash"] == node["programHash"] for node in made.nodes()):
            assert time.monotonic() < limit, "".join((tmp_path / f"h{n}.log").read_text() for n in (1, 2))
            time.sleep(0.05)
        yield made
    finally:
        for agent in made.agents:
            agent.send_signal(signal.SIGCONT)
            agent.terminate()
            agent.wait(LIMIT_S)
        for words in agent_words:
            subprocess.run([*PROGRAM, *words, "--clean-up"], check=True, capture_output=True, timeout=LIMIT_S)
        for name in underlays:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=LIMIT_S)
        assert (
            unique
            not in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, timeout=LIMIT_S).stdout
        )


def test_round_the_loop(pair: Pair) -> None:
    result = pair.run("probe", "--count", "1")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("All 2 hold.\n")
    assert "ok: denied" in result.stdout

    # One more assertion: waited for, and there.
    result = pair.run("apply", "-f", "-", "--wait", "--accept", "retail/http", stdin=HTTP)
    assert result.exit_code == 0, result.output
    assert "Programmed: h1, h2." in result.stdout

    # Nothing allows it, so it does not hold; the exit code says so.
    result = pair.run("probe", "retail/http", "retail/there", "--count", "2", "-o", "json")
    assert result.exit_code == 2
    holds = {one["name"]: (one["holds"], one["sent"]) for one in json.loads(result.stdout)}
    assert holds == {"http": (False, 2), "there": (True, 2)}
    assert "1 of 2 hold." in pair.run("probe", "http", "there", "--tenant", "retail", "--count", "1").stdout

    # An agent that stands still is waited for in vain; the change is stored all the same.
    pair.agents[1].send_signal(signal.SIGSTOP)
    result = pair.run("apply", "-f", "-", "--wait", "--timeout", "0.5", stdin=THIRD)
    assert result.exit_code == 1
    assert "[NOT_PROGRAMMED]" in result.stderr
    assert "h2" in result.stderr
    pair.agents[1].send_signal(signal.SIGCONT)
    result = pair.run("apply", "-f", "-", "--wait", stdin=THIRD)
    assert result.exit_code == 0, result.output

    text = pair.run("program", "h2").stdout
    assert "title=retail/web-3" in text
