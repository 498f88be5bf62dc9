"""A creative suite for latent diffusion; these names are what a plugin imports.

>>> from sdcreative import Blend, Noise, Shot, Studio, Timeline
>>> studio = Studio.load("emoji")
>>> picture = studio.picture("a picture of a bear", seed=1, steps=4)
>>> shots = [Shot(Blend("a bear", "a red apple", t / 2), Noise(1)) for t in range(3)]
>>> pictures = list(studio.render(Timeline(lambda: shots, length=3, steps=4)))
>>> picture.size, len(pictures)
((64, 64), 3)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "find_easing": ".core.easing",
    "parse_schedule": ".core.schedules",
    "Schedule": ".core.schedules",
    "split_prompts": ".core.prompt_brackets",
    "expand_wildcards": ".core.prompt_wildcards",
    "Blend": ".core.shots",
    "Continuation": ".core.shots",
    "Crossfade": ".core.shots",
    "Curve": ".core.shots",
    "Follow": ".core.shots",
    "Inversion": ".core.shots",
    "Mixture": ".core.shots",
    "Motion": ".core.shots",
    "Noise": ".core.shots",
    "Shot": ".core.shots",
    "Sizes": ".core.shots",
    "Trunk": ".core.shots",
    "Arc": ".core.timeline",
    "Between": ".core.timeline",
    "Frame": ".core.timeline",
    "MAX_FRAMES": ".core.timeline",
    "Retiming": ".core.timeline",
    "Sound": ".core.timeline",
    "Timeline": ".core.timeline",
    "Position": ".core.timing",
    "positions": ".core.timing",
    "seed_arc": ".core.walks",
    "seed_circle": ".core.walks",
    "seed_curve": ".core.walks",
    "seed_orbit": ".core.walks",
    "seed_wander": ".core.wandering",
    "DataError": ".errors",
    "ModelError": ".errors",
    "OutputError": ".errors",
    "PluginError": ".errors",
    "PresetError": ".errors",
    "RenderError": ".errors",
    "SdcreativeError": ".errors",
    "UsageError": ".errors",
    "FilmSettings": ".film_settings",
    "MetricName": ".film_settings",
    "hookimpl": ".hookspecs",
    "read_picture": ".media.image",
    "SoundPictures": ".media.sound_pictures",
    "levels_of": ".media.spectrogram",
    "mel_spectrogram": ".media.spectrogram",
    "open_writer": ".media.writers",
    "check_metric": ".metrics",
    "find_metric": ".metrics",
    "load_pair": ".models.clip.loading",
    "PictureText": ".models.clip.pair",
    "model_facts": ".models.facts",
    "ModelFacts": ".models.facts",
    "SettingError": ".presets.faults",
    "read_provenance": ".provenance",
    "job_tags": ".provenance.writing",
    "check_schedule": ".scheduled",
    "Ease": ".scheduled",
    "FrameNumber": ".scheduled",
    "frames_once": ".scheduled",
    "read_schedule": ".scheduled",
    "Scheduled": ".scheduled",
    "SizesSettings": ".setting_groups",
    "RenderSettings": ".settings",
    "Strict": ".settings",
    "hear": ".sound.analysis",
    "Heard": ".sound.analysis",
    "sound_seconds": ".sound.analysis",
    "Audio": ".sound.settings",
    "SpectrogramParams": ".spectral.params",
    "Original": ".spectral.score",
    "Score": ".spectral.score",
    "Studio": ".studio",
    "Film": ".tools",
    "Job": ".tools",
    "JobTool": ".tools",
    "PictureTool": ".tools",
    "Processor": ".tools",
}
__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from .core.easing import find_easing
    from .core.prompt_brackets import split_prompts
    from .core.prompt_wildcards import expand_wildcards
    from .core.schedules import Schedule, parse_schedule
    from .core.shots import (
        Blend,
        Continuation,
        Crossfade,
        Curve,
        Follow,
        Inversion,
        Mixture,
        Motion,
        Noise,
        Shot,
        Sizes,
        Trunk,
    )
    from .core.timeline import MAX_FRAMES, Arc, Between, Frame, Retiming, Sound, Timeline
    from .core.timing import Position, positions
    from .core.walks import seed_arc, seed_circle, seed_curve, seed_orbit
    from .core.wandering import seed_wander
    from .errors import (
        DataError,
        ModelError,
        OutputError,
        PluginError,
        PresetError,
        RenderError,
        SdcreativeError,
        UsageError,
    )
    from .film_settings import FilmSettings, MetricName
    from .hookspecs import hookimpl
    from .media.image import read_picture
    from .media.sound_pictures import SoundPictures
    from .media.spectrogram import levels_of, mel_spectrogram
    from .media.writers import open_writer
    from .metrics import check_metric, find_metric
    from .models.clip.loading import load_pair
    from .models.clip.pair import PictureText
    from .models.facts import ModelFacts, model_facts
    from .presets.faults import SettingError
    from .provenance import read_provenance
    from .provenance.writing import job_tags
    from .scheduled import (
        Ease,
        FrameNumber,
        Scheduled,
        check_schedule,
        frames_once,
        read_schedule,
    )
    from .setting_groups import SizesSettings
    from .settings import RenderSettings, Strict
    from .sound.analysis import Heard, hear, sound_seconds
    from .sound.settings import Audio
    from .spectral.params import SpectrogramParams
    from .spectral.score import Original, Score
    from .studio import Studio
    from .tools import Film, Job, JobTool, PictureTool, Processor


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562), so that ``--help`` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
