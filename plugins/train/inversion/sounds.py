"""Sounds as pictures that a word is learned from, by the spectrograms of the model itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from sdcreative import DataError, ModelFacts, Studio, UsageError

from ..captions import Captions
from ..music.encode import encode, samples_of
from ..music_folder import SUFFIXES, cut, list_music, read_sound
from ..tuning.examples import difference_hash
from ..tuning.looks import awake, render
from .data import Picture, tell_faults, with_word
from .hearing import Hearing
from .settings import LearnSettings
from .sound_settings import SoundFolder

SEEDS = 4
"""pictures of a text by which it is known"""


def read_sounds(
    settings: LearnSettings,
    data: SoundFolder,
    facts: ModelFacts,
    report: Callable[[str], None],
) -> list[Picture]:
    """The clips of a folder, each a picture of the model's own size.

    What is longer than such a picture becomes several, as ``music_folder.cut`` cuts it.

    Args:
        settings: what is to be learned; its templates are for clips without a caption.
        data: which folder.
        facts: of the model.
        report: prints one line.

    Raises:
        UsageError: the model makes no spectrograms, or not of the size that is asked for.
        DataError: no sounds, only silence, or some that cannot be read, all named.
    """
    columns, bands = facts.size
    if not facts.musical or bands != facts.spectrogram.bands:
        raise UsageError(
            f"data.source sounds: {settings.model} makes no spectrograms; take riff, or a model "
            "with a spectrogram.json"
        )
    if settings.shape(facts.size) != facts.size:
        raise UsageError(
            f"size {settings.size}: sounds are learned in the model's own, {columns}x{bands}; "
            "leave it out"
        )
    params = replace(facts.spectrogram, stereo=False)
    length = samples_of(params, columns)
    apart = length if data.every is None else max(1, round(data.every * params.sample_rate))
    folder = Path(data.folder).expanduser()
    captions = Captions(folder, data.captions)
    files = sorted({*list_music(folder), *captions.files})
    if not files:
        raise DataError(f"{folder}: no sounds ({', '.join(SUFFIXES)}) in this folder")
    found: list[Picture] = []
    faults: list[str] = []
    for path in files:
        try:
            said = [one for one in captions.of(path, needed=False) if one]
            clips = cut(read_sound(path, params.sample_rate), length, apart)
            if not len(clips):
                raise DataError(f"{path}: there is only silence in it")
            texts = tuple(with_word(one, settings.token, "object") for one in said)
            texts = texts or tuple(settings.templates)
            for number, grey in enumerate(encode(clips, params)[0]):
                begins = f" at {number * apart / params.sample_rate:.1f} s" * (len(clips) > 1)
                found.append(_picture(f"{path.name}{begins}", texts, grey, captioned=bool(said)))
        except DataError as error:
            faults.append(str(error))
    tell_faults(faults, len(files), "sounds", folder, settings, report)
    report(
        f"data: {len(found)} clips of {len(files) - len(faults)} sounds, "
        f"{params.seconds(columns):.1f} s each"
    )
    return found


def hearing_of(parts: Any, settings: LearnSettings, size: tuple[int, int]) -> Hearing:
    """What judges the sounds of a model, by what it plays for the initial word and for scenes.

    Args:
        parts: the model, its autoencoder perhaps in main memory.
        settings: of the training.
        size: (width, height) of pictures.
    """
    judge = settings.judge
    scenes = [one.text for one in judge.scenes_for(settings.kind)]

    @torch.no_grad()
    def play(texts: Sequence[str]) -> list[Image.Image]:
        wanted = [
            (text, (judge.seed + number) % 2**32) for text in texts for number in range(SEEDS)
        ]
        with awake(parts, ["vae"]):
            studio = Studio(parts)
            return list(render(studio, wanted, judge.steps, judge.guidance_scale, size))

    return Hearing(play, list(dict.fromkeys([settings.initial, *scenes])))


def _picture(name: str, captions: tuple[str, ...], grey: np.ndarray, *, captioned: bool) -> Picture:
    """A clip's (bands, columns), 8 bits."""
    picture = Image.fromarray(grey).convert("RGBA")
    digest = hashlib.sha256(f"{picture.size}\n".encode() + grey.tobytes()).hexdigest()
    look = difference_hash(picture.convert("RGB"))
    opener = partial(_same, picture)
    return Picture(name, captions, picture.size, digest, look, opener, captioned=captioned)


def _same(picture: Image.Image) -> Image.Image:
    return picture
