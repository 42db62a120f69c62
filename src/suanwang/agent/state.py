"""The agent's state directory: private to its user, one agent's at a time, written so that crashes lose nothing."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from suanwang.model.errors import SuanwangError, code

STATE_DIRECTORY = code("STATE_DIRECTORY", "the state directory can't be used")
STATE_IN_USE = code("STATE_IN_USE", "another process already uses this state directory")


class StateDirectory:
    """A directory that only its owner can enter (mode 0700), locked while this object is open.

    The lock ends with the process, however that ends. Raises STATE_DIRECTORY, STATE_IN_USE.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            message = f"{path}: {problem.strerror}"
            raise SuanwangError(STATE_DIRECTORY, message, "choose a directory that this user can write") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            hint = "one agent a node; give a second one its own state directory"
            raise SuanwangError(STATE_IN_USE, f"{path} is in use by another process", hint) from None

    def close(self) -> None:
        """Let others use the directory."""
        os.close(self._lock)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file whole (mode 0600): readers and crashes see the old content or the new one."""
        temporary = self.path / f"{name}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path / name)
        self.sync()

    def read(self, name: str) -> bytes | None:
        """A file's content; None if there is no such file."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def sync(self) -> None:
        """Make renames and removals in the directory durable."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
