"""Conditions: what the system says of a resource, in the form that Kubernetes users know."""

from __future__ import annotations

from typing import Literal

import msgspec

Truth = Literal["True", "False", "Unknown"]


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One statement about a resource.

    `type` names the statement (`Ready`, `Compiled`, `Programmed`), `status` whether it holds, `reason` is an error
    code or a
    CamelCase word for programs, `message` a sentence for people, `revision` the store revision that it speaks of.
    """

    type: str
    status: Truth
    reason: str = ""
    message: str = ""
    revision: int = 0


class Status(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What the system last found out about a resource."""

    observed_revision: int = 0
    conditions: tuple[Condition, ...] = ()
