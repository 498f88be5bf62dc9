"""Sound into WAV, FLAC, OGG and MP3: the samples, their noise, their peaks, their tags."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
import soundfile

from sdcreative.errors import DataError, OutputError
from sdcreative.media.metadata import read_tags
from sdcreative.media.sound_files import read_blocks
from sdcreative.media.video import ffmpeg
from sdcreative.music.encoding import SOUND_ENDINGS, count_samples, dithered, encode_sound
from sdcreative.music.true_peak import TruePeak

RATE = 44_100
LOSSY = [".ogg", ".mp3"]
TAGS = {"sdcreative": '{"prompt": "Bär 熊"}', "parameters": "a bass\nSteps: 20"}


def music(seconds: float, channels: int = 2, level: float = 0.5) -> numpy.ndarray:
    """(samples, channels), as high as ``level`` and not above 10 kHz."""
    random = numpy.random.default_rng(0)
    t = numpy.arange(round(seconds * RATE)) / RATE
    sound = numpy.zeros((len(t), channels))
    for _ in range(24):
        phases = random.uniform(0, 7, channels)
        sound += numpy.sin(2 * numpy.pi * random.uniform(60, 9000) * t[:, None] + phases)
    return (sound / numpy.abs(sound).max() * level).astype(numpy.float32)


def encode(
    path: Path,
    sound: numpy.ndarray,
    tags: dict[str, str] | None = None,
    title: str = "",
    rate: int = RATE,
    size: int = 30_000,
) -> float:
    def blocks() -> Iterator[numpy.ndarray]:
        for start in range(0, len(sound), size):
            yield sound[start : start + size]

    samples, channels = sound.shape
    return encode_sound(path, path.suffix, blocks, rate, channels, samples, tags or {}, title)


@pytest.mark.parametrize("suffix", SOUND_ENDINGS)
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_come_back_all_of_them_and_in_time(
    tmp_path: Path, suffix: str, channels: int
) -> None:
    sound = music(3.21, channels)
    path = tmp_path / f"Bär 熊{suffix}"
    assert encode(path, sound, TAGS, "a song") == 0
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.frames) == (RATE, channels, len(sound))
    assert count_samples(path) == len(sound)
    error = soundfile.read(path, always_2d=True)[0] - sound
    loss = 10 * numpy.log10((error**2).mean() / (sound**2).mean())
    assert loss < (-15 if suffix in LOSSY else -70)


@pytest.mark.parametrize("suffix", SOUND_ENDINGS)
def test_title_and_tags_are_read_here_and_by_ffmpeg(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    encode(path, music(0.3), TAGS, "Bär; 熊 = 1")
    assert read_tags(path) == {"title": "Bär; 熊 = 1", "encoder": "sdcreative", **TAGS}
    command = [ffmpeg(), "-v", "error", "-i", str(path), "-f", "ffmetadata", "-map_metadata"]
    command += ["0:s:0" if suffix == ".ogg" else "0", "-"]
    said = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert "title=Bär\\; 熊 \\= 1" in said.splitlines()


@pytest.mark.parametrize("suffix", SOUND_ENDINGS)
def test_the_same_sound_is_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    sound = music(0.5)
    for tags, title in (({}, ""), (TAGS, "a song")):
        paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
        for path, size in zip(paths, (30_000, 777), strict=True):
            encode(path, sound, tags, title, size=size if suffix not in LOSSY else 30_000)
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize("suffix", SOUND_ENDINGS)
def test_without_tags_and_title_nothing_is_told(tmp_path: Path, suffix: str) -> None:
    encode(tmp_path / f"a{suffix}", music(0.3))
    assert read_tags(tmp_path / f"a{suffix}") == {}


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_silence_is_digital_silence(tmp_path: Path, suffix: str) -> None:
    sound = music(0.5)
    sound[5000:9000] = 0
    sound[:, 1] = 0
    encode(tmp_path / f"a{suffix}", sound)
    found = soundfile.read(tmp_path / f"a{suffix}", dtype="int16")[0]
    assert not found[5000:9000].any()
    assert not found[:, 1].any()
    assert found[:5000, 0].any()


def test_dither_is_triangular_and_keeps_what_is_below_a_step() -> None:
    step = 1 / 32_768
    for part in (0.1, 0.5, 0.75):
        steady = numpy.full((400_000, 1), part * step, numpy.float32)
        found = dithered(steady, numpy.random.default_rng(0)).astype(float)
        # Mean and power of the error do not depend on the signal: 0, and 1/4 of a step squared.
        assert abs(found.mean() - part) < 0.005
        assert abs(((found - part) ** 2).mean() - 0.25) < 0.005


def test_dither_makes_no_overtones() -> None:
    tone = 3 / 32_768 * numpy.sin(2 * numpy.pi * 1000 * numpy.arange(RATE) / RATE)[:, None]
    spectra = []
    for steps in (dithered(tone, numpy.random.default_rng(0)), numpy.rint(tone * 32_768)):
        power = numpy.abs(numpy.fft.rfft(steps[:, 0])) ** 2
        spectra.append(power[[3000, 5000, 7000]].max() / power[1000])
    assert spectra[0] < spectra[1] / 10


def test_full_scale_is_not_wrapped_around() -> None:
    loud = numpy.array([[1.0, -1.0], [1.5, -1.5]], numpy.float32)
    found = dithered(loud, numpy.random.default_rng(0))
    assert (found[:, 0] >= 32_766).all()
    assert (found[:, 1] <= -32_767).all()


def decoded_peak(path: Path) -> float:
    meter = TruePeak(2)
    for block in read_blocks(path, 0, 10**9):
        meter.feed(block)
    return meter.finish()


@pytest.mark.parametrize("suffix", LOSSY)
def test_what_is_encoded_does_not_clip_when_it_is_played(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    loud = numpy.sign(music(2, level=1)) * 0.999  # clipped already: as bad as it gets
    down = encode(path, loud.astype(numpy.float32))
    assert down > 0.5
    assert -1 < decoded_peak(path) <= 0
    quiet = music(2, level=0.3)
    assert encode(path, quiet) == 0
    assert abs(decoded_peak(path) - 20 * numpy.log10(0.3)) < 1


@pytest.mark.parametrize("suffix", SOUND_ENDINGS)
def test_long_blocks_are_cut(tmp_path: Path, suffix: str) -> None:
    sound = numpy.tile(music(2), (5, 1))
    encode(tmp_path / f"a{suffix}", sound, size=10**9)
    assert count_samples(tmp_path / f"a{suffix}") == len(sound)


@pytest.mark.parametrize("suffix", SOUND_ENDINGS)
@pytest.mark.parametrize("samples", [1, 100])
def test_very_short_sounds_are_whole(tmp_path: Path, suffix: str, samples: int) -> None:
    encode(tmp_path / f"a{suffix}", music(0.1)[:samples], TAGS)
    assert count_samples(tmp_path / f"a{suffix}") == samples


@pytest.mark.parametrize(
    ("suffix", "rate", "channels", "samples", "words"),
    [
        (".wma", RATE, 2, 9, "use .wav, .flac, .ogg, .mp3"),
        (".wav", RATE, 2, 2**30, "WAV holds 4 GiB; use .flac"),
        (".mp3", 96_000, 2, 9, "not 2 and 96000"),
        (".mp3", RATE, 3, 9, "not 3 and 44100"),
    ],
)
def test_what_a_format_does_not_hold_is_refused_before_anything_is_made(
    tmp_path: Path, suffix: str, rate: int, channels: int, samples: int, words: str
) -> None:
    blocks: Callable[[], Iterator[numpy.ndarray]] = lambda: iter(())  # noqa: E731
    with pytest.raises(OutputError, match=words):
        encode_sound(tmp_path / "a", suffix, blocks, rate, channels, samples, {})
    assert list(tmp_path.iterdir()) == []


def test_sound_that_is_too_short_or_long_is_refused(tmp_path: Path) -> None:
    sound = music(0.1)
    for samples in (len(sound) - 1, len(sound) + 1):
        with pytest.raises(OutputError, match=f"{len(sound)} samples came, where {samples}"):
            encode_sound(tmp_path / "a", ".wav", lambda: iter([sound]), RATE, 2, samples, {})


def test_tags_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="NUL"):
        encode(tmp_path / "a.mp3", music(0.1), {"a": "\0"})


def test_counting_what_is_no_sound_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound")
    with pytest.raises(DataError, match="is no sound file that is known"):
        count_samples(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", SOUND_ENDINGS)
def test_a_disk_that_fails_is_an_os_error(tmp_path: Path, suffix: str) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sound = music(5)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
        with pytest.raises(OSError) as caught:
            encode(tmp_path / f"a{suffix}", sound)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.errno in (errno.EIO, errno.EFBIG)
