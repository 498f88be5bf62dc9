"""Spectrograms back to sound: this project's ways, Riffusion's and librosa's, in one run.

    python benchmarks/inversion.py [--clips 3] [--files a.wav b.flac] [--threads 1] [--librosa]

Every clip of 5.12 s is encoded as Riffusion does and inverted in each way. Prints a Markdown table
of means: seconds for a clip; spectral convergence of the mel bands, which are what the picture
says, and of the linear magnitudes of the pseudo-inverse, as papers give it; mel-cepstral distortion
against the original sound. Riffusion's search for linear magnitudes, 200 rounds of gradient
descent, is left out of its time: it is given the pseudo-inverse.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import torch
from numpy.typing import NDArray

from inversion_music import RATE, SECONDS, music
from sdcreative.media.spectrogram import SpectrogramParams, mel_spectrogram
from sdcreative.media.spectrogram_sound import read_sound
from sdcreative.spectral.inversion import invert
from sdcreative.spectral.measures import mel_cepstral_distortion, spectral_convergence
from sdcreative.spectral.mel import encoding_grid, mel_weights
from sdcreative.spectral.params import FULL_SCALE

Floats = NDArray[numpy.float32]
PARAMS = SpectrogramParams()


def pseudo_inverse() -> torch.Tensor:
    weights = mel_weights(PARAMS, PARAMS.sample_rate, PARAMS.n_fft)
    return torch.linalg.pinv(weights).float().T.contiguous()


def linear(mel: Floats, inverse: torch.Tensor) -> torch.Tensor:
    """(1, columns, bins) magnitudes."""
    return (torch.from_numpy(mel).mT @ inverse).clamp(min=0)


def riffusion(mel: Floats, inverse: torch.Tensor) -> Floats:
    """What torchaudio.transforms.GriffinLim does: random phases, 32 rounds, torch.stft."""
    target = linear(mel, inverse)
    target = torch.nn.functional.pad(target, (0, PARAMS.n_fft // 2 + 1 - target.shape[-1])).mT
    sizes = (PARAMS.n_fft, PARAMS.hop_length, PARAMS.win_length)
    window = torch.hann_window(PARAMS.win_length)
    length = (target.shape[-1] - 1) * PARAMS.hop_length
    phase = torch.rand(target.shape, generator=torch.Generator().manual_seed(0)) * 2 * math.pi
    angles = torch.polar(torch.ones_like(target), phase)
    before = torch.zeros_like(angles)
    for _ in range(32):
        samples = torch.istft(target * angles, *sizes, window=window, length=length)
        rebuilt = torch.stft(samples, *sizes, window=window, return_complex=True)
        angles = rebuilt - before * (0.99 / 1.99)
        angles = angles / (angles.abs() + 1e-16)
        before = rebuilt
    samples = torch.istft(target * angles, *sizes, window=window, length=length)
    return (samples / FULL_SCALE).numpy()


def by_librosa(mel: Floats, inverse: torch.Tensor) -> Floats:
    import librosa

    target = linear(mel, inverse)[0].T.numpy()
    target = numpy.pad(target, ((0, PARAMS.n_fft // 2 + 1 - len(target)), (0, 0)))
    samples = librosa.griffinlim(
        target,
        n_iter=32,
        hop_length=PARAMS.hop_length,
        win_length=PARAMS.win_length,
        n_fft=PARAMS.n_fft,
        random_state=0,
    )
    return (samples[None] / FULL_SCALE).astype(numpy.float32)


def linear_convergence(samples: Floats, mel: Floats, inverse: torch.Tensor) -> float:
    target = linear(mel, inverse)
    sound = torch.from_numpy(samples * FULL_SCALE)
    reached = encoding_grid(PARAMS).analyse(sound, target.shape[-1]).abs()
    count = min(reached.shape[1], target.shape[1])
    apart = (reached[:, :count] - target[:, :count]).norm() / target[:, :count].norm()
    return 20 * math.log10(float(apart))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=3, help="of music made by the script")
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="further clips")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--librosa", action="store_true", help="librosa.griffinlim too, slow")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clips = [music(seed)[:1] for seed in range(options.clips)]
    clips += [read_sound(path, RATE, seconds=SECONDS) for path in options.files]
    inverse = pseudo_inverse()
    ways: dict[str, Callable[[Floats], Floats]] = {
        "Riffusion's: 17640, random, 32": lambda mel: riffusion(mel, inverse),
        "random phases, 32 (`--method griffin-lim`)": lambda mel: invert(
            mel, PARAMS, method="griffin-lim"
        ),
        "PGHI, no rounds": lambda mel: invert(mel, PARAMS, iterations=0),
        "PGHI, 8 rounds (the default)": lambda mel: invert(mel, PARAMS),
        "PGHI, 8 + 40 rounds (`--quality`)": lambda mel: invert(mel, PARAMS, quality=True),
    }
    if options.librosa:
        ways["librosa.griffinlim: 17640, random, 32"] = lambda mel: by_librosa(mel, inverse)
    # Compiling and filter banks happen once in a process, not once for a clip.
    invert(mel_spectrogram(clips[0], PARAMS), PARAMS)

    print(f"{len(clips)} clips of {SECONDS} s, {options.threads} threads\n")
    print("| way | seconds | CPU | mel, dB | linear, dB | MCD, dB | times faster | mel dB better |")
    print("|---|---|---|---|---|---|---|---|")
    reference: NDArray[numpy.floating] | None = None
    for name, way in ways.items():
        rows = []
        for clip in clips:
            mel = mel_spectrogram(clip, PARAMS)
            began, used = time.perf_counter(), time.process_time()
            samples = way(mel)
            rows.append(
                (
                    time.perf_counter() - began,
                    time.process_time() - used,
                    spectral_convergence(samples, mel, PARAMS),
                    linear_convergence(samples, mel, inverse),
                    mel_cepstral_distortion(samples, clip, RATE),
                )
            )
        means = numpy.mean(rows, 0)
        reference = means if reference is None else reference
        print(
            f"| {name} | {means[0]:.2f} | {means[1]:.2f} | {means[2]:.1f} | {means[3]:.1f} "
            f"| {means[4]:.2f} | {reference[1] / means[1]:.1f} | {reference[2] - means[2]:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
