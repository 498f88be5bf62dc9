"""A small synthesiser: drums out of shaped noise and sines, notes out of harmonics.

Nothing reaches above 10 kHz, where spectrogram pictures end: noise is shaped in its spectrum, and
harmonics are added one by one (J. O. Smith, "Spectral Audio Signal Processing", 2011, additive
synthesis) rather than cut out of a wave that has them all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

TOP = 9500.0
"""Hz, the highest there is"""

_ATTACK = 0.001
_RELEASE = 0.02
_ROOM_SECONDS, _ROOM_DELAY, _ROOM_DECAY = 0.4, 0.012, 0.07
_ROOM_BAND = (250.0, 6000.0)


def stroke(sound: str, rate: int, rng: np.random.Generator) -> Samples:
    """A drum (samples,), from silence to silence; ``sound`` is a name of ``DRUMS``."""
    make, level, _ = DRUMS[sound]
    return level * _eased(make(rate, rng), rate)


def note(sound: str, rate: int, pitch: int, seconds: float) -> Samples:
    """A note (samples,), from silence to silence, longer than it is held by what rings on.

    Args:
        sound: a name of ``NOTES``.
        rate: samples per second.
        pitch: MIDI key, 60 is middle C.
        seconds: how long it is held.
    """
    make, level, _ = NOTES[sound]
    return level * _eased(make(rate, 440 * 2 ** ((pitch - 69) / 12), seconds), rate)


def room(rate: int) -> Samples:
    """What a small room gives back of an impulse (samples,); its energy is 1."""
    walls = _noise(rate, _ROOM_SECONDS, *_ROOM_BAND, np.random.default_rng(0))
    walls *= np.exp(-_time(rate, _ROOM_SECONDS) / _ROOM_DECAY)
    walls = np.pad(walls, (round(_ROOM_DELAY * rate), 0))
    return _eased(walls / np.sqrt(np.sum(walls**2)), rate)


def _time(rate: int, seconds: float) -> Samples:
    return np.arange(max(1, round(seconds * rate))) / rate


def _top(rate: int) -> float:
    return min(TOP, 0.45 * rate)


def _eased(sound: Samples, rate: int) -> Samples:
    """A sound that begins and ends in silence, so that it does not click."""
    begin = min(len(sound), max(2, round(_ATTACK * rate)))
    end = min(len(sound), max(2, round(_RELEASE * rate)))
    eased = sound.copy()
    eased[:begin] *= np.sin(np.linspace(0, np.pi / 2, begin)) ** 2
    eased[-end:] *= np.cos(np.linspace(0, np.pi / 2, end)) ** 2
    return eased


def _noise(rate: int, seconds: float, low: float, high: float, rng: np.random.Generator) -> Samples:
    """White noise between two frequencies in Hz, edges a quarter of an octave; its RMS is 1."""
    high = min(high, _top(rate))
    low = min(low, high / 2)
    count = len(_time(rate, seconds))
    spectrum = np.fft.rfft(rng.standard_normal(count))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(count, 1 / rate), 1.0))
    rise = np.clip((octaves - np.log2(low)) * 4 + 1, 0, 1)
    fall = np.clip((np.log2(high) - octaves) * 4, 0, 1)
    noise = np.fft.irfft(spectrum * np.sin(np.pi / 2 * rise) * np.sin(np.pi / 2 * fall), count)
    shaped: Samples = noise / max(float(np.sqrt(np.mean(noise**2))), 1e-9)
    return shaped


def _sine(time: Samples, frequency: float, decay: float) -> Samples:
    sine: Samples = np.sin(2 * np.pi * frequency * time) * np.exp(-time / decay)
    return sine


def _kick(rate: int, rng: np.random.Generator) -> Samples:
    time = _time(rate, 0.45)
    low, sweep, fast = 49.0, 190.0, 0.022
    # The integral of low + sweep * exp(-time / fast), in turns.
    turns = low * time + sweep * fast * (1 - np.exp(-time / fast))
    body = np.sin(2 * np.pi * turns) * np.exp(-time / 0.13)
    click = _noise(rate, 0.45, 900, 6000, rng) * np.exp(-time / 0.004)
    return body + 0.16 * click


def _snare(rate: int, rng: np.random.Generator) -> Samples:
    time = _time(rate, 0.4)
    tone = _sine(time, 188, 0.06) + 0.6 * _sine(time, 331, 0.045)
    wires = _noise(rate, 0.4, 1200, TOP, rng) * np.exp(-time / 0.085)
    body = _noise(rate, 0.4, 180, 1600, rng) * np.exp(-time / 0.05)
    return 0.6 * tone + 0.32 * wires + 0.25 * body


def _clap(rate: int, rng: np.random.Generator) -> Samples:
    time = _time(rate, 0.4)
    hands = np.zeros(len(time))
    for late, strength in ((0.0, 1.0), (0.009, 0.7), (0.019, 0.8)):
        since = np.maximum(time - late, 0)
        hands += strength * (time >= late) * np.exp(-since / (0.006 if late < 0.019 else 0.08))
    return 0.4 * _noise(rate, 0.4, 700, 7000, rng) * hands


def _rim(rate: int, rng: np.random.Generator) -> Samples:
    time = _time(rate, 0.15)
    wood = _sine(time, 1720, 0.016) + 0.7 * _sine(time, 470, 0.02) + 0.3 * _sine(time, 3150, 0.008)
    return 0.5 * wood + 0.25 * _noise(rate, 0.15, 1500, 8000, rng) * np.exp(-time / 0.006)


def _hat(rate: int, rng: np.random.Generator) -> Samples:
    time = _time(rate, 0.16)
    return 0.4 * _noise(rate, 0.16, 4800, TOP, rng) * np.exp(-time / 0.028)


def _open_hat(rate: int, rng: np.random.Generator) -> Samples:
    time = _time(rate, 0.6)
    return 0.35 * _noise(rate, 0.6, 4200, TOP, rng) * np.exp(-time / 0.16)


def _shaker(rate: int, rng: np.random.Generator) -> Samples:
    time = _time(rate, 0.16)
    grains = np.minimum(time / 0.007, 1) ** 2 * np.exp(-time / 0.035)
    return 0.4 * _noise(rate, 0.16, 2800, 9000, rng) * grains


def _click(rate: int, rng: np.random.Generator, frequency: float = 900.0) -> Samples:
    time = _time(rate, 0.2)
    wood = _sine(time, frequency, 0.025) + 0.4 * _sine(time, 2.71 * frequency, 0.01)
    return 0.6 * wood + 0.2 * _noise(rate, 0.2, 300, 8000, rng) * np.exp(-time / 0.004)


def _high_click(rate: int, rng: np.random.Generator) -> Samples:
    return _click(rate, rng, 1350.0)


def _filtered(
    time: Samples,
    frequency: float,
    top: float,
    cutoff: Samples,
    strength: Callable[[int], float] = lambda k: 1 / k,
) -> Samples:
    """Harmonics k = 1, 2 ... of a frequency, as strong as said, through a moving low-pass filter.

    Args:
        time: (samples,) in seconds.
        frequency: in Hz.
        top: where the harmonics end, in Hz.
        cutoff: (samples,) in Hz, 3 dB down; 12 dB per octave above.
        strength: of a harmonic; 1 / k is a saw.
    """
    turn = 2 * np.pi * frequency * time
    twice, before, sine = 2 * np.cos(turn), np.zeros(len(time)), np.sin(turn)
    total = np.zeros(len(time))
    steep = np.square(np.square(frequency / cutoff))
    for k in range(1, max(1, int(top / frequency)) + 1):
        total += strength(k) * sine / np.sqrt(1 + k**4 * steep)
        # sin((k + 1) x) = 2 cos(x) sin(k x) - sin((k - 1) x)
        before, sine = sine, twice * sine - before
    return total


def _held(time: Samples, seconds: float, attack: float, release: float) -> Samples:
    """How loud a note is that is let go after so many seconds."""
    return np.minimum(time / attack, 1) * np.exp(-np.maximum(time - seconds, 0) / release)


def _bass(rate: int, frequency: float, seconds: float) -> Samples:
    time = _time(rate, seconds + 0.15)
    cutoff = 260 + 2400 * np.exp(-time / 0.09)
    tone = _filtered(time, frequency, min(6000.0, _top(rate)), cutoff)
    return 0.6 * tone * _held(time, seconds, 0.003, 0.03) * np.exp(-time / 1.2)


def _sub(rate: int, frequency: float, seconds: float) -> Samples:
    time = _time(rate, seconds + 0.2)
    cutoff = 140 + 500 * np.exp(-time / 0.06)
    tone = _filtered(time, frequency, min(3000.0, _top(rate)), cutoff)
    return 0.8 * tone * _held(time, seconds, 0.004, 0.04) * np.exp(-time / 1.6)


def _detuned(time: Samples, frequency: float, rate: int, cutoff: Samples) -> Samples:
    """Two saws, nine hundredths of a semitone apart."""
    bend = 2 ** (0.045 / 12)
    low = _filtered(time, frequency / bend, _top(rate), cutoff)
    high = _filtered(time + 0.37 / frequency, frequency * bend, _top(rate), cutoff)
    return 0.5 * (low + high)


def _stab(rate: int, frequency: float, seconds: float) -> Samples:
    time = _time(rate, seconds + 0.3)
    tone = _detuned(time, frequency, rate, 500 + 4200 * np.exp(-time / 0.12))
    return 0.3 * tone * _held(time, seconds, 0.003, 0.06) * np.exp(-time / 0.7)


def _mellow(rate: int, frequency: float, seconds: float) -> Samples:
    time = _time(rate, seconds + 0.4)
    cutoff = 700 + 1600 * np.exp(-time / 0.15)
    # Odd harmonics are stronger, as those of an electric piano's tines are.
    tone = _filtered(
        time, frequency, _top(rate), cutoff, lambda k: (1.0 if k % 2 else 0.45) / k**1.2
    )
    tremolo = 1 - 0.12 * np.sin(2 * np.pi * 4.8 * time)
    return 0.4 * tone * tremolo * _held(time, seconds, 0.004, 0.09) * np.exp(-time / 1.0)


def _pad(rate: int, frequency: float, seconds: float) -> Samples:
    time = _time(rate, seconds + 0.6)
    cutoff = 1000 + 900 * np.minimum(time / 0.8, 1)
    return 0.25 * _detuned(time, frequency, rate, cutoff) * _held(time, seconds, 0.05, 0.15)


def _pluck(rate: int, frequency: float, seconds: float) -> Samples:
    time = _time(rate, seconds + 0.35)
    cutoff = 350 + 6500 * np.exp(-time / 0.05)
    # Plucked at a fifth of the string: every fifth harmonic is missing.
    tone = _filtered(
        time, frequency, _top(rate), cutoff, lambda k: float(np.sin(np.pi * k / 5)) / k**0.8
    )
    return 0.45 * tone * _held(time, seconds, 0.002, 0.07) * np.exp(-time / 0.4)


def _bars(
    time: Samples, frequency: float, top: float, modes: tuple[tuple[float, float, float], ...]
) -> Samples:
    """A struck bar: multiples of its frequency, each as strong and as long as said."""
    return sum(
        (
            strength * _sine(time, frequency * times, decay)
            for times, strength, decay in modes
            if frequency * times < top
        ),
        np.zeros(len(time)),
    )


def _marimba(rate: int, frequency: float, seconds: float) -> Samples:
    # Bars ring on, and the longer the lower they are. N. Fletcher and T. Rossing, "The Physics of
    # Musical Instruments", 19.5: they are tuned to 1 : 4 : 10.
    ring = 0.3 * (440 / frequency) ** 0.5
    time = _time(rate, min(5 * ring, 2.0))
    modes = ((1.0, 1.0, ring), (3.98, 0.35, ring / 4), (9.9, 0.16, ring / 10))
    knock = _noise(rate, len(time) / rate, 350, 4000, np.random.default_rng(1))
    knock = knock[: len(time)] * np.exp(-time / 0.005)
    return 0.7 * _bars(time, frequency, _top(rate), modes) + 0.12 * knock


def _vibraphone(rate: int, frequency: float, seconds: float) -> Samples:
    time = _time(rate, seconds + 0.8)
    modes = ((1.0, 1.0, 1.4), (4.0, 0.3, 0.5), (9.95, 0.1, 0.12))
    fans = 1 - 0.2 * (1 - np.cos(2 * np.pi * 5.2 * time))
    tone = _bars(time, frequency, _top(rate), modes)
    return 0.5 * tone * fans * _held(time, seconds, 0.002, 0.25)


DRUMS: dict[str, tuple[Callable[[int, np.random.Generator], Samples], float, float]] = {
    "kick": (_kick, 1.0, 0.0),
    "snare": (_snare, 0.8, 0.12),
    "clap": (_clap, 0.8, 0.2),
    "rim": (_rim, 0.6, 0.15),
    "hat": (_hat, 0.5, 0.0),
    "open hat": (_open_hat, 0.45, 0.0),
    "shaker": (_shaker, 0.35, 0.05),
    "click": (_click, 0.8, 0.05),
    "high click": (_high_click, 0.9, 0.05),
}
"""how a stroke is made, how loud it is in the mix, and how much of the room is heard"""

NOTES: dict[str, tuple[Callable[[int, float, float], Samples], float, float]] = {
    "bass": (_bass, 0.75, 0.0),
    "sub": (_sub, 0.8, 0.0),
    "stab": (_stab, 0.5, 0.2),
    "mellow": (_mellow, 0.5, 0.15),
    "pad": (_pad, 0.45, 0.0),
    "pluck": (_pluck, 0.5, 0.2),
    "marimba": (_marimba, 0.45, 0.15),
    "low marimba": (_marimba, 0.9, 0.1),
    "vibraphone": (_vibraphone, 0.4, 0.15),
}
"""how a note is made, how loud it is in the mix, and how much of the room is heard"""
