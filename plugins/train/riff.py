"""Composed clips as a training set: played and encoded once, by several processes, and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from sdcreative import DataError
from sdcreative.spectral.params import SpectrogramParams

from .clips import ClipFacts, ClipPictures, has_shard, write_shard
from .music.composer import VERSION, compose_clip
from .music.encode import encode, samples_of
from .music.render import Player, find_sound_font
from .settings import RiffData

SHARD = 64
"""clips in a file"""
# Of the next bar, so that the last notes have somewhere to end.
TAIL_SECONDS = 0.5


def read_riff(
    data: RiffData,
    params: SpectrogramParams,
    columns: int,
    cache: Path,
    report: Callable[[str], None],
) -> ClipPictures:
    """The clips of these settings; those that are not in the cache folder yet are played.

    Stopped, it goes on with the shard where it was; more clips later are added to the same ones.

    Args:
        data: how many, of which series, by which sound font.
        params: how sound becomes pictures.
        columns: width of the pictures.
        cache: folder of all clips.
        report: prints one line.

    Raises:
        DataError: there is no sound font, or it cannot be played, or the clips cannot be kept.
    """
    font = find_sound_font(data.soundfont)
    maker = _Maker(font, params, columns, data.seed)
    folder = cache / f"riff_{maker.digest()}"
    stems = [folder / f"{n:05d}" for n in range(-(-data.clips // SHARD))]
    missing = [n for n, stem in enumerate(stems) if not has_shard(stem)]
    if missing:
        report(f"riff: playing {len(missing) * SHARD} clips into {folder}")
        workers = min(data.workers or os.cpu_count() or 1, len(missing))
        _make_all(maker, folder, missing, workers, report)
    return ClipPictures(stems, params, data.clips)


class _Maker:
    """Composes, plays and encodes shards; crosses over to other processes."""

    def __init__(self, font: Path, params: SpectrogramParams, columns: int, seed: int) -> None:
        self.font, self.params, self.columns, self.seed = font, params, columns, seed

    def digest(self) -> str:
        """Of all that the clips depend on."""
        said = repr((VERSION, astuple(self.params), self.columns, self.seed))
        content = hashlib.sha256(self.font.read_bytes()).hexdigest()
        return hashlib.sha256(f"{said} {content}".encode()).hexdigest()[:12]

    def make(self, player: Player, stem: Path, number: int) -> None:
        samples = samples_of(self.params, self.columns)
        seconds = samples / self.params.sample_rate + TAIL_SECONDS
        numbers = range(number * SHARD, (number + 1) * SHARD)
        clips = [compose_clip(i, self.seed, seconds) for i in numbers]
        sound = np.stack([player.play(clip, samples) for clip in clips])
        pictures, loudest = encode(sound, self.params)
        facts = [
            ClipFacts(c.captions, loud, c.genre, c.kind, c.prominent, c.tempo, c.timed)
            for c, loud in zip(clips, loudest, strict=True)
        ]
        write_shard(stem, pictures, facts)


_player: Player


def _start_worker(maker: _Maker) -> None:
    """Load the sound font once per process, which plays on one core."""
    import torch

    global _player
    torch.set_num_threads(1)
    _player = Player(maker.font, maker.params.sample_rate)


def _work(maker: _Maker, stem: Path, number: int) -> None:
    maker.make(_player, stem, number)


def _make_all(
    maker: _Maker,
    folder: Path,
    numbers: list[int],
    workers: int,
    report: Callable[[str], None],
) -> None:
    # Played here first: what is wrong with the sound font is said once, in one line.
    player = Player(maker.font, maker.params.sample_rate)
    first, *others = numbers
    maker.make(player, folder / f"{first:05d}", first)
    if not others:
        return
    if workers == 1:
        for done, number in enumerate(others, 2):
            maker.make(player, folder / f"{number:05d}", number)
            _say(done, len(numbers), report)
        return
    del player
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (maker,))
    try:
        waiting = [pool.submit(_work, maker, folder / f"{n:05d}", n) for n in others]
        for done, future in enumerate(as_completed(waiting), 2):
            future.result()
            _say(done, len(numbers), report)
    except BrokenProcessPool as error:
        raise DataError(
            "riff: a process that plays clips died, perhaps for want of memory; set data.workers "
            "to a smaller number and run again, it goes on where it was"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _say(done: int, count: int, report: Callable[[str], None]) -> None:
    if done % 10 == 0 or done == count:
        report(f"riff: {done * SHARD} of {count * SHARD} clips played")
