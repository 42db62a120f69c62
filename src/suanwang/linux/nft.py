"""nftables transactions, through libnftables (or the `nft` program) in the namespace where the calling thread is."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import struct
import subprocess
from collections.abc import Sequence
from functools import cache

from suanwang.linux.netlink import NETFILTER, Message, Socket, attributes

_GET_GENERATION = 10 << 8 | 16
_POSITION = re.compile(r"^(?:/dev/stdin|<[^>]*>)?:?\d+:\d+(?:-\d+)?: ?", re.MULTILINE)


class TransactionError(Exception):
    """The kernel or nft refused a transaction; nothing of it was done."""


@cache
def library() -> ctypes.CDLL | None:
    """libnftables, where it is there."""
    for name in ("libnftables.so.1", ctypes.util.find_library("nftables")):
        if name is None:
            continue
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        found.nft_ctx_new.restype = ctypes.c_void_p
        found.nft_ctx_new.argtypes = [ctypes.c_uint32]
        found.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        for call in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_get_error_buffer"):
            getattr(found, call).argtypes = [ctypes.c_void_p]
        found.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        return found
    return None


def run(lines: Sequence[str]) -> None:
    """Carry out one transaction. Raises TransactionError with the first thing that was wrong."""
    if not lines:
        return
    script = "\n".join(lines) + "\n"
    found = library()
    said = _run_program(script) if found is None else _run_library(found, script)
    if said is not None:
        first = _POSITION.sub("", said).strip().splitlines()
        raise TransactionError("; ".join(line.strip() for line in first[:2]) or "nft refused without saying why")


def _run_library(found: ctypes.CDLL, script: str) -> str | None:
    context = found.nft_ctx_new(0)
    if not context:
        return "libnftables gave no context"
    try:
        found.nft_ctx_buffer_output(context)
        found.nft_ctx_buffer_error(context)
        if found.nft_run_cmd_from_buffer(context, script.encode()) == 0:
            return None
        return str((found.nft_ctx_get_error_buffer(context) or b"").decode(errors="replace"))
    finally:
        found.nft_ctx_free(context)


def _run_program(script: str) -> str | None:
    try:
        # A child inherits the calling thread's namespace, not the process's.
        done = subprocess.run(["nft", "-f", "-"], input=script, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return "neither libnftables.so.1 nor the program nft is there"
    except subprocess.TimeoutExpired:
        return "nft did not end within 60 s"
    return done.stderr if done.returncode else None


def generation() -> int:
    """How often the namespace's rules were changed: a number that stays the same while nobody touches them."""
    with Socket(NETFILTER) as netfilter:
        problems, answers = netfilter.batch([Message(_GET_GENERATION, 0, struct.pack("=BBH", 0, 0, 0))])
    if problems:
        raise OSError(problems[0].number, problems[0].message)
    return int.from_bytes(attributes(answers[0], 4)[1], "big")
