"""Spectrograms of many clips back to sound, all in one call."""

from __future__ import annotations

from typing import Any

from gpu_machine import forget_memory, memory_peak, timed
from gpu_process import Notes

PIECES = 4
WAYS: dict[str, dict[str, Any]] = {
    "phase gradients, 8 rounds (the default)": {},
    "random phases, 32 rounds": {"method": "griffin-lim"},
    "phase gradients, 48 rounds (`quality`)": {"quality": True},
}


def inversion(task: dict[str, Any], notes: Notes) -> None:
    """Invert clips in every way, the fastest of some rounds.

    Args:
        task: device, clips, seconds of each, rounds.
        notes: gets ways: name -> speed, multiples of real time of all clips together; error, the
            spectral convergence of the first clip in dB.
    """
    import numpy as np

    from inversion_music import RATE, music
    from sdcreative.media.spectrogram import SpectrogramParams, mel_spectrogram
    from sdcreative.spectral.inversion import invert
    from sdcreative.spectral.measures import spectral_convergence

    params, device = SpectrogramParams(), task["device"]
    count = round(task["seconds"] * RATE)
    pieces = [music(seed, task["seconds"])[:1, :count] for seed in range(PIECES)]
    # No two clips are alike: each begins elsewhere in its piece.
    sounds = [
        np.roll(pieces[number % PIECES], number * count // task["clips"], axis=-1)
        for number in range(task["clips"])
    ]
    mel = np.stack([mel_spectrogram(sound, params) for sound in sounds])
    heard = task["clips"] * params.seconds(mel.shape[-1])
    ways: dict[str, dict[str, float]] = {}
    for name, options in WAYS.items():
        found: list[Any] = [invert(mel, params, device=device, **options)]

        def again(options: dict[str, Any] = options, found: list[Any] = found) -> None:
            found[0] = invert(mel, params, device=device, **options)

        forget_memory(device)
        seconds = min(timed(device, again) for _ in range(task["rounds"]))
        error = spectral_convergence(found[0][0], mel[0], params)
        ways[name] = {"speed": heard / seconds, "error": error, "memory": memory_peak(device)}
        notes(ways=ways, clips=task["clips"])
