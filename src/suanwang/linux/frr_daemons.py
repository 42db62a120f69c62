"""FRR's daemons in one namespace, with everything of theirs under one run directory.

Nothing here reads or writes `/etc/frr` or `/run/frr`: configuration, pid files, terminal sockets and zebra's route
socket all lie in the run directory, so any number of routers live side by side, with or without FRR on the machine.
The daemons give up root for the user `frr` when they start, so the directory is theirs.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from suanwang.linux.frr import RouterConfiguration, render, render_daemon
from suanwang.model.errors import SuanwangError, code

FRR_MISSING = code("FRR_MISSING", "FRR, the routing software, is not installed or lacks a daemon that is needed")
FRR_FAILED = code("FRR_FAILED", "an FRR daemon did not start or refused its configuration")

DAEMON_DIRECTORIES = (Path("/usr/lib/frr"), Path("/usr/libexec/frr"), Path("/usr/sbin"))
"""Where Debian, Fedora and FRR's own packages put the daemons."""

CRASH_LOG_DIRECTORY = Path("/var/tmp/frr")
"""Each FRR daemon keeps a folder `NAME.PID` here for its last words, and removes it only when it ends in peace."""


def daemon_path(daemon: str) -> Path:
    """Where a daemon is installed. Raises FRR_MISSING."""
    for directory in DAEMON_DIRECTORIES:
        if os.access(directory / daemon, os.X_OK):
            return directory / daemon
    raise SuanwangError(FRR_MISSING, f"FRR's {daemon} is not installed", "install the package `frr`")


def check(text: str) -> str:
    """What `vtysh` finds wrong with a configuration; empty when it accepts it."""
    answer = subprocess.run(["vtysh", "-C", "-f", "/dev/stdin"], input=text, capture_output=True, text=True)
    return "" if answer.returncode == 0 else (answer.stdout + answer.stderr).strip()


@dataclass(frozen=True, slots=True)
class FrrDaemons:
    """The daemons of one router. `namespace` is the path of its network namespace, None for this process's own."""

    run_directory: Path
    namespace: Path | None

    def start(self, router: RouterConfiguration, environment: dict[str, str] | None = None) -> None:
        """Start every daemon that `router` needs and wait until each has read its configuration.

        Raises FRR_MISSING, or FRR_FAILED with the daemon's own words.
        """
        owner = pwd.getpwnam("frr")
        self.run_directory.mkdir(parents=True, exist_ok=True)
        os.chown(self.run_directory, owner.pw_uid, owner.pw_gid)
        self._write(self.run_directory / "frr.conf", render(router))
        for daemon in router.daemons:
            self._start_daemon(daemon, render_daemon(router, daemon), environment)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o644)

    def _start_daemon(self, daemon: str, configuration: str, environment: dict[str, str] | None) -> None:
        directory = self.run_directory
        self._write(directory / f"{daemon}.conf", configuration)
        # FRR names its crash log after the process that is started here, which is gone when the daemon serves.
        argv = [
            *("sh", "-c", 'echo $$ >"$0" && exec "$@"', str(directory / f"{daemon}.launch")),
            *([] if self.namespace is None else ["nsenter", f"--net={self.namespace}", "--"]),
            *(str(daemon_path(daemon)), "--daemon", "--vty_port", "0"),
            *("--vty_socket", str(directory), "--socket", str(directory / "zserv.api")),
            *("--pid_file", str(directory / f"{daemon}.pid"), "--config_file", str(directory / f"{daemon}.conf")),
            *("--log", f"file:{directory / daemon}.log", "--log-level", "warnings"),
            *(["--bfdctl", str(directory / "bfdd.sock")] if daemon == "bfdd" else []),
        ]
        # A daemon's parent ends when its child has read the configuration and serves, so waiting for it is enough.
        answer = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        if answer.returncode != 0 or not (directory / f"{daemon}.pid").exists():
            words = (answer.stderr or answer.stdout).strip() or f"it ended with status {answer.returncode}"
            raise SuanwangError(FRR_FAILED, f"FRR's {daemon} did not start in {directory}: {words}")

    def pids(self) -> Iterator[tuple[str, int]]:
        """Name and process id of each daemon that was started here, as their pid files say."""
        for path in sorted(self.run_directory.glob("*.pid")):
            text = path.read_text().strip()
            if text:
                yield path.stem, int(text)

    def running(self) -> Iterator[tuple[str, int]]:
        """The daemons that live. A process that got the id of a dead daemon is told apart by its command line."""
        for daemon, pid in self.pids():
            if _is_daemon(pid, self.run_directory):
                yield daemon, pid

    def stop(self, limit_s: float = 3.0) -> None:
        """End the daemons, politely first. Stopping what does not run is no error."""
        for daemon, pid in list(self.running()):
            end_daemon(daemon, pid, self.run_directory, limit_s)
        self.forget()

    def forget(self) -> None:
        """Remove what daemons that were killed leave outside the run directory. They must not run any more."""
        for path in self.run_directory.glob("*.launch"):
            launched = path.read_text().strip()
            if launched:
                shutil.rmtree(CRASH_LOG_DIRECTORY / f"{path.stem}.{launched}", ignore_errors=True)

    def reload(self, router: RouterConfiguration) -> None:
        """Move running daemons to another configuration; sessions that it does not touch stay up. Raises FRR_FAILED."""
        path = self.run_directory / "frr.conf"
        self._write(path, render(router))
        argv = [
            *("python3", str(daemon_path("frr-reload.py")), "--reload", "--vty_socket", str(self.run_directory)),
            *("--confdir", str(self.run_directory), "--rundir", str(self.run_directory), "--stdout", str(path)),
        ]
        answer = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if answer.returncode != 0:
            words = (answer.stdout + answer.stderr).strip()[-500:]
            raise SuanwangError(FRR_FAILED, f"FRR refused the new configuration: {words}")

    def command(self, *commands: str) -> str:
        """What FRR answers to commands of its own language. Raises FRR_FAILED."""
        argv = ["vtysh", "--vty_socket", str(self.run_directory)]
        argv += [word for command in commands for word in ("-c", command)]
        answer = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if answer.returncode != 0:
            words = (answer.stdout + answer.stderr).strip()
            raise SuanwangError(FRR_FAILED, f"FRR did not answer {'; '.join(commands)!r}: {words}")
        return answer.stdout

    def show(self, command: str) -> object:
        """The decoded answer of `show COMMAND json`. Raises FRR_FAILED."""
        return json.loads(self.command(f"show {command} json"))


def end_daemon(daemon: str, pid: int, run_directory: Path, limit_s: float) -> None:
    """End one daemon, politely first. A process that took over the number is left alone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # The handle is open before the check, so a process that takes over the number later can not be hit.
        if not _is_daemon(pid, run_directory):
            return
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not waiting.poll(limit_s * 1000):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            waiting.poll(1000)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _is_daemon(pid: int, run_directory: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(run_directory).encode() in words
