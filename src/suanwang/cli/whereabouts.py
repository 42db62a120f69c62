"""Where the server is and how to be let in: from flags, variables, a saved context, or the note a local server leaves.

A server on this machine writes `server.json` into its data directory (address, authority, file with the administrator's
token), and so does the one of a lab. `suanwang context set` keeps the same for servers elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from suanwang.model.errors import SuanwangError, code

NO_SERVER = code("NO_SERVER", "no server is named by flags, variables or a context, and none runs on this machine")
NO_CONTEXT = code("NO_CONTEXT", "no context of that name was saved")
BAD_CONTEXT = code("BAD_CONTEXT", "a file that says where the server is can't be read or is not of the expected form")

SOURCES = ("server", "lab", "data-directory", "context")
"""Flags that name a server, in the order in which they win."""

SERVER_NOTE = "server.json"
DEFAULT_DATA_DIRECTORY = Path("/var/lib/suanwang")


@dataclass(frozen=True, slots=True, repr=False)
class Whereabouts:
    """An HTTPS server, the certificates it is checked against (PEM; empty: the system's), and the token shown to it."""

    host: str
    port: int
    authority: str
    token: str
    source: str

    @property
    def url(self) -> str:
        """The address as text."""
        return f"https://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Whereabouts({self.url}, from {self.source})"  # without the token


def find(flags: Mapping[str, str]) -> Whereabouts:
    """The server that is meant. What stands nearest to the command wins; then --server, --lab, --data-directory,
    --context, the current context, a server on this machine. Raises NO_SERVER, NO_CONTEXT or BAD_CONTEXT."""
    source = flags.get("nearest") or next((name for name in SOURCES if flags.get(name)), "")
    if source == "server":
        found = {"server": flags["server"]}
        where = "--server"
    elif source == "lab":
        from suanwang.lab.state import LabDirectory

        lab = LabDirectory(flags["lab"])
        if not lab.path.is_dir():
            hint = f"suanwang lab up --name {flags['lab']} -f PATH"
            raise SuanwangError(NO_SERVER, f"there is no lab {flags['lab']!r} on this machine", hint)
        found, where = _note(lab.path / "controller"), f"lab {flags['lab']}"
    elif source == "data-directory":
        found, where = _note(Path(flags["data-directory"])), flags["data-directory"]
    elif source == "context" or (current := contexts()["current"]):
        name = flags.get("context") or current
        found, where = context(name), f"context {name}"
    elif (DEFAULT_DATA_DIRECTORY / SERVER_NOTE).exists():
        found, where = _note(DEFAULT_DATA_DIRECTORY), str(DEFAULT_DATA_DIRECTORY)
    else:
        saved = ", ".join(sorted(contexts()["contexts"]))
        raise SuanwangError(
            NO_SERVER,
            "no server is named, and none runs on this machine",
            f"choose a saved one: suanwang context use {saved}"
            if saved
            else "name one by --server, --lab or --context, or start one: suanwang server",
        )
    authority = read_authority(flags["ca"], "--ca") if flags.get("ca") else str(found.get("authority", ""))
    host, port = read_url(str(found["server"]), where)
    return Whereabouts(host, port, authority, _token(flags, found, where), where)


def is_named(flags: Mapping[str, str]) -> bool:
    """Whether any server is named or runs here, so that a command may ask it instead of compiling by itself."""
    return any(flags.get(name) for name in SOURCES) or bool(contexts()["current"]) or _exists(DEFAULT_DATA_DIRECTORY)


def read_url(url: str, where: str) -> tuple[str, int]:
    """Host and port of `https://host:port`, `host:port` or `host`. Raises BAD_CONTEXT."""
    try:
        parts = urlsplit(url if "//" in url else f"https://{url}")
        if parts.scheme == "https" and parts.hostname and parts.path in ("", "/"):
            return parts.hostname, parts.port or 7443
    except ValueError:
        pass
    raise SuanwangError(BAD_CONTEXT, f"{url!r} (from {where}) is no server address", "write https://HOST:7443")


def read_authority(path: str, where: str) -> str:
    """The certificates in a PEM file. Raises BAD_CONTEXT."""
    text = _read(path, where)
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise SuanwangError(BAD_CONTEXT, f"{path} (from {where}) holds no certificate", "it must be in PEM form")
    return text


def contexts_file() -> Path:
    """Where contexts are saved."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "suanwang" / "contexts.json"


def contexts() -> dict[str, Any]:
    """All saved contexts: `current` (a name or empty) and `contexts` by name."""
    path = contexts_file()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {"current": str(data.get("current", "")), "contexts": dict(data["contexts"])}
    except FileNotFoundError:
        return {"current": "", "contexts": {}}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as problem:
        raise SuanwangError(BAD_CONTEXT, f"can't read {path}: {problem}", "mend or remove that file") from None


def context(name: str) -> dict[str, Any]:
    """A saved context. Raises NO_CONTEXT."""
    saved = contexts()["contexts"]
    if name not in saved:
        known = (
            f"saved contexts: {', '.join(sorted(saved))}" if saved else "save one: suanwang context set NAME --server …"
        )
        raise SuanwangError(NO_CONTEXT, f"there is no context {name!r}", known)
    found: dict[str, Any] = saved[name]
    return found


def save_contexts(data: Mapping[str, Any]) -> None:
    """Replace the file of contexts in one step. Only its owner can read it."""
    path = contexts_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, indent=2)
        file.write("\n")
    draft.replace(path)


def _exists(folder: Path) -> bool:
    try:
        return (folder / SERVER_NOTE).exists()
    except OSError:
        return False


def _note(folder: Path) -> dict[str, Any]:
    """What a server on this machine noted down of itself. Paths in it are relative to the folder."""
    path = folder / SERVER_NOTE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = {"server": data["url"], "authority": read_authority(str(folder / data["ca"]), str(path))}
        if data.get("tokenFile"):
            found["tokenFile"] = str(folder / data["tokenFile"])
        return found
    except FileNotFoundError:
        hint = "is it running? it writes that file when it is ready"
        raise SuanwangError(NO_SERVER, f"no server has written {path}", hint) from None
    except PermissionError:
        hint = "use sudo, or save a context with a token of your own: suanwang context set"
        raise SuanwangError(BAD_CONTEXT, f"not allowed to read {path}", hint) from None
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise SuanwangError(BAD_CONTEXT, f"can't read {path}: {problem}", "start the server again") from None


def _token(flags: Mapping[str, str], found: Mapping[str, Any], where: str) -> str:
    if flags.get("token-file"):
        return _read(flags["token-file"], "--token-file").strip()
    if os.environ.get("SUANWANG_TOKEN"):
        return os.environ["SUANWANG_TOKEN"].strip()
    return _read(str(found["tokenFile"]), where).strip() if found.get("tokenFile") else ""


def _read(path: str, where: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not text"
        raise SuanwangError(BAD_CONTEXT, f"can't read {path} (from {where}): {reason}", "check the path") from None
