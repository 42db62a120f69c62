"""Labs for tests: in a run directory of the test's own, under names of the test's own, and taken away at the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from suanwang.cli import whereabouts
from suanwang.cli.client import Client
from suanwang.lab import namespaces
from suanwang.lab.description import Impairment, LinkDescription, NodeDescription, UnderlayDescription
from suanwang.lab.lab import Lab
from suanwang.lab.state import LabDirectory, names
from suanwang.lab.underlay import Underlay

NO_IMPAIRMENT = Impairment()
LINKS = (
    ("leaf1", "spine1"),
    ("leaf1", "spine2"),
    ("leaf2", "spine1"),
    ("leaf2", "spine2"),
    ("host1", "leaf1"),
    ("host2", "leaf1"),
    ("host3", "leaf2"),
    ("host4", "leaf2"),
)


def _describe(links: tuple[tuple[str, str], ...], impairment: Impairment, **options: object) -> UnderlayDescription:
    members = sorted({node for link in links for node in link})
    nodes = tuple(
        NodeDescription(
            name=name,
            role=name.rstrip("0123456789"),
            asn=4_200_000_000 + number,
            loopbacks=(f"10.255.0.{number}/32", f"fd00:255::{number:x}/128"),
        )
        for number, name in enumerate(members, start=1)
    )
    made = tuple(LinkDescription(f"{a}-{b}", a, b, impairment) for a, b in links)
    return UnderlayDescription(nodes, made, **options)  # type: ignore[arg-type]


@pytest.fixture
def leaf_spine() -> Callable[..., UnderlayDescription]:
    """Describes two spines, two leaves and four hosts."""

    def describe(impairment: Impairment = NO_IMPAIRMENT, **options: object) -> UnderlayDescription:
        return _describe(LINKS, impairment, **options)

    return describe


@pytest.fixture
def pair() -> Callable[..., UnderlayDescription]:
    """Describes two routers and one link."""

    def describe(impairment: Impairment = NO_IMPAIRMENT, **options: object) -> UnderlayDescription:
        return _describe((("left", "right"),), impairment, **options)

    return describe


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory for run directories. Whatever labs are left in it when the test ends are taken away."""
    if os.geteuid() != 0:
        pytest.skip("labs need root, to make network namespaces")
    if shutil.which("vtysh") is None:
        pytest.skip("labs need FRR, which is not installed")
    path = Path(tempfile.mkdtemp(prefix="lab"))
    # Routing daemons give up root and must still reach their directories.
    path.chmod(0o755)
    yield path
    for name in names(path):
        LabDirectory(name, path).remove()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(base: Path) -> Callable[[str, UnderlayDescription], Underlay]:
    """Starts a lab that is gone after the test."""

    def up(name: str, description: UnderlayDescription) -> Underlay:
        return Underlay.up(name, description, base)

    return up


# --- whole labs: underlay, controller and agents ---

COMMAND = [sys.executable, "-m", "suanwang"]
LIMIT_S = 30.0
"""How long anything that must come about may take."""

Document = dict[str, Any]
STAMPED = re.compile(r"^\[([\d.]+)\] \d+ bytes from .*icmp_seq=(\d+)", re.MULTILINE)


def environment() -> dict[str, str]:
    """That of the commands that tests run: nobody else's server or context has a say in them."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SUANWANG_") or "TEST" in key}
    return {**kept, "XDG_CONFIG_HOME": "/nonexistent"}


def until(condition: Callable[[], Any], what: str = "", limit_s: float = LIMIT_S) -> Any:
    """Wait until a condition holds; gives what it answered."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {limit_s:g} s: {what or condition}"
        time.sleep(0.02)
    return found


class Flow:
    """Echo requests from a workload every 5 ms until `stop`, so that each one that gets lost is known."""

    INTERVAL_S = 0.005

    def __init__(self, whole: Whole, source: str, address: str) -> None:
        words = ["ping", "-n", "-D", "-i", str(self.INTERVAL_S), "-W", "2", address]
        line = whole.lab.command_line(source, words)
        self._output = whole.new_path()
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(line, stdout=output, stderr=subprocess.STDOUT, env=whole.marked)
        until(lambda: len(self.answers()) >= 3, f"no answer from {address}: {self._text()}")

    def _text(self) -> str:
        return self._output.read_text()

    def answers(self) -> list[tuple[float, int]]:
        """Time and number of all answers so far."""
        return [(float(at), int(number)) for at, number in STAMPED.findall(self._text())]

    def go_on(self, count: int = 20) -> None:
        """Wait for further answers."""
        before = len(self.answers())
        until(lambda: len(self.answers()) >= before + count, "the flow has stopped")

    def stop(self) -> tuple[int, int, float]:
        """Numbers lost among those up to the last answered, numbers sent, and the longest time without an answer."""
        self.go_on(5)
        self._process.send_signal(signal.SIGINT)
        self._process.wait(10)
        answers = self.answers()
        last = max(number for _, number in answers)
        lost = set(range(1, last + 1)) - {number for _, number in answers}
        gap_s = max(after - before for (before, _), (after, _) in pairwise(answers)) - self.INTERVAL_S
        return len(lost), last, gap_s


