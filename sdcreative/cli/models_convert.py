"""`sdcreative models convert`: single file to diffusers folder and back."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import OutputError, UsageError

if TYPE_CHECKING:
    from ..models.writing.conversion import Conversion

_PICKLES = (".ckpt", ".pt", ".pth", ".bin")
_INDEX = "model_index.json"


@click.command("convert", short_help="single file to diffusers folder and back")
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    help="Type of the weights; each stays as it is without.",
)
@click.option("--ema", is_flag=True, help="The averaged weights of a file that has both.")
@click.option(
    "--vae",
    metavar="FILE|FOLDER",
    type=click.Path(path_type=Path),
    help="Put another autoencoder in.",
)
@click.option(
    "--t5-tokenizer",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="T5's tokenizer, to read T5 from a single file of Stable Diffusion 3.",
)
@click.option(
    "--prediction-type",
    type=click.Choice(["epsilon", "v_prediction"]),
    help="What the U-Net predicts, where the source does not say, or says it wrong.",
)
@click.option("--offline", is_flag=True, help="Never ask the Hugging Face hub.")
@click.option("--overwrite", is_flag=True, help="Replace a target that exists.")
def convert(
    source: str,
    target: Path,
    dtype: str | None,
    ema: bool,
    vae: Path | None,
    t5_tokenizer: Path | None,
    prediction_type: str | None,
    offline: bool,
    overwrite: bool,
) -> None:
    """Convert a model to another form, its weights unchanged bit for bit.

    SOURCE is whatever `model:` takes in a preset: a single file (also a .ckpt), a folder, an id on
    the hub. A TARGET that ends in .safetensors is written as a single file in the original layout,
    for AUTOMATIC1111, ComfyUI and others; any other is a folder in the format of diffusers.
    """
    from ..media.output import ensure_space, human
    from ..models.places import ModelPlace
    from ..models.sources import fetch, resolve
    from ..models.writing.conversion import plan_conversion

    began = time.perf_counter()
    target = target.expanduser()
    to_file = target.suffix.lower() == ".safetensors"
    if target.suffix.lower() in _PICKLES:
        raise UsageError(
            f"{target}: pickles are only read; give a name that ends in .safetensors, or a folder"
        )
    path = fetch(resolve(source, offline=offline), offline)
    _check_target(path, target, to_file, overwrite)
    given = (("tokenizer_3", t5_tokenizer), ("vae", vae))
    swaps = tuple((part, one.expanduser()) for part, one in given if one is not None)
    place = ModelPlace(path, prediction_type, ema, swaps=swaps)
    conversion = plan_conversion(place, to_file=to_file, dtype=dtype)
    for line in conversion.notes:
        click.echo(line)
    with _naming_the_target():
        ensure_space(target, conversion.size)
        (_write_file if to_file else _write_folder)(conversion, target, overwrite)
    click.echo(f"wrote {target}: {human(conversion.size)}; {time.perf_counter() - began:.1f} s")


@contextmanager
def _naming_the_target() -> Iterator[None]:
    """Errors of other commands advise another ``-o``, which this one does not have."""
    try:
        yield
    except OutputError as error:
        raise OutputError(str(error).replace("another -o", "another target")) from error


def _check_target(source: Path, target: Path, to_file: bool, overwrite: bool) -> None:
    """Refuse a target that exists, or whose replacement would take the source with it."""
    real, origin = target.resolve(), source.resolve()
    if real == origin or (target.exists() and target.samefile(source)):
        raise UsageError(f"{target} is the source itself; choose another target")
    if not os.path.lexists(target):
        return
    if real in origin.parents:
        raise UsageError(f"{target} holds the source {source}; choose another target")
    if to_file != target.is_file():
        kind = "no file" if to_file else "no folder"
        raise OutputError(f"{target} exists and is {kind}; choose another target")
    if not overwrite:
        raise OutputError(f"{target} exists; pass --overwrite or choose another target")
    if not to_file and any(target.iterdir()) and not (target / _INDEX).is_file():
        raise OutputError(
            f"{target} is a folder of other things (it has no {_INDEX}); choose another target"
        )


def _write_file(conversion: Conversion, target: Path, overwrite: bool) -> None:
    from ..media.output import StagedFile, write_fault

    staged = StagedFile(target, overwrite)
    try:
        conversion.write(staged.path)
        staged.publish()
    except OSError as error:
        raise write_fault(target, error, conversion.size) from error
    finally:
        staged.discard()


def _write_folder(conversion: Conversion, target: Path, overwrite: bool) -> None:
    from ..media.output import make_folders, remove_empty, staging_name, sync, write_fault

    said, target = target, target.resolve()
    made = make_folders(target.parent)
    staged, old = staging_name(target), staging_name(target)
    try:
        staged.mkdir()
        conversion.write(staged)
        for path in sorted(staged.rglob("*"), reverse=True):
            sync(path)
        sync(staged)
        if overwrite and target.is_dir():
            target.rename(old)
        staged.rename(target)
        sync(target.parent)
    except OSError as error:
        raise write_fault(said, error, conversion.size) from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for folder in (staged, old):
            shutil.rmtree(folder, ignore_errors=True)
        remove_empty(made)
