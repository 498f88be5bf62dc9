"""Where a training computes, and which may go on in a folder: one at a time, and the same one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from filelock import FileLock, Timeout
from pydantic import BaseModel

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


def check_output(
    output: Path,
    settings: BaseModel,
    places: set[str] | Mapping[str, Any],
    overwrite: bool,
) -> None:
    """A folder of other settings is kept unless told otherwise.

    Args:
        output: the folder.
        settings: of the training that is to go on there.
        places: keys that say where things are, not what is trained.
        overwrite: whether to go on all the same.

    Raises:
        OutputError: it is a file, or holds a model or another training.
    """
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; choose another output")
    if overwrite:
        return
    record = output / "training" / "settings.json"
    if record.is_file():
        wanted = settings.model_dump(mode="json", exclude=places)
        if _recorded(record, type(settings), places) != wanted:
            raise OutputError(
                f"{output}: holds a training with other settings; choose another output, "
                "or pass --overwrite to go on from it with these"
            )
    elif (output / "model_index.json").is_file():
        raise OutputError(f"{output}: holds a model; choose another output or pass --overwrite")


def _recorded(
    record: Path, kind: type[BaseModel], places: set[str] | Mapping[str, Any]
) -> dict[str, Any] | None:
    """Settings as they were recorded; what this version added has its default."""
    try:
        values = {**json.loads(record.read_text("utf-8")), "output": "."}
        return kind.model_validate(values).model_dump(mode="json", exclude=places)
    except (OSError, ValueError, TypeError):
        return None
