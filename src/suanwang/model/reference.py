"""Keys and references: how a resource is named and how one names another."""

from __future__ import annotations

import re
from typing import NamedTuple

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"
"""Names are DNS-like (RFC 1123): they become parts of host names, file names and metric labels."""

_NAME = re.compile(NAME_PATTERN)


class Key(NamedTuple):
    """The identity of a resource. `tenant` is empty for infrastructure kinds."""

    kind: str
    tenant: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.tenant}/{self.name}" if self.tenant else f"{self.kind}/{self.name}"

    @property
    def title(self) -> str:
        """The name as users write it in a reference: `tenant/name`, or `name` for infrastructure."""
        return f"{self.tenant}/{self.name}" if self.tenant else self.name


def parse_key(text: str) -> Key:
    """The inverse of `str(key)`."""
    kind, _, rest = text.partition("/")
    tenant, _, name = rest.rpartition("/")
    return Key(kind, tenant, name)


def is_name(text: str) -> bool:
    """Whether `text` may name a resource."""
    return _NAME.fullmatch(text) is not None


def resolve(kind: str, reference: str, tenant: str) -> Key:
    """The key that `reference` names when it stands in a resource of `tenant`.

    `name` stays within the tenant, `other/name` reaches across (whether that is allowed is decided by the reader).
    """
    if "/" in reference:
        other, name = reference.split("/", 1)
        return Key(kind, other, name)
    return Key(kind, tenant, reference)
