"""Music to measure with, made by a procedure: chords, bass, a lead with vibrato, and drums."""

from __future__ import annotations

import numpy
from numpy.typing import NDArray

RATE = 44_100
SECONDS = 5.12
_CHORDS = ((0, 4, 7, 11), (9, 12, 16, 19), (5, 9, 12, 16), (7, 11, 14, 17))


def music(seed: int, seconds: float = SECONDS) -> NDArray[numpy.float32]:
    """A stereo clip, (2, samples) at 44.1 kHz, peak 0.7; another tempo, key and band per seed."""
    rng = numpy.random.default_rng(seed)
    count = round(seconds * RATE)
    beat = 60 / rng.uniform(80, 130)
    key = rng.integers(45, 57)
    sound = numpy.zeros((2, count + 4 * RATE))

    def play(start: float, voice: NDArray[numpy.floating], pan: float, gain: float) -> None:
        place = round(start * RATE)
        room = voice[: sound.shape[1] - place]
        sides = numpy.sqrt([1 - pan, pan])
        sound[:, place : place + len(room)] += gain * sides[:, None] * room

    brightness = rng.uniform(0.5, 1.1)
    for bar in range(int(seconds / (4 * beat)) + 1):
        chord = _CHORDS[bar % 4]
        start = bar * 4 * beat
        for voice, note in enumerate(chord):
            tone = plucked(key + 12 + note, 4 * beat, brightness, rng)
            play(start + 0.01 * voice, tone, 0.2 + 0.2 * voice, 0.25)
        for step in range(4):
            low = plucked(key - 12 + chord[step % 3], beat, 0.9, rng)
            play(start + step * beat, low, 0.5, 0.4)
            note = key + 24 + chord[rng.integers(4)] + 12 * (rng.random() < 0.2)
            play(
                start + (step + 0.5 * (rng.random() < 0.5)) * beat, lead(note, beat, rng), 0.6, 0.2
            )
            drum = kick(rng) if step % 2 == 0 else snare(rng)
            play(start + step * beat, drum, 0.5, 0.5)
            for half in range(2):
                play(start + (step + half / 2) * beat, hat(rng), 0.7, 0.12)
    sound = sound[:, :count]
    return (0.7 * sound / numpy.abs(sound).max()).astype(numpy.float32)


def hertz(note: float) -> float:
    return 440 * 2 ** ((note - 69) / 12)


def clock(seconds: float) -> NDArray[numpy.float64]:
    return numpy.arange(round(seconds * RATE)) / RATE


def plucked(
    note: float, seconds: float, brightness: float, rng: numpy.random.Generator
) -> NDArray[numpy.float64]:
    """Partials slightly out of tune, the higher ones weaker and sooner over; ends in a release."""
    t = clock(seconds)
    total = numpy.zeros_like(t)
    for partial in range(1, int(10_000 / hertz(note)) + 1):
        f = hertz(note) * partial * (1 + 4e-5 * partial**2)
        turn = rng.uniform(0, 2 * numpy.pi)
        decay = numpy.exp(-t * (1.2 + 0.5 * partial))
        total += partial ** (-1.6 / brightness) * decay * numpy.sin(2 * numpy.pi * f * t + turn)
    return total * envelope(t, 0.004, 0.08)


def lead(note: float, seconds: float, rng: numpy.random.Generator) -> NDArray[numpy.float64]:
    """A reed: odd and even partials, vibrato that sets in, some breath."""
    t = clock(seconds)
    depth = 0.006 * numpy.clip(t / 0.3, 0, 1)
    phase = 2 * numpy.pi * numpy.cumsum(hertz(note) * (1 + depth * numpy.sin(34 * t))) / RATE
    partials = range(1, int(9_000 / hertz(note)) + 1)
    total = sum(numpy.sin(k * phase) / k**1.3 for k in partials)
    return (total + 0.02 * rng.standard_normal(len(t))) * envelope(t, 0.03, 0.1)


def kick(rng: numpy.random.Generator) -> NDArray[numpy.float64]:
    t = clock(0.35)
    sweep = numpy.cumsum(45 + 140 * numpy.exp(-t * 35)) / RATE
    click = rng.standard_normal(len(t)) * numpy.exp(-t * 400)
    return numpy.sin(2 * numpy.pi * sweep) * numpy.exp(-t * 11) + 0.3 * click


def snare(rng: numpy.random.Generator) -> NDArray[numpy.float64]:
    t = clock(0.25)
    skin = numpy.sin(2 * numpy.pi * 190 * t) * numpy.exp(-t * 25)
    return 0.5 * skin + 0.5 * rng.standard_normal(len(t)) * numpy.exp(-t * 18)


def hat(rng: numpy.random.Generator) -> NDArray[numpy.float64]:
    t = clock(0.08)
    return numpy.diff(rng.standard_normal(len(t) + 1)) * numpy.exp(-t * 60)


def envelope(t: NDArray[numpy.float64], attack: float, release: float) -> NDArray[numpy.float64]:
    """Rises in ``attack`` seconds, falls in the last ``release`` seconds."""
    return numpy.clip(t / attack, 0, 1) * numpy.clip((t[-1] - t) / release, 0, 1)
