"""What happens to a film between the rendered pictures and the file: a preset's ``process:``."""

from __future__ import annotations

from .builtin import PROCESSORS
from .running import apply_steps, plan_steps
from .steps import Step, check_processors, read_processors

__all__ = [
    "PROCESSORS",
    "Step",
    "apply_steps",
    "check_processors",
    "plan_steps",
    "read_processors",
]
