"""What a proof found wrong, each with one packet that shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from suanwang.proof.packet import Packet
from suanwang.proof.walk import Step


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `code` is a reason, `subject` what it is about (`retail/web-to-db`, or a pair of ports).

    `packet` shows it, where a packet can, and `steps` is that packet's way. Findings of equal code and subject are
    the same thing, also when another packet shows it.
    """

    code: str
    subject: str
    message: str
    packet: Packet | None = None
    steps: tuple[Step, ...] = field(default=(), compare=False)

    @property
    def identity(self) -> tuple[str, str]:
        """What makes it the same thing as another finding."""
        return self.code, self.subject
