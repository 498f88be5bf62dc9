"""The `sample` tool: pictures of classes, and pictures made larger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdcreative import DataError, Job, ModelError, OutputError, UsageError
from sdcreative.models.building import read_part, read_scheduler_config, read_tokenizer
from sdcreative.models.sources import fetch, resolve

from .denoise import denoise
from .pictures import PICTURE_SUFFIXES, read_pixels
from .sample_settings import SampleSettings
from .seen import SmallPicture
from .stages import SuperResolution


def run_sampling(settings: SampleSettings, job: Job) -> None:
    """Write the pictures that the settings ask for.

    Raises:
        UsageError: an unknown class, or a setting for another kind of model.
        ModelError: no such model, or one that the other tools run.
        DataError: a picture cannot be read.
        OutputError: a picture is there already, or cannot be written.
    """
    source = resolve(settings.model, offline=settings.offline)
    if source.file is not None:
        raise UsageError(f"model: {source.file} is a single file; give the folder of a training")
    folder = fetch(source, settings.offline)
    conditions = _conditions(folder)
    wanted = _of_classes(conditions, settings) or _of_pictures(conditions, settings)
    stems = [stem for stem, _ in wanted]
    if len(set(stems)) < len(stems):
        stems = [f"{stem}_{n}" for n, stem in enumerate(stems)]
    names = [f"{stem}_{settings.seed + i:04d}.png" for stem in stems for i in _each(settings)]
    output = Path(settings.output).expanduser()
    there = [name for name in names if (output / name).exists()]
    if there and not job.overwrite:
        raise OutputError(f"{output / there[0]}: exists; choose another output or --overwrite")
    if job.dry_run:
        job.report(f"{len(names)} pictures into {output}, {settings.steps} steps each")
        return
    sampler = _Sampler(folder, conditions, settings)
    try:
        output.mkdir(parents=True, exist_ok=True)
        done = iter(names)
        for start in range(0, len(wanted), settings.batch_size):
            some = [given for _, given in wanted[start : start + settings.batch_size]]
            for pictures in zip(*(sampler.make(some, i) for i in _each(settings)), strict=True):
                for picture in pictures:
                    picture.save(output / next(done))
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error})") from error
    job.report(f"{len(names)} pictures written to {output}")


def _each(settings: SampleSettings) -> range:
    return range(settings.count)


def _conditions(folder: Path) -> dict[str, Any]:
    path = folder / "conditions.json"
    if not path.is_file():
        raise ModelError(
            f"{folder}: no model of classes, and none that enlarges (it has no conditions.json); "
            f"sdcreative image --model {folder} runs it"
        )
    try:
        said = json.loads(path.read_text("utf-8"))
        if "classes" in said:
            return {"classes": [str(name) for name in said["classes"]]}
        return {"superresolution": SuperResolution.model_validate(said["superresolution"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); train the model again") from error


def _of_classes(conditions: dict[str, Any], settings: SampleSettings) -> list[tuple[str, Any]]:
    """(beginning of the file's name, number) of each class wanted; none for other models."""
    known = conditions.get("classes")
    if known is None:
        if settings.classes is not None:
            raise UsageError(f"classes: {settings.model} is not told a class; leave them out")
        return []
    if settings.pictures is not None:
        raise UsageError(f"pictures: {settings.model} is told a class; leave pictures out")
    chosen = settings.classes or known
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise UsageError(f"classes: no class {unknown[0]!r}; there are {', '.join(known)}")
    return [("".join(c if c.isalnum() else "_" for c in n), known.index(n)) for n in chosen]


def _of_pictures(conditions: dict[str, Any], settings: SampleSettings) -> list[tuple[str, Any]]:
    """(beginning of the file's name, pixels) of each picture to enlarge; all of one size."""
    if settings.pictures is None:
        raise UsageError(f"pictures: {settings.model} enlarges pictures; give one, or a folder")
    levels = conditions["superresolution"].max_noise_level
    if settings.noise_level > levels:
        raise UsageError(f"noise_level {settings.noise_level}: this model knows 0 to {levels}")
    place = Path(settings.pictures).expanduser()
    files = [place]
    if place.is_dir():
        files = sorted(p for p in place.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    if not files:
        raise DataError(f"{place}: no pictures ({', '.join(PICTURE_SUFFIXES)}) in this folder")
    found = [(path.stem, read_pixels(path)) for path in files]
    sizes = {pixels.shape for _, pixels in found}
    if len(sizes) > 1:
        raise DataError(f"{place}: pictures of different sizes; enlarge those of one size at once")
    return found


class _Sampler:
    """The parts of a model, and how a batch of pictures is made."""

    def __init__(self, folder: Path, conditions: dict[str, Any], settings: SampleSettings) -> None:
        cuda = settings.device == "auto" and torch.cuda.is_available()
        self.device = torch.device("cuda" if cuda else "cpu")
        self.settings = settings
        self.vae = read_part(folder / "vae").to(self.device).eval()
        self.unet = read_part(folder / "unet").to(self.device).eval()
        self.text = read_part(folder / "text_encoder").to(self.device).eval()
        self.tokenizer = read_tokenizer(folder / "tokenizer")
        self.scheduler = read_scheduler_config(folder)
        small = conditions.get("superresolution")
        self.small = None if small is None else SmallPicture(small, self.vae)
        self.nothing = len(conditions.get("classes", ()))

    @torch.no_grad()
    def make(self, given: Sequence[Any], number: int) -> list[Image.Image]:
        """A picture of each class number, or of each small picture, all from the n-th seed."""
        seed, count = self.settings.seed + number, len(given)
        seen = None
        if self.small is None:
            side = self.unet.config.sample_size
            shape = (side, side) if isinstance(side, int) else tuple(side)
            told = self._told("", torch.tensor(given), count)
            free = self._told("", torch.full((count,), self.nothing), count)
        else:
            pixels = torch.from_numpy(np.stack(given)).to(self.device)
            clean = self._fitted(self.small.of_small(pixels, self.vae))
            shape = tuple(clean.shape[-2:])
            levels = torch.full((count,), self.settings.noise_level, device=self.device)
            grain = _noise(seed + 2**32, (count, *clean.shape[1:]), self.device)
            seen = self.small.noised(clean, levels, grain)
            told = self._told(self.settings.prompt, levels, count)
            free = self._told("", levels, count) if self.settings.prompt else None
        if self.settings.guidance_scale == 1:
            free = None
        noise = _noise(seed, (count, self.vae.config.latent_channels, *shape), self.device)
        latents = denoise(
            self.unet,
            self.scheduler,
            noise,
            self.settings.steps,
            told,
            free=free,
            guidance=self.settings.guidance_scale,
            seen=seen,
        )
        made = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return _to_pictures(made)

    def _fitted(self, seen: Tensor) -> Tensor:
        levels = 2 ** (len(self.unet.config.block_out_channels) - 1)
        height, width = seen.shape[-2:]
        if height % levels or width % levels:
            step = levels * 2 ** (len(self.vae.config.block_out_channels) - 1)
            raise DataError(
                f"pictures: enlarged they have to be multiples of {step} pixels a side; cut them"
            )
        return seen

    def _told(self, prompt: str, labels: Tensor, count: int) -> dict[str, Tensor]:
        tokens = self.tokenizer(
            [prompt] * count,
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        )
        states = self.text(tokens.input_ids.to(self.device))[0]
        return {"encoder_hidden_states": states, "class_labels": labels.to(self.device)}


def _noise(seed: int, shape: Sequence[int], device: torch.device) -> Tensor:
    """Drawn on the CPU, the same for all pictures of a batch, however many there are."""
    generator = torch.Generator().manual_seed(seed)
    one = torch.randn((1, *shape[1:]), generator=generator)
    return one.repeat(shape[0], 1, 1, 1).to(device)


def _to_pictures(pixels: Tensor) -> list[Image.Image]:
    array = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte().cpu().numpy()
    return [Image.fromarray(row.transpose(1, 2, 0)) for row in array]
