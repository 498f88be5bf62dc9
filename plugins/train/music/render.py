"""Clips played by a sound font."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sdcreative import DataError

from .score import Clip

PLACES = (
    "/usr/share/sounds/sf3/FluidR3Mono_GM.sf3",
    "/usr/share/fluidr3mono-gm-soundfont/FluidR3Mono_GM.sf3",
    "/usr/share/soundfonts/FluidR3Mono_GM.sf3",
    "/usr/local/share/soundfonts/FluidR3Mono_GM.sf3",
    "/opt/homebrew/share/sounds/sf3/FluidR3Mono_GM.sf3",
    "~/.local/share/sounds/sf3/FluidR3Mono_GM.sf3",
)
DRUM_CHANNEL, DRUM_BANK = 9, 128
GAIN = -9.0
"""in dB; with it the loudest clips stay below full scale"""


def find_sound_font(given: str | None) -> Path:
    """The sound font of the settings, or the first of the usual places that has one.

    Raises:
        DataError: there is none, or not where the settings say.
    """
    if given is not None:
        path = Path(given).expanduser()
        if not path.is_file():
            raise DataError(f"data.soundfont: {path} is no file; give an .sf2 or .sf3 sound font")
        return path
    for place in PLACES:
        path = Path(place).expanduser()
        if path.is_file():
            return path
    raise DataError(
        "composing music needs the sound font FluidR3Mono_GM.sf3 (Debian and Ubuntu: apt install "
        "fluidr3mono-gm-soundfont); install it, or set data.soundfont to an .sf2 or .sf3 file"
    )


class Player:
    """A synthesizer with one sound font; not to be shared between threads."""

    def __init__(self, sound_font: Path, sample_rate: int) -> None:
        """Load the sound font, which takes about two seconds.

        Raises:
            DataError: tinysoundfont is missing, or the file is no sound font.
        """
        try:
            import tinysoundfont
        except ImportError as error:
            raise DataError(
                "playing a sound font needs tinysoundfont: pip install --no-deps tinysoundfont"
            ) from error
        self.sample_rate = sample_rate
        self.synth: Any = tinysoundfont.Synth(gain=GAIN, samplerate=sample_rate)
        try:
            self.font = self.synth.sfload(str(sound_font))
        except (RuntimeError, OSError) as error:
            raise DataError(f"{sound_font}: not a readable sound font ({error})") from error

    def play(self, clip: Clip, samples: int) -> np.ndarray:
        """A clip as float32 samples (samples,), one channel, never louder than full scale."""
        self.synth.sounds_off()
        self._sound(self.sample_rate // 10)  # what still rings of the clip before
        events: list[tuple[int, int, int, int, int]] = []
        channels = (c for c in range(16) if c != DRUM_CHANNEL)
        for part in clip.parts:
            drums = part.family == "drums"
            channel = DRUM_CHANNEL if drums else next(channels)
            bank = DRUM_BANK if drums else 0
            self.synth.program_select(channel, self.font, bank, part.program, drums)
            for note in part.notes:
                begin = round(note.start * 60 / clip.tempo * self.sample_rate)
                end = round((note.start + note.length) * 60 / clip.tempo * self.sample_rate)
                if begin < samples:
                    events.append((begin, 1, channel, note.pitch, note.loudness))
                    events.append((max(end, begin + 1), 0, channel, note.pitch, 0))
        blocks, now = [], 0
        # At the same sample a note ends before another begins.
        for when, on, channel, pitch, loudness in sorted(events):
            if when >= samples:
                break
            if when > now:
                blocks.append(self._sound(when - now))
                now = when
            if on:
                self.synth.noteon(channel, pitch, loudness)
            else:
                self.synth.noteoff(channel, pitch)
        blocks.append(self._sound(samples - now))
        line = np.concatenate(blocks)
        return line / max(1.0, float(np.abs(line).max()))

    def _sound(self, samples: int) -> np.ndarray:
        stereo = np.frombuffer(self.synth.generate(samples), dtype=np.float32)
        return stereo.reshape(samples, 2).mean(axis=1, dtype=np.float32)