class Whole:
    """A whole lab under test, driven by the commands that users have."""

    def __init__(self, name: str, files: Path) -> None:
        self.name = name
        self.files = files
        self._number = 0

    def command(self, *words: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `suanwang WORDS…`."""
        done = subprocess.run(
            [*COMMAND, *words], input=stdin, capture_output=True, text=True, timeout=60, env=environment()
        )
        assert done.returncode == 0 or not check, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def up(self, documents: list[Document], *flags: str) -> None:
        """`lab up` with these documents."""
        self.command("lab", "up", "--name", self.name, "-f", str(self.file(documents)), *flags)

    def file(self, documents: list[Document]) -> Path:
        """A file with these documents."""
        path = self.new_path().with_suffix(".yaml")
        path.write_text(yaml.safe_dump_all(documents))
        return path

    def new_path(self) -> Path:
        """A path for a file that is not there yet."""
        self._number += 1
        return self.files / f"file-{self._number}"

    @property
    def lab(self) -> Lab:
        """The lab, as it stands on disk."""
        return Lab.open(self.name)

    @property
    def marked(self) -> dict[str, str]:
        """The environment of processes that belong to the lab, so that nothing of them stays."""
        return {**os.environ, **self.lab.directory.environment}

    def client(self, token: str = "") -> Client:
        """A client of the controller: its administrator's, or with this token."""
        at = whereabouts.find({"lab": self.name})
        return Client(replace(at, token=token) if token else at)

    def apply(self, documents: list[Document], *, prune: bool = False, wait: bool = True, token: str = "") -> int:
        """Plan and apply, wait until all nodes have it; gives the revision."""
        with closing(self.client(token)) as client:
            body = {"documents": documents, "delete": [], "prune": prune, "set": "test"}
            revision = client.post("/v1/apply", {"plan": client.post("/v1/plan", body)})["revision"]
            if wait:
                found = client.get("/v1/wait", {"revision": revision, "timeout": LIMIT_S}, timeout_s=LIMIT_S + 10)
                assert not any(found[what] for what in ("waiting", "failed", "absent")), found
        return int(revision)

    def delete(self, *keys: tuple[str, str, str], token: str = "") -> int:
        """Delete resources, given as (kind, tenant, name), in one change."""
        with closing(self.client(token)) as client:
            named = [dict(zip(("kind", "tenant", "name"), key, strict=True)) for key in keys]
            plan = client.post("/v1/plan", {"documents": [], "delete": named, "prune": False, "set": ""})
            return int(client.post("/v1/apply", {"plan": plan})["revision"])

    def nodes(self) -> dict[str, Document]:
        """What the controller knows of the agents, by node."""
        with closing(self.client()) as client:
            return {node["name"]: node for node in client.get("/v1/nodes")["nodes"]}

    def converged(self) -> bool:
        """Whether every agent is connected and has exactly its node's program, without failures."""
        nodes = self.nodes()
        return all(
            nodes[host]["connected"]
            and nodes[host]["programHash"] == nodes[host]["appliedHash"]
            and not nodes[host]["failed"]
            and not nodes[host]["pending"]
            for host in self.lab.hosts()
            if host in nodes
        )

    def settle(self, limit_s: float = LIMIT_S) -> None:
        """Wait until `converged`."""
        try:
            until(self.converged, limit_s=limit_s)
        except AssertionError:
            raise AssertionError(f"not converged: {self.nodes()}") from None

    def inside(self, target: str, *words: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in a node or workload."""
        done = subprocess.run(
            self.lab.command_line(target, words), capture_output=True, text=True, timeout=30, env=self.marked, **options
        )
        assert done.returncode == 0 or not check, f"{target} {words}: {done.stdout}{done.stderr}"
        return done

    def start(self, target: str, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a process in a node or workload that `down` takes along."""
        return subprocess.Popen(self.lab.command_line(target, words), text=True, env=self.marked, **options)

    def reaches(self, source: str, address: str, count: int = 2, wait_s: float = 0.5) -> bool:
        """Whether echo requests from a workload are answered."""
        words = ["ping", "-n", "-c", str(count), "-i", "0.02", "-W", str(wait_s), address]
        return self.inside(source, *words, check=False).returncode == 0

    def flow(self, source: str, address: str) -> Flow:
        """Start a watched flow."""
        return Flow(self, source, address)

    def agent_log(self, node: str) -> str:
        """What a node's agent has logged so far."""
        return (self.lab.directory.path / "agents" / f"{node}.log").read_text()

    def made(self, node: str) -> list[str]:
        """Names of the namespaces that a node's agent made."""
        return sorted(name for name in namespaces.existing(self.lab.prefix(node)))

    def kernel(self, node: str) -> dict[str, list[str]]:
        """All that stands in the namespaces that a node's agent made, without numbers that mean nothing."""
        return {name: _kernel_state(name) for name in self.made(node)}


_NUMBERS = frozenset({"ifindex", "link_index", "link_netnsid", "handle", "index", "refcnt", "ref_cnt"})
_PASSING = frozenset({"valid_life_time", "preferred_life_time", "expires", "metainfo", "state", "used", "updated"})
_LISTINGS = (
    ("ip", "-j", "-d", "address"),
    ("ip", "-j", "-4", "route", "show", "table", "all"),
    ("ip", "-j", "-6", "route", "show", "table", "all"),
    ("ip", "-j", "-4", "rule"),
    ("ip", "-j", "-6", "rule"),
    ("ip", "-j", "neigh", "show", "nud", "permanent"),
    ("ip", "-j", "neigh", "show", "proxy"),
    ("bridge", "-j", "fdb"),
    ("nft", "-j", "-s", "list", "ruleset"),
    ("tc", "-j", "qdisc"),
)


def _kernel_state(namespace: str) -> list[str]:
    lines = []
    for words in _LISTINGS:
        line = ["nsenter", f"--net={namespaces.path_of(namespace)}", *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=30)
        if done.returncode:
            return ["the namespace has gone meanwhile"]
        text = done.stdout
        found = json.loads(text or "[]")
        found = found["nftables"] if isinstance(found, dict) else found
        lines += sorted(f"{' '.join(words)}: {json.dumps(_meaningful(one), sort_keys=True)}" for one in found)
    return lines


def _meaningful(value: Any) -> Any:
    if isinstance(value, dict):
        dropped = _NUMBERS | _PASSING
        return {key: _meaningful(inner) for key, inner in value.items() if key not in dropped}
    if isinstance(value, list):
        return sorted((_meaningful(inner) for inner in value), key=lambda inner: json.dumps(inner, sort_keys=True))
    return value


def make(kind: str, name: str, tenant: str = "", **spec: Any) -> Document:
    """A resource."""
    metadata = {"name": name, **({"tenant": tenant} if tenant else {})}
    return {"apiVersion": "suanwang/v1", "kind": kind, "metadata": metadata, "spec": spec}


def small_network(hosts: int = 2) -> list[Document]:
    """Hosts h1, h2, … in a chain of links, `h1-h2` and so on; there is no router besides them."""
    region = make("Region", "east", underlay={"loopbacks": ["10.255.0.0/24"]})
    nodes = [make("Node", f"h{n}", region="east", roles=["host"]) for n in range(1, hosts + 1)]
    links = [make("Link", f"h{n}-h{n + 1}", a={"node": f"h{n}"}, b={"node": f"h{n + 1}"}) for n in range(1, hosts)]
    return [region, *nodes, *links]


def tenant_network(tenant: str, places: dict[str, tuple[str, str]], cidr: str = "10.0.0.0/16") -> list[Document]:
    """A tenant with one VPC, whose ports let everything in; `places`: port -> (node, address)."""
    return [
        make("Tenant", tenant),
        make("Vpc", "net", tenant, cidrs=[cidr]),
        make("Subnet", "all", tenant, vpc="net", cidr=cidr.replace("/16", "/24")),
        make("SecurityGroup", "open", tenant, vpc="net", rules=[{"direction": "ingress"}]),
        *(port(tenant, name, *place) for name, place in places.items()),
    ]


def port(tenant: str, name: str, node: str | None, address: str = "", **spec: Any) -> Document:
    """A port of a `tenant_network`."""
    spec = {"subnet": "all", "securityGroups": ["open"], **({"node": node} if node else {}), **spec}
    return make("Port", name, tenant, **spec, **({"addresses": [address]} if address else {}))


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """A lab of the module's own: hosts h1 and h2 (or as many as the module's HOSTS says) and nothing applied yet."""
    found = Whole(f"t{os.getpid()}{request.module.__name__[-3:]}", tmp_path_factory.mktemp("whole"))
    found.up(small_network(getattr(request.module, "HOSTS", 2)))
    yield found
    found.command("lab", "down", "--name", found.name)
    assert [name for name in namespaces.existing() if name.startswith(f"{found.name}.")] == []
    assert found.name not in names()


@pytest.fixture(scope="session")
def documents() -> SimpleNamespace:
    """Makers of documents."""
    return SimpleNamespace(make=make, port=port, small_network=small_network, tenant_network=tenant_network)


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., Any]:
    """Waits until a condition holds."""
    return until


@pytest.fixture(scope="session")
def machine() -> Callable[[], dict[str, Any]]:
    """Looks at all of this machine that nothing here may touch: its network, its settings, what lies in /etc."""

    def look() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for words in (*_LISTINGS, ("ip", "-j", "route", "show", "table", "all")):
            text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            listed = json.loads(text or "[]")
            listed = listed["nftables"] if isinstance(listed, dict) else listed
            found[" ".join(words)] = sorted(json.dumps(_meaningful(one), sort_keys=True) for one in listed)
        for path in sorted(Path("/proc/sys/net").rglob("*")):
            try:
                if path.is_file() and "nf_conntrack_count" not in path.name:
                    found[str(path)] = path.read_text()
            except (OSError, UnicodeDecodeError):
                continue  # write-only ones, and secrets that are not set
        for path in sorted(Path("/etc").rglob("*")):
            state = path.lstat()
            found[str(path)] = (state.st_mode, state.st_uid, state.st_size, state.st_mtime_ns)
        return found

    return look
