"""What all tests share: who may make namespaces, and the guard that this machine stays as it was.

Tests that carry `@pytest.mark.root` make network namespaces of their own. They are skipped, with the reason, where that
is not possible. In every run where it is, `untouched_machine` compares the machine before and after.
"""

from __future__ import annotations

import ctypes
import difflib
import functools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MARK = "SUANWANG_TEST_SESSION"
"""Every process that the tests start inherits this variable, so that one that stays behind is known for ours."""

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
"""Of `unshare` and `mount` (linux/sched.h, linux/mount.h); Python has them from 3.12 on, in part."""

PATIENCE_S = 10.0
"""How long processes and namespaces may take to vanish after the last test."""

WATCHED_ETC = ("frr", "netns", "iproute2", "sysctl.d", "sysctl.conf", "nftables.conf", "hosts")
WATCHED_SYSCTLS = ("core", "ipv4", "ipv4/conf/all", "ipv4/conf/default", "ipv6", "ipv6/conf/all", "ipv6/conf/default")
PASSING = frozenset({"expires", "valid_life_time", "preferred_life_time", "used", "ifi_flags"})
"""Fields of `ip -j` that count down or up by themselves."""


@functools.cache
def reason_against_namespaces() -> str:
    """Why this process can't make network namespaces; empty if it can."""
    if os.geteuid() != 0:
        return "needs root: makes network namespaces"
    if shutil.which("ip") is None:
        return "needs the ip command (package iproute2)"
    tried = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    return f"this root may not make network namespaces: {tried.stderr.strip()}" if tried.returncode else ""


def pytest_configure() -> None:
    """Give this run names of network namespaces of its own: two runs on one machine don't meet, and what a run that was
    killed leaves behind is in nobody's way. Root is needed; without it no test makes namespaces.
    """
    if reason_against_namespaces():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    names = Path("/run/netns")
    names.mkdir(mode=0o755, exist_ok=True)
    for call, *arguments in (
        (libc.unshare, CLONE_NEWNS),
        (libc.mount, b"none", b"/", None, MS_REC | MS_PRIVATE, None),
        (libc.mount, b"tmpfs", bytes(names), b"tmpfs", 0, b"mode=755"),
    ):
        if call(*arguments) != 0:
            pytest.exit(f"no mounts of its own for this run: {os.strerror(ctypes.get_errno())}", returncode=3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if any(item.get_closest_marker("root") for item in items) and reason_against_namespaces():
        skip = pytest.mark.skip(reason=reason_against_namespaces())
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def untouched_machine() -> Iterator[None]:
    """Fails the session if the machine's own network, or what lies in /etc about it, is not what it was before."""
    if reason_against_namespaces():
        yield
        return
    os.environ[MARK] = str(os.getpid())
    before = machine()
    namespaces = named_namespaces()
    yield
    wrong = leftovers(namespaces)
    after = machine()
    for part, was in before.items():
        if after[part] != was:
            wrong += [f"the tests changed the machine's {part}:", *difference(was, after[part])]
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


# --- what the machine looks like ---


def machine() -> dict[str, list[str]]:
    """The machine's own network in lines of text, part by part; nothing in it changes by itself."""
    return {
        "interfaces": listed("ip", "-j", "-d", "address", "show"),
        "routes": listed("ip", "-j", "-4", "route", "show", "table", "all")
        + listed("ip", "-j", "-6", "route", "show", "table", "all"),
        "rules": listed("ip", "-j", "-4", "rule", "show") + listed("ip", "-j", "-6", "rule", "show"),
        "firewall": output("nft", "--stateless", "list", "ruleset").splitlines(),
        "sysctls": sysctls(),
        "files in /etc": files_in_etc(),
    }


def output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout


def listed(*command: str) -> list[str]:
    objects = json.loads(output(*command) or "[]")
    return sorted(json.dumps(without_passing(one), sort_keys=True) for one in objects)


def without_passing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_passing(inner) for key, inner in value.items() if key not in PASSING}
    return [without_passing(inner) for inner in value] if isinstance(value, list) else value


def sysctls() -> list[str]:
    found = []
    for folder in WATCHED_SYSCTLS:
        for path in sorted(Path("/proc/sys/net", folder).glob("*")):
            try:
                text = path.read_text() if path.is_file() else ""
            except (OSError, UnicodeDecodeError):
                continue  # write-only ones, and secrets that are not set
            found.append(f"{path}: {text.strip()}")
    return found


def files_in_etc() -> list[str]:
    found = []
    for name in WATCHED_ETC:
        top = Path("/etc", name)
        for path in sorted((top, *top.rglob("*"))) if top.exists() else ():
            state = path.lstat()
            found.append(f"{path} mode {state.st_mode:o} owner {state.st_uid} size {state.st_size} {state.st_mtime_ns}")
    return found


def difference(before: list[str], after: list[str]) -> list[str]:
    lines = difflib.unified_diff(before, after, lineterm="", n=0)
    return [f"  {line}" for line in lines if not line.startswith(("---", "+++", "@@"))]


# --- what stays behind ---


def leftovers(namespaces_before: set[str]) -> list[str]:
    """Processes and namespaces of the tests that are still there after some patience."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = [f"left running: {command}" for command in our_processes()]
        found += [
            f"left behind: namespace {name}" for name in sorted(named_namespaces() - namespaces_before) if ours(name)
        ]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def named_namespaces() -> set[str]:
    folder = Path("/run/netns")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())


def carries_our_mark(process: Path) -> bool:
    try:
        return f"{MARK}={os.getpid()}".encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # it ended meanwhile


def our_processes() -> list[str]:
    """Command lines of processes that tests started. Python's own resource tracker ends with this process."""
    found = []
    for process in processes():
        if process.name != str(os.getpid()) and carries_our_mark(process):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if command and "resource_tracker" not in command:
                found.append(f"{process.name} {command}")
    return found


def ours(namespace: str) -> bool:
    """Whether a namespace that appeared meanwhile is of these tests: another lab's has only others' processes in it."""
    try:
        inode = Path("/run/netns", namespace).stat().st_ino
    except OSError:
        return False
    inside = []
    for process in processes():
        try:
            if (process / "ns" / "net").stat().st_ino == inode:
                inside.append(process)
        except OSError:
            continue
    return not inside or any(carries_our_mark(process) for process in inside)
