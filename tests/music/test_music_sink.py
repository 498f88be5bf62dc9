"""Pictures to music: what was drawn is heard, whatever it is cut into."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import soundfile
from PIL import Image

from sdcreative import Original, OutputError, Score, SpectrogramParams, UsageError
from sdcreative.media.metadata import read_tags
from sdcreative.media.spectrogram import mel_spectrogram, spectrogram_to_image
from sdcreative.media.spectrogram_files import read_spectrogram
from sdcreative.media.video import probe_sound
from sdcreative.music.sink import open_music
from sdcreative.spectral.stitching import Stitcher

RATE = 16_000
PARAMS = SpectrogramParams(
    sample_rate=RATE, step_ms=20, window_ms=80, padded_ms=160, bands=64, max_hz=8000
)
HOP = PARAMS.hop_length


def tune(seconds: float, *pitches: float) -> np.ndarray:
    """(1, samples): tones one after another."""
    count = round(seconds * RATE)
    time = np.arange(count) / RATE
    which = np.minimum((time / seconds * len(pitches)).astype(int), len(pitches) - 1)
    phase = 2 * np.pi * np.cumsum(np.array(pitches)[which]) / RATE
    return (0.3 * np.sin(phase)).astype(np.float32)[None]


def drawn(sound: np.ndarray, width: int, overlap: int) -> tuple[list[Image.Image], float, int]:
    """Overlapping pictures of a sound, the magnitude of black, and the columns of all."""
    mel = mel_spectrogram(sound, PARAMS)
    whole = spectrogram_to_image(mel, PARAMS)
    hop = width - overlap
    count = 1 + max(0, -(-(whole.width - width) // hop))
    wide = Image.new("RGB", (width + hop * (count - 1), 64), "white")
    wide.paste(whole)
    pictures = [wide.crop((k * hop, 0, k * hop + width, 64)) for k in range(count)]
    return pictures, float(mel.max()), whole.width


def write(
    paths: list[Path], pictures: list[Image.Image], score: Score, voices: int = 1, **more: Any
) -> list[str]:
    lines: list[str] = []
    size, length = pictures[0].size, more.pop("length", len(pictures))
    with open_music(
        paths, size, length, score, voices=voices, report=lines.append, **more
    ) as writer:
        for picture in pictures:
            writer.add(picture)
    return lines


def pitch(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * RATE / len(sound))


@pytest.mark.parametrize(("width", "overlap"), [(200, 0), (64, 16), (64, 32)])
def test_the_tune_that_was_drawn_is_heard(tmp_path: Path, width: int, overlap: int) -> None:
    pictures, loudest, columns = drawn(tune(3.0, 440, 660, 880), width, overlap)
    score = Score(PARAMS, loudest, columns, overlap, loudness=None)
    write([tmp_path / "a.wav"], pictures, score)
    heard, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == RATE
    assert len(heard) == (columns - 1) * HOP
    for third, wanted in enumerate((440, 660, 880)):
        part = heard[third * RATE + 3000 : (third + 1) * RATE - 3000]
        assert abs(pitch(part) - wanted) < 25
        assert 0.15 < np.sqrt(2 * (part**2).mean()) < 0.45


def test_both_voices_of_stereo_stay_on_their_side(tmp_path: Path) -> None:
    left, loud, columns = drawn(tune(1.5, 440), 64, 16)
    right, _, _ = drawn(tune(1.5, 1200), 64, 16)
    turns = [picture for pair in zip(left, right, strict=True) for picture in pair]
    score = Score(PARAMS, loud, columns, 16)
    write([tmp_path / "a.flac", tmp_path / "a.png"], turns, score, voices=2)
    heard, _ = soundfile.read(tmp_path / "a.flac")
    assert heard.shape[1] == 2
    assert abs(pitch(heard[4000:-4000, 0]) - 440) < 25
    assert abs(pitch(heard[4000:-4000, 1]) - 1200) < 25
    mel, params, told = read_spectrogram(tmp_path / "a.png")
    assert told
    assert params.stereo
    assert mel.shape == (2, 64, columns)


def test_the_level_is_the_one_asked_for_and_is_said(tmp_path: Path) -> None:
    import pyloudnorm

    pictures, loudest, columns = drawn(tune(2.0, 300, 500), 64, 16)
    lines = write([tmp_path / "a.wav"], pictures, Score(PARAMS, loudest, columns, 16, loudness=-20))
    heard, _ = soundfile.read(tmp_path / "a.wav")
    assert abs(pyloudnorm.Meter(RATE).integrated_loudness(heard) + 20) < 0.2
    assert lines[0].startswith("-20.0 LUFS, true peak")
    assert "phases within -" in lines[0]


def test_a_stretched_piece_is_longer_and_as_high(tmp_path: Path) -> None:
    pictures, loudest, columns = drawn(tune(2.0, 500), 64, 16)
    longer = round(columns * 1.04)
    write([tmp_path / "a.wav"], pictures, Score(PARAMS, loudest, longer, 16, stretch=1.04))
    heard, _ = soundfile.read(tmp_path / "a.wav")
    assert len(heard) == (longer - 1) * HOP
    assert abs(pitch(heard[4000:-4000]) - 500) < 12


def test_a_circle_closes_over_the_overlap_of_the_last_picture(tmp_path: Path) -> None:
    count, hop, overlap = 4, 48, 16
    ring = np.random.default_rng(0).integers(60, 255, (64, count * hop), np.uint8)
    twice = np.concatenate([ring, ring], 1)
    pictures = [
        Image.fromarray(twice[:, k * hop : k * hop + hop + overlap]).convert("RGB")
        for k in range(count)
    ]
    score = Score(PARAMS, 1e6, count * hop, overlap, loop=True)
    lines = write([tmp_path / "a.png", tmp_path / "a.wav"], pictures, score)
    heard, _ = soundfile.read(tmp_path / "a.wav")
    assert len(heard) == count * hop * HOP
    mel, _, _ = read_spectrogram(tmp_path / "a.png")
    levels = 255 - 255 * (mel[0] / mel.max()) ** 0.25
    scale = 255 - ring.min()
    assert np.abs(levels[::-1] - (255 - (255.0 - ring) * 255 / scale)).max() < 3
    assert "seam" in lines[0]
    step = abs(heard[0] - heard[-1]) / np.sqrt((np.diff(heard) ** 2).mean())
    assert step < 3


def test_the_end_of_a_circle_passes_over_into_its_beginning(tmp_path: Path) -> None:
    grey = [Image.new("RGB", (64, 64), (level,) * 3) for level in (60, 60, 200, 200)]
    score = Score(PARAMS, 1e6, 2 * 48, 16, loop=True)
    lines = write([tmp_path / "a.png", tmp_path / "a.wav"], grey, score, voices=2)
    assert "seam" in lines[0]
    mel, _, _ = read_spectrogram(tmp_path / "a.png")
    levels = 255 - 195 * (mel / mel.max()) ** 0.25
    passing = 200 - 140 * (np.arange(16) + 0.5) / 16
    ring = np.concatenate([passing, np.full(32, 60), passing[::-1], np.full(32, 200)])
    assert np.abs(levels - ring).max() < 1.5


def test_a_loop_that_was_stopped_is_a_piece_with_ends(tmp_path: Path) -> None:
    pictures, loudest, _ = drawn(tune(4.0, 300), 64, 16)
    score = Score(PARAMS, loudest, 200, 16, loop=True)
    lines = write([tmp_path / "a.wav"], pictures[:2], score, length=4)
    heard, _ = soundfile.read(tmp_path / "a.wav")
    assert len(heard) == (64 + 48 - 1) * HOP
    assert "seam" not in lines[0]
    assert heard[0] == heard[-1] == 0


def test_fades_are_as_long_as_asked_for(tmp_path: Path) -> None:
    pictures, loudest, columns = drawn(tune(4.0, 300), 64, 16)
    score = Score(PARAMS, loudest, columns, 16, fade_in=1.0, fade_out=2.0)
    write([tmp_path / "a.wav"], pictures, score)
    heard, _ = soundfile.read(tmp_path / "a.wav")

    def loud(second: float) -> float:
        at = round(second * RATE)
        return float(np.sqrt((heard[at - 400 : at + 400] ** 2).mean()))

    middle = loud(1.5)
    assert abs(loud(0.5) / middle - 0.5) < 0.08
    assert abs(loud(3.0) / middle - 0.5) < 0.08
    assert loud(0.1) < 0.06 * middle


def test_what_was_not_changed_is_the_original_itself(tmp_path: Path) -> None:
    sound = tune(3.0, 440, 1000, 440) + 0.01
    soundfile.write(tmp_path / "in.wav", sound[0], RATE, subtype="FLOAT")
    pictures, loudest, columns = drawn(sound, 64, 16)
    original = Original(str(tmp_path / "in.wav"), 0.0, ((0.0, 1.0), (2.0, 3.0)))
    score = Score(PARAMS, loudest, columns, 16, loudness=None, original=original)
    write([tmp_path / "a.wav"], pictures, score)
    heard, _ = soundfile.read(tmp_path / "a.wav")
    same = np.abs(heard - sound[0, : len(heard)])
    edge = round(0.02 * RATE)
    assert same[edge : RATE - edge].max() < 1e-3
    assert same[2 * RATE + edge : -edge].max() < 1e-3
    assert same[RATE + edge : 2 * RATE - edge].max() > 0.05


def test_the_original_is_heard_from_where_the_music_begins(tmp_path: Path) -> None:
    sound = tune(3.0, 440, 1000, 440)
    soundfile.write(tmp_path / "in.wav", sound[0], RATE, subtype="FLOAT")
    piece = sound[:, RATE // 2 : 5 * RATE // 2]
    pictures, loudest, columns = drawn(piece, 64, 16)
    original = Original(str(tmp_path / "in.wav"), 0.5, ((0.0, 2.0),))
    score = Score(PARAMS, loudest, columns, 16, loudness=None, original=original)
    write([tmp_path / "a.wav"], pictures, score)
    heard, _ = soundfile.read(tmp_path / "a.wav")
    edge = round(0.006 * RATE)
    assert np.abs(heard - piece[0, : len(heard)])[edge:-edge].max() < 1e-3


def test_the_tags_are_in_every_file_that_holds_them(tmp_path: Path) -> None:
    pictures, loudest, columns = drawn(tune(1.3, 440), 64, 16)
    paths = [tmp_path / f"a{ending}" for ending in (".wav", ".flac", ".ogg", ".mp3", ".png")]
    score = Score(PARAMS, loudest, columns, 16)
    write(paths, pictures, score, metadata={"sdcreative": '{"prompt": "熊"}'})
    for path in paths:
        assert read_tags(path)["sdcreative"] == '{"prompt": "熊"}'
    assert {soundfile.info(path).frames for path in paths[:-1]} == {(columns - 1) * HOP}


def test_a_film_of_it_is_as_long_as_its_sound(tmp_path: Path) -> None:
    pictures, loudest, columns = drawn(tune(1.3, 440), 64, 16)
    path = tmp_path / "a.mp4"
    write([path], pictures, Score(PARAMS, loudest, columns, 16), metadata={"sdcreative": "{}"})
    assert abs(probe_sound(path) - (columns - 1) * HOP / RATE) < 1 / 30 + 2048 / 44_100
    assert read_tags(path)["sdcreative"] == "{}"


def test_low_tones_are_low_in_the_film(tmp_path: Path) -> None:
    rows = []
    for number, pitch_of in enumerate((200, 3000)):
        pictures, loudest, columns = drawn(tune(1.3, pitch_of), 64, 16)
        path = tmp_path / f"{number}.mp4"
        write([path], pictures, Score(PARAMS, loudest, columns, 16))
        frame = np.asarray(iio.imread(path, index=20), float).sum(-1)
        heights = np.arange(len(frame))[:600, None]
        rows.append(float((frame[:600] ** 2 * heights).sum() / (frame[:600] ** 2).sum()))
    assert rows[0] > rows[1] + 100


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.gif"], "ending '.gif' holds no music; use .wav, .flac"),
        (["a.wav", "a.wav"], "the same file twice"),
        (["there.wav"], "there.wav exists; pass --overwrite"),
        (["a.wav", "there.wav"], "there.wav exists"),
        (["a.wav", "a"], "ending ''"),
    ],
)
def test_bad_outputs_are_refused_at_once_and_nothing_is_left(
    tmp_path: Path, names: list[str], said: str
) -> None:
    (tmp_path / "there.wav").write_bytes(b"mine")
    score = Score(PARAMS, 1e6, 64)
    with pytest.raises(OutputError, match=said):
        open_music([tmp_path / name for name in names], (64, 64), 1, score)
    assert [path.name for path in tmp_path.iterdir()] == ["there.wav"]


def test_a_film_that_fails_leaves_nothing(tmp_path: Path) -> None:
    score = Score(PARAMS, 1e6, 64)
    with (
        pytest.raises(KeyError),
        open_music([tmp_path / "a.wav", tmp_path / "a.mp4"], (64, 64), 1, score),
    ):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        subprocess.run(mounted, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no tmpfs can be mounted here")
    monkeypatch.setattr("sdcreative.media.output.free_bytes", lambda path: 10**9)
    try:
        pictures, loudest, columns = drawn(tune(60.0, 440), 64, 16)
        # In the middle of the pictures, of the sound, and of the file.
        for taken in (len(pictures), 12, 2):
            with pytest.raises(OutputError, match=r"a\.wav: disk full"):
                write([place / "a.wav"], pictures[:taken], Score(PARAMS, loudest, columns, 16))
            assert not list(place.iterdir())
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_silence_stays_silence(tmp_path: Path) -> None:
    white = Image.new("RGB", (64, 64), "white")
    lines = write([tmp_path / "a.wav"], [white, white], Score(PARAMS, 1e6, 112, 16))
    heard, _ = soundfile.read(tmp_path / "a.wav")
    assert not heard.any()
    assert "phases" not in lines[0]


def test_pictures_no_wider_than_their_overlap_cannot_be_stitched() -> None:
    with pytest.raises(UsageError, match="16 columns cannot overlap by 16"):
        Stitcher(16).add(np.zeros((1, 4, 16), np.uint8))


def test_stitching_crossfades_evenly() -> None:
    stitcher = Stitcher(4)
    first = stitcher.add(np.zeros((1, 1, 10), np.uint8))
    second = stitcher.add(np.full((1, 1, 10), 200, np.uint8))
    rest = stitcher.finish()
    assert rest is not None
    line = np.concatenate([first, second, rest], -1)[0, 0]
    assert line.tolist() == [0] * 6 + [25, 75, 125, 175] + [200] * 6


def test_one_voice_alone_of_two_is_no_music(tmp_path: Path) -> None:
    pictures, loudest, columns = drawn(tune(1.2, 440), 64, 16)
    score = replace(Score(PARAMS, loudest, columns, 16), loudness=None)
    with pytest.raises(OutputError, match="no frames to write"):
        write([tmp_path / "a.wav"], pictures[:1], score, voices=2)
    assert not list(tmp_path.iterdir())


def test_a_stop_between_two_voices_keeps_what_both_have(tmp_path: Path) -> None:
    pictures, loudest, columns = drawn(tune(2.0, 440), 64, 16)
    score = Score(PARAMS, loudest, columns, 16)
    turns = [picture for picture in pictures for _ in range(2)]
    for taken, seconds in ((1, 0.0), (2, 63 * 0.02), (3, 63 * 0.02)):
        path = tmp_path / f"{taken}.wav"
        with (
            pytest.raises(KeyboardInterrupt),
            open_music([path], (64, 64), len(turns), score, voices=2) as writer,
        ):
            for picture in turns[:taken]:
                writer.add(picture)
            raise KeyboardInterrupt
        assert path.exists() == (seconds > 0)
        if seconds:
            assert abs(soundfile.info(path).duration - seconds) < 1e-6


def test_a_loop_shorter_than_four_windows_has_a_seam_too(tmp_path: Path) -> None:
    ring = np.random.default_rng(0).integers(60, 255, (64, 12), np.uint8)
    picture = Image.fromarray(ring).convert("RGB")
    [line] = write([tmp_path / "a.wav"], [picture], Score(PARAMS, 1e6, 12, loop=True))
    assert line.endswith("of an average step")
    assert soundfile.info(tmp_path / "a.wav").frames == 12 * HOP


def test_two_names_of_one_file_are_one_file(tmp_path: Path) -> None:
    paths = [tmp_path / "a.wav", tmp_path / "b.png", tmp_path / "new" / ".." / "b.png"]
    with pytest.raises(OutputError, match=r"new/\.\./b\.png: the same file twice"):
        open_music(paths, (64, 64), 1, Score(PARAMS, 1e6, 64))
    assert not list(tmp_path.iterdir())


def test_what_lies_on_the_disk_for_a_while_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = 1 + 60 * 50  # a minute: 1.92 MB of 16 bits, twice that in floats, and the pictures
    score = Score(PARAMS, 1e6, columns)
    for free, fits in ((5_800_000, False), (6_100_000, True)):
        monkeypatch.setattr("sdcreative.media.output.free_bytes", lambda path, free=free: free)
        if fits:
            open_music([tmp_path / "a.wav"], (64, 64), 1, score).abort()
        else:
            with pytest.raises(OutputError, match=r"a\.wav: about 6\.0 MB"):
                open_music([tmp_path / "a.wav"], (64, 64), 1, score)
        assert not list(tmp_path.iterdir())
