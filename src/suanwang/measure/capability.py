"""What the measuring room enters in the registry."""

from __future__ import annotations

from suanwang.measure.assertion import ASSERTION
from suanwang.model.registry import Capability

CAPABILITY = Capability(name="measure", kinds=(ASSERTION,))
