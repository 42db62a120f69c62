"""Network namespaces: make, name, enter and remove them, as `ip netns` does, so that both see each other's.

A namespace is named by a bind mount under `/run/netns`. Only threads enter namespaces (`setns` moves one thread, not
the process), and only the threads of `Crew`, which come home after every job.
"""

from __future__ import annotations

import ctypes
import errno
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

DIRECTORY = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")
R = TypeVar("R")


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def prepare() -> None:
    """Make `/run/netns` a shared mount, as `ip netns add` does, so that mounts made here are seen everywhere."""
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    where = os.fsencode(DIRECTORY)
    try:
        _call("mount", b"", where, b"none", _MS_SHARED | _MS_REC, None)
    except OSError as problem:
        if problem.errno != errno.EINVAL:
            raise
        _call("mount", where, where, b"none", _MS_BIND | _MS_REC, None)
        _call("mount", b"", where, b"none", _MS_SHARED | _MS_REC, None)


def is_mounted(name: str) -> bool:
    """Whether a namespace of that name is there; a crash between making and mounting leaves a bare file."""
    return inode(name) != 0


def inode(name: str) -> int:
    """What tells the namespace of that name from every other; 0 where there is none."""
    try:
        found = os.stat(f"{DIRECTORY}/{name}")
    except OSError:
        return 0
    return found.st_ino if found.st_dev == _device() else 0


@cache
def _device() -> int:
    return os.stat("/proc/self/ns/net").st_dev


def names(prefix: str) -> set[str]:
    """Names under `/run/netns` that begin with `prefix`, whole or left half done by a crash."""
    try:
        return {name for name in os.listdir(DIRECTORY) if name.startswith(prefix)}
    except FileNotFoundError:
        return set()


def open_named(name: str) -> int:
    """A descriptor of the namespace of that name. Raises OSError (ENOENT) where there is none."""
    if not is_mounted(name):
        raise FileNotFoundError(errno.ENOENT, f"no network namespace {name}")
    return os.open(DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)


def unmount(name: str) -> None:
    """Take the name away; the namespace itself goes when nothing uses it any more. No error where there is none."""
    path = DIRECTORY / name
    while is_mounted(name):
        _call("umount2", os.fsencode(path), _MNT_DETACH)
    path.unlink(missing_ok=True)


@contextmanager
def inside(descriptor: int) -> Iterator[None]:
    """Be in the namespace for the length of the block: this thread only, so for threads of a `Crew`."""
    with _returning():
        _call("setns", descriptor, _CLONE_NEWNET)
        _place.descriptor = descriptor
        yield


@contextmanager
def new() -> Iterator[None]:
    """Be in a fresh nameless namespace for the length of the block; it vanishes afterwards unless it was mounted."""
    with _returning():
        _call("unshare", _CLONE_NEWNET)
        _place.descriptor = -1
        yield


class _Place(threading.local):
    """Where a thread is: a descriptor of its namespace that somebody keeps open, or -1 where there is none."""

    descriptor = -1


_place = _Place()


def here() -> int:
    """A new descriptor of the calling thread's namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def _returning() -> Iterator[None]:
    """At the end be where the thread was at the beginning."""
    before = _place.descriptor
    back = before if before >= 0 else here()
    try:
        yield
    finally:
        _call("setns", back, _CLONE_NEWNET)
        _place.descriptor = before
        if before < 0:
            os.close(back)


def mount_here(name: str) -> None:
    """Give the namespace in which this thread is a name. A bare file of that name is used, a namespace is an error."""
    path = os.fsencode(f"{DIRECTORY}/{name}")
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    except FileExistsError:
        if is_mounted(name):
            raise
    _call("mount", b"/proc/thread-self/ns/net", path, b"none", _MS_BIND, None)


def read_setting(path: str) -> str:
    """A setting under `/proc/sys/net` of this thread's namespace; empty where there is none (a device's)."""
    try:
        descriptor = os.open(f"/proc/sys/net/{path}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return os.read(descriptor, 256).decode().strip()
    finally:
        os.close(descriptor)


def write_setting(path: str, value: str) -> None:
    """Set it, in that namespace only."""
    descriptor = os.open(f"/proc/sys/net/{path}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


class Crew:
    """A few threads for work inside namespaces. Most of that work is system calls, during which others may run."""

    def __init__(self, size: int) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], object], Future[object]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"netns-{n}", daemon=True) for n in range(size)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        _place.descriptor = home = here()
        try:
            while (job := self._jobs.get()) is not None:
                call, future = job
                try:
                    future.set_result(call())
                except BaseException as problem:
                    future.set_exception(problem)
        finally:
            os.close(home)

    def submit(self, call: Callable[[], R]) -> Future[R]:
        """Have the call made by one of the threads."""
        future: Future[R] = Future()
        self._jobs.put((call, future))  # type: ignore[arg-type]
        return future

    def map(self, call: Callable[[T], R], items: Iterable[T], width: int | None = None) -> list[R]:
        """The call's results for all items, in order, by `width` threads (None: all).

        What it raises is raised here, after all have run.
        """
        if width is not None:
            todo = list(items)
            found: dict[int, R] = {}
            positions = iter(range(len(todo)))

            def work(_: int) -> None:
                for position in positions:
                    found[position] = call(todo[position])

            self.map(work, range(width))
            return [found[position] for position in range(len(todo))]
        futures = [self.submit(lambda item=item: call(item)) for item in items]  # type: ignore[misc]
        problems = [future.exception() for future in futures]
        for problem in problems:
            if problem is not None:
                raise problem
        return [future.result() for future in futures]

    def close(self) -> None:
        """End the threads."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
