"""How large things in a store may be. Everything that can grow has a limit; see docs/rooms/store.md."""

from __future__ import annotations

from suanwang.model.errors import INVALID, SuanwangError
from suanwang.model.reading import TOO_LARGE
from suanwang.model.reference import Key

MAX_BODY_BYTES = 1 << 20
MAX_NAME_CHARACTERS = 253
"""Of a kind, a tenant, a name, an author: the longest DNS name (RFC 1035, section 2.3.4)."""
MAX_SCOPE_CHARACTERS = 512
MAX_VALUE_CHARACTERS = 253
MAX_MESSAGE_CHARACTERS = 4096


def check_key(key: Key) -> None:
    """Raises INVALID for a key without kind or name, TOO_LARGE for an overlong one."""
    kind, tenant, name = key
    if not kind or not name:
        raise SuanwangError(INVALID, "a key must have a kind and a name")
    if len(kind) + len(tenant) + len(name) > MAX_NAME_CHARACTERS:
        # The sum is nearly always small, so this one comparison is all that most keys cost.
        check_text("kind", kind, MAX_NAME_CHARACTERS)
        check_text("tenant", tenant, MAX_NAME_CHARACTERS)
        check_text("name", name, MAX_NAME_CHARACTERS)


def check_body(body: bytes) -> None:
    """Raises TOO_LARGE; TypeError for text, which SQLite would take and give back as such."""
    if not isinstance(body, bytes):
        raise TypeError("a body is bytes")
    if len(body) > MAX_BODY_BYTES:
        raise SuanwangError(
            TOO_LARGE,
            f"the body has {len(body)} bytes, {MAX_BODY_BYTES} are allowed",
            "split the resource into several",
        )


def check_claim(scope: str, value: str) -> None:
    """Raises INVALID for an empty scope or value, TOO_LARGE for an overlong one."""
    if not scope or not value:
        raise SuanwangError(INVALID, "a claim must have a scope and a value")
    check_text("scope", scope, MAX_SCOPE_CHARACTERS)
    check_text("value", value, MAX_VALUE_CHARACTERS)


def check_text(what: str, text: str, limit_characters: int) -> None:
    """Raises TOO_LARGE."""
    if len(text) > limit_characters:
        raise SuanwangError(
            TOO_LARGE, f"the {what} has {len(text)} characters, {limit_characters} are allowed", f"shorten the {what}"
        )


def unstorable() -> SuanwangError:
    """A text that has no UTF-8 form (half of a surrogate pair)."""
    return SuanwangError(INVALID, "a text holds characters that are not valid Unicode", "write it in UTF-8")
