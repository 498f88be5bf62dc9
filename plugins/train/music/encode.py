"""Sound to pictures in the form that is trained on, and what a model says of that form."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from sdcreative import ModelError, UsageError
from sdcreative.media.spectrogram import mel_spectrogram, spectrogram_to_image
from sdcreative.spectral.params import SpectrogramParams

FILE = "spectrogram.json"
"""in the folder of a model that makes spectrograms"""


def samples_of(params: SpectrogramParams, columns: int) -> int:
    """Samples whose picture has that width."""
    return (columns - 1) * params.hop_length


def encode(samples: np.ndarray, params: SpectrogramParams) -> tuple[np.ndarray, list[float]]:
    """The pictures of clips.

    Args:
        samples: float32 (clips, samples) in [-1, 1].
        params: the bands; one channel.

    Returns:
        uint8 (clips, bands, columns), loud is 0; and the largest magnitude of each clip.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    mels = mel_spectrogram(samples[:, None], params, device)
    pictures = [np.asarray(spectrogram_to_image(mel, params))[..., 0] for mel in mels]
    return np.stack(pictures), [float(mel.max()) for mel in mels]


def write_spectrogram(folder: Path, params: SpectrogramParams, loudest: float) -> None:
    """Say in a model's folder how its pictures become sound.

    Args:
        folder: of the model.
        params: the bands.
        loudest: the magnitude that black stands for, that of the median clip.
    """
    values = {"version": 1, **asdict(params), "max_value": loudest}
    (folder / FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def check_same_spectrogram(folder: Path, params: SpectrogramParams) -> None:
    """Whether a model to go on from makes pictures of this form; one that says nothing may.

    Raises:
        UsageError: it makes others.
        ModelError: its file cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return
    try:
        values = json.loads(path.read_text("utf-8"))
        theirs = {name: values[name] for name in asdict(params)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: says nothing of a spectrogram ({error!r})") from error
    for name, ours in asdict(params).items():
        if theirs[name] != ours:
            where = "the height of size" if name == "bands" else f"data.spectrogram.{name}"
            raise UsageError(
                f"start_from: that model makes spectrograms with {name} {theirs[name]}, not "
                f"{ours}; set {where} to it"
            )
