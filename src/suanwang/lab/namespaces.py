"""Named network namespaces of a lab: made, entered and removed quickly.

A network namespace belongs to a thread in Linux. Whatever has to happen inside one is therefore done by `run_inside`,
in a thread that lives only for that. Netlink sockets must be opened *and used* in there: pyroute2 keeps one socket for
each thread, so a socket object that is used by another thread silently talks to that thread's namespace.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

DIRECTORY = Path("/run/netns")
"""Where `ip netns` keeps named namespaces, so that it sees ours too."""

_CLONE_NEWNET = 0x4000_0000
_MS_BIND = 0x1000
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)
_T = TypeVar("_T")


def path_of(name: str) -> Path:
    """The file that stands for a namespace."""
    return DIRECTORY / name


def existing(prefix: str = "") -> list[str]:
    """Names of namespaces that begin with `prefix`, in order."""
    try:
        return sorted(name for name in os.listdir(DIRECTORY) if name.startswith(prefix))
    except FileNotFoundError:
        return []


def create(names: Iterable[str]) -> None:
    """Make namespaces. Raises FileExistsError when a name is taken."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)

    def make() -> None:
        for name in names:
            path = path_of(name)
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0))
            _check(_libc.unshare(_CLONE_NEWNET), name)
            _check(_libc.mount(b"/proc/thread-self/ns/net", os.fsencode(path), b"none", _MS_BIND, None), name)

    _in_thread(make)


def delete(names: Iterable[str]) -> None:
    """Remove namespaces with all that is in them, once no process is inside. What does not exist is no error."""
    for name in names:
        path = path_of(name)
        # A file on which nothing is mounted is what a crash leaves between its making and its mounting.
        while _libc.umount2(os.fsencode(path), _MNT_DETACH) == 0:
            pass
        path.unlink(missing_ok=True)


def identity(name: str) -> int | None:
    """The kernel's number of a namespace, as `/proc/PID/ns/net` shows it too; None when there is none."""
    try:
        status = os.stat(path_of(name))
    except OSError:
        return None
    return status.st_ino if status.st_dev == os.stat("/proc/self/ns/net").st_dev else None


@contextmanager
def opened(names: Iterable[str]) -> Iterator[dict[str, int]]:
    """Open descriptors of namespaces, by name, for as long as the context lasts."""
    descriptors: dict[str, int] = {}
    try:
        for name in names:
            descriptors[name] = os.open(path_of(name), os.O_RDONLY | os.O_CLOEXEC)
        yield descriptors
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def run_inside(name: str, function: Callable[[], _T]) -> _T:
    """The result of `function`, called in a thread that is inside the namespace. Its errors pass through."""
    return run_in_each({name: function})[name]


def run_in_each(functions: Mapping[str, Callable[[], _T]]) -> dict[str, _T]:
    """Call each function inside the namespace of its key, one after the other in a single visiting thread."""

    def visit() -> dict[str, _T]:
        results: dict[str, _T] = {}
        for name, function in functions.items():
            descriptor = os.open(path_of(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                _check(_libc.setns(descriptor, _CLONE_NEWNET), name)
            finally:
                os.close(descriptor)
            results[name] = function()
        return results

    return _in_thread(visit)


def run_in_new(function: Callable[[], _T]) -> _T:
    """The result of `function`, called inside a new namespace without a name, which is gone afterwards."""

    def visit() -> _T:
        _check(_libc.unshare(_CLONE_NEWNET), "a new namespace")
        return function()

    return _in_thread(visit)


def processes_in(identities: Iterable[int]) -> list[int]:
    """Ids of all processes that are inside one of the namespaces, which are given by the kernel's numbers."""
    wanted = {f"net:[{number}]" for number in identities}
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.readlink(f"/proc/{entry}/ns/net") in wanted:
                    found.append(int(entry))
            except OSError:
                continue
    return found


def write_settings(settings: Mapping[str, int | str]) -> None:
    """Write settings below `/proc/sys/net` for the namespace of the calling thread; call it by `run_inside` only.

    A setting that this kernel does not have is left out: it has then nothing to switch.
    """
    for key, value in settings.items():
        try:
            descriptor = os.open(f"/proc/sys/net/{key}", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            os.write(descriptor, str(value).encode())
        finally:
            os.close(descriptor)


def _in_thread(function: Callable[[], _T]) -> _T:
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="namespace-visitor")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _check(status: int, name: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
