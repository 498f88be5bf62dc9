"""Where a tuning computes, and that there is one at a time in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from filelock import FileLock, Timeout

from sdcreative import OutputError
from sdcreative.models.placement import cpu_has_bfloat16


def accelerator_for(precision: str, device: str, report: Callable[[str], None]) -> Accelerator:
    """What computes: a GPU where there is one, in the precision where it pays."""
    cuda = device == "auto" and torch.cuda.is_available()
    if cuda and precision == "bf16" and not torch.cuda.is_bf16_supported():
        report("this GPU has no bf16; computing in float32 (or set precision: fp16)")
        precision = "no"
    elif not cuda and (precision == "fp16" or (precision == "bf16" and not cpu_has_bfloat16())):
        report(f"precision {precision} does not pay on this CPU; computing in float32")
        precision = "no"
    return Accelerator(mixed_precision=precision, cpu=device == "cpu")


@contextmanager
def locked(output: Path, accelerator: Accelerator) -> Iterator[None]:
    """Keep other trainings out of a folder.

    Raises:
        OutputError: there is one, or nothing may be written.
    """
    if not accelerator.is_main_process:
        yield
        return
    lock = FileLock(output / "training" / ".lock", timeout=0)
    try:
        (output / "training").mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"{output}: another training is running in this folder; choose another output"
        ) from None
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error})") from error
    try:
        yield
    finally:
        lock.release()
