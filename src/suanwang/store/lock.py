"""One process at a time may have a store open."""

from __future__ import annotations

import contextlib
import fcntl
import os

from suanwang.model.errors import SuanwangError
from suanwang.store.faults import STORE_LOCKED, fault


class FileLock:
    """Holds `PATH-lock` from the making of this object to `release`, or to the end of the process, however it ends.

    The file stays when the lock is released: who removed it could remove that of a successor. The kernel's lock on it
    is what counts, never its presence. Raises STORE_LOCKED, STORE_UNREADABLE, STORE_FULL.
    """

    def __init__(self, path: str) -> None:
        try:
            self._descriptor = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise fault(error, path) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise SuanwangError(
                STORE_LOCKED,
                f"store {path} is open already" + (f", in process {holder}" if holder else ""),
                "one server at a time may use a store: stop the other one, or give this one a store of its own",
            ) from error
        except OSError as error:
            os.close(self._descriptor)
            raise fault(error, path) from error
        # For the message above only; on a full disk it does without.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others open the store."""
        os.close(self._descriptor)
