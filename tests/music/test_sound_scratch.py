"""Sound on the disk: read again and again, in any stretch, and gone at the end."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import numpy
import pytest

from sdcreative.errors import RenderError
from sdcreative.media.sound_files import BLOCK
from sdcreative.music.scratch import ScratchSound


def noise(samples: int, channels: int = 2) -> numpy.ndarray:
    random = numpy.random.default_rng(samples)
    return random.standard_normal((channels, samples)).astype(numpy.float32)


@pytest.mark.parametrize("channels", [1, 2])
def test_samples_come_back_bit_by_bit_as_often_as_wanted(tmp_path: Path, channels: int) -> None:
    sound = noise(2 * BLOCK + 123, channels)
    scratch = ScratchSound(tmp_path, 8000, channels)
    for part in numpy.split(sound, [0, 1, 70_000], 1):
        scratch.append(part)
    assert scratch.samples == sound.shape[1]
    assert scratch.seconds == sound.shape[1] / 8000
    for _ in range(2):
        blocks = list(scratch.blocks())
        assert [len(block) for block in blocks] == [BLOCK, BLOCK, 123]
        assert numpy.array_equal(numpy.concatenate(blocks), sound.T)
    assert numpy.array_equal(scratch.read(), sound)


def test_two_readers_do_not_disturb_each_other(tmp_path: Path) -> None:
    scratch = ScratchSound(tmp_path, 8000, 2)
    scratch.append(noise(3 * BLOCK))
    for one, two in zip(scratch.blocks(), scratch.blocks(), strict=True):
        assert numpy.array_equal(one, two)


@pytest.mark.parametrize("start", [-400, -130, -7, 0, 3, 99, 100, 230])
@pytest.mark.parametrize("length", [0, 1, 50, 100, 330])
def test_around_the_sound_is_silence_or_in_a_loop_the_sound(
    tmp_path: Path, start: int, length: int
) -> None:
    sound = noise(100)
    scratch = ScratchSound(tmp_path, 8000, 2)
    scratch.append(sound)
    silence = numpy.zeros((2, 1000), numpy.float32)
    padded = numpy.concatenate([silence, sound, silence], 1)[:, 1000 + start :][:, :length]
    assert numpy.array_equal(scratch.read(start, start + length), padded)
    looped = numpy.tile(sound, 20)[:, 500 + start :][:, :length]
    assert numpy.array_equal(scratch.read(start, start + length, circular=True), looped)


def test_gains_change_the_samples_in_place(tmp_path: Path) -> None:
    sound = noise(100)
    scratch = ScratchSound(tmp_path, 8000, 2)
    scratch.append(sound)
    gains = numpy.linspace(0, 1, 40)
    scratch.scale(60, gains)
    assert scratch.samples == 100
    assert numpy.array_equal(scratch.read(0, 60), sound[:, :60])
    assert numpy.array_equal(scratch.read(60), sound[:, 60:] * gains.astype(numpy.float32))


def test_nothing_of_it_is_left_or_was_ever_seen(tmp_path: Path) -> None:
    scratch = ScratchSound(tmp_path, 8000, 2)
    scratch.append(noise(BLOCK))
    if sys.platform != "win32":
        assert list(tmp_path.iterdir()) == []
    scratch.close()
    scratch.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf])
def test_a_sample_that_is_no_number_is_named(tmp_path: Path, bad: float) -> None:
    scratch = ScratchSound(tmp_path, 8000, 2)
    scratch.append(noise(8000))
    sound = noise(100)
    sound[1, 8] = bad
    with pytest.raises(RenderError, match=r"the sound at 1\.001 seconds is no finite number"):
        scratch.append(sound)


def test_a_full_disk_is_said_at_once(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    scratch = ScratchSound(tmp_path, 8000, 2)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(OSError) as caught:
            scratch.append(noise(BLOCK))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.errno == errno.EFBIG
    scratch.close()
