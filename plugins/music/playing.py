"""Sounds of a beat, each made once, put into one line, or into a circle."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .instruments import DRUMS, NOTES, note, room, stroke

if TYPE_CHECKING:
    from .beat import Hit

Line = NDArray[np.float32]

PEAK = 0.89
_FADE = 0.005


def mix(
    played: list[Hit], samples: int, beat: float, sample_rate: int, seed: int, loop: bool
) -> Line:
    """All sounds in one line of so many samples (samples,), its peak at -1 dB.

    Args:
        played: what sounds, in any order.
        samples: at least 1.
        beat: length of a beat in samples.
        sample_rate: samples per second.
        seed: of the noise in the drums, at least 0.
        loop: go on at the beginning with what rings past the end; else it is cut off.
    """
    player = _Player(sample_rate, seed)
    line = np.zeros(samples, np.float32)
    for hit in played:
        at = min(round(hit.start * beat), samples - 1)
        sound = player.play(hit, round(hit.length * beat))
        if loop:
            _add_around(line, sound, at, hit.level)
        else:
            heard = sound[: samples - at]
            line[at : at + len(heard)] += hit.level * heard
    if not loop:
        fade = min(samples, round(_FADE * sample_rate))
        line[samples - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    peak = float(np.abs(line).max())
    return line * np.float32(PEAK / peak) if peak > 0 else line


def _add_around(line: Line, sound: Line, at: int, level: float) -> None:
    """Add a sound; what passes the end goes on at the beginning, round and round."""
    done = 0
    while done < len(sound):
        part = sound[done : done + len(line) - at]
        line[at : at + len(part)] += level * part
        done += len(part)
        at = 0


class _Player:
    """Makes every sound once and keeps it."""

    def __init__(self, sample_rate: int, seed: int) -> None:
        self._rate = sample_rate
        self._seed = seed
        self._room = room(sample_rate)
        self._kept: dict[tuple[str, int | None, int], Line] = {}

    def play(self, hit: Hit, held: int) -> Line:
        """A sound (samples,), its ringing and the room's included; a note is ``held`` so long."""
        what = (hit.sound, hit.pitch, hit.variant if hit.pitch is None else held)
        if what not in self._kept:
            if hit.pitch is None:
                name = zlib.crc32(hit.sound.encode())
                rng = np.random.default_rng((self._seed, name, hit.variant))
                sound = stroke(hit.sound, self._rate, rng)
            else:
                sound = note(hit.sound, self._rate, hit.pitch, held / self._rate)
            share = (DRUMS if hit.pitch is None else NOTES)[hit.sound][2]
            if share:
                length = len(sound) + len(self._room) - 1
                size = 1 << (length - 1).bit_length()
                spectrum = np.fft.rfft(sound, size) * np.fft.rfft(self._room, size)
                echo = share * np.fft.irfft(spectrum, size)[:length]
                echo[: len(sound)] += sound
                sound = echo
            self._kept[what] = sound.astype(np.float32)
        return self._kept[what]
