"""How users name resources in commands: `port web-1 --tenant retail`, `port retail/web-1`, `port/retail/web-1`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from suanwang.model.errors import SuanwangError, code
from suanwang.model.reference import Key

TENANT_NEEDED = code("TENANT_NEEDED", "the kind belongs to a tenant, and none was named")

Function = TypeVar("Function", bound=Callable[..., Any])


class KindName(click.ParamType):  # type: ignore[type-arg]
    """A kind in any case, plural or short; completed in shells."""

    name = "kind"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Kinds that begin so."""
        from suanwang.model.registry import load

        wanted = incomplete.lower()
        return [CompletionItem(kind.name.lower()) for kind in load() if kind.name.lower().startswith(wanted)]


def tenant_option(function: Function) -> Function:
    """Adds `--tenant`."""
    return click.option(
        "-t",
        "--tenant",
        envvar="SUANWANG_TENANT",
        default="",
        metavar="TENANT",
        help="the tenant that names belong to",
    )(function)


def key(kind_word: str, name: str, tenant: str) -> Key:
    """The resource that is meant. Raises UNKNOWN_KIND or TENANT_NEEDED; a tenant for infrastructure is left aside."""
    from suanwang.model.registry import load

    kind = load().spoken(kind_word)
    if kind.scope != "tenant":
        return Key(kind.name, "", name)
    if "/" in name:
        tenant, _, name = name.partition("/")
    if not tenant:
        hint = f"write TENANT/{name}, or --tenant TENANT (or set SUANWANG_TENANT)"
        raise SuanwangError(TENANT_NEEDED, f"which tenant's {kind.name} {name!r}?", hint)
    return Key(kind.name, tenant, name)


def key_from_words(words: tuple[str, ...], tenant: str) -> list[Key]:
    """`KIND NAME…` or `KIND/NAME…` (also `KIND/TENANT/NAME`) as keys. Raises USAGE by click."""
    if all("/" in word for word in words):
        parts = (word.partition("/") for word in words)
        return [key(kind, name, tenant) for kind, _, name in parts]
    if len(words) < 2:
        raise click.UsageError(f"{words[0]!r} names no resource; write KIND NAME or KIND/NAME")
    return [key(words[0], name, tenant) for name in words[1:]]
