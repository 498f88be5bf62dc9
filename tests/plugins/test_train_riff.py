"""Composed music as a source of training: the composer, its captions, the clips and their cache."""

from __future__ import annotations

import collections
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdcreative import DataError, ModelError, UsageError
from sdcreative.spectral.params import SpectrogramParams
from sdcreative.tools import Job
from sdcreative_plugins.train import riff
from sdcreative_plugins.train.clips import ClipFacts, ClipPictures, has_shard, write_shard
from sdcreative_plugins.train.job import run_training
from sdcreative_plugins.train.music import render
from sdcreative_plugins.train.music.captions import describe_band
from sdcreative_plugins.train.music.composer import compose_clip
from sdcreative_plugins.train.music.encode import (
    check_same_spectrogram,
    encode,
    samples_of,
    write_spectrogram,
)
from sdcreative_plugins.train.music.genres import GENRES
from sdcreative_plugins.train.music.score import FAMILIES, Clip, Note, Part
from sdcreative_plugins.train.pictures import split_held_out
from sdcreative_plugins.train.settings import RiffData, TrainSettings
from sdcreative_plugins.train.sources import describe_data, spectrogram_params

SMALL = SpectrogramParams(
    sample_rate=8000, step_ms=40, window_ms=100, padded_ms=200, bands=32, max_hz=4000
)
CLIPS = [compose_clip(number, 0, 5.6) for number in range(300)]


def silent(line: str) -> None:
    pass


def test_a_clip_is_its_number_and_seed() -> None:
    assert compose_clip(7, 0, 5.6) == CLIPS[7]
    assert compose_clip(7, 1, 5.6) != CLIPS[7] != CLIPS[8]


def test_every_genre_instrument_and_kind_is_composed() -> None:
    assert {clip.genre for clip in CLIPS} == set(GENRES)
    assert {clip.prominent for clip in CLIPS} == {*FAMILIES, "drums"}
    kinds = collections.Counter(clip.kind for clip in CLIPS)
    assert set(kinds) == {"solo", "band", "rhythm"} and min(kinds.values()) > 40


@pytest.mark.parametrize("genre", sorted(GENRES))
def test_patterns_are_whole_bars_of_letters_that_are_known(genre: str) -> None:
    music = GENRES[genre]
    drums = [row for bar in music.drums for row in bar.values()]
    rows = {"Xxo?.": drums, "R3578a-.": music.bass, "CH1234b-.": music.chords, "Xx-.": music.lead}
    for known, patterns in rows.items():
        for row in patterns:
            assert len(row) == 4 * music.beats and set(row) <= set(known)
    assert 70 <= music.tempi[0] < music.tempi[1] <= 170
    assert {*music.players, *dict(music.programs)} <= set(FAMILIES)


@pytest.mark.parametrize("clip", CLIPS[:100], ids=range(100))
def test_notes_can_be_played_and_begin_with_the_clip(clip: Clip) -> None:
    genre = GENRES[clip.genre]
    assert genre.tempi[0] <= clip.tempo <= genre.tempi[1]
    end = 5.6 * clip.tempo / 60 + 2 * genre.beats
    for part in clip.parts:
        assert part.notes and part.notes[0].start < genre.beats
        for note in part.notes:
            assert 0 <= note.start < end and note.length > 0
            assert 21 <= note.pitch <= 108 and 1 <= note.loudness <= 127
    families = [part.family for part in clip.parts]
    assert clip.prominent == families[-1]
    assert ("drums" in families) <= bool(genre.drums)
    if clip.kind == "solo":
        assert set(families) == {clip.prominent}


@pytest.mark.parametrize("clip", CLIPS[:100], ids=range(100))
def test_captions_say_what_is_decisive_and_nothing_false(clip: Clip) -> None:
    assert any(clip.prominent in text for text in clip.captions)
    assert any(clip.genre in text for text in clip.captions)
    said = {int(n) for text in clip.captions for n in re.findall(r"(\d+) bpm", text)}
    assert said == ({clip.tempo} if clip.timed else set())
    slow = any(text.startswith(("slow ", "a slow ")) for text in clip.captions)
    fast = any(text.startswith(("fast ", "a fast ")) for text in clip.captions)
    assert slow == (clip.tempo <= 88 or not clip.timed) and fast == (clip.tempo >= 132)
    others = set(FAMILIES) - {part.family for part in clip.parts} - {"bass"}
    assert not [text for text in clip.captions if any(name in text for name in others)]
    assert not [text for text in clip.captions if "  " in text or re.search(r"\ba a\b", text)]


def test_the_phrases_of_a_listener_are_among_the_captions() -> None:
    everything = {text for clip in CLIPS for text in clip.captions}
    everything |= set(describe_band("funk", "jazzy", "saxophone", "", "guitar", True, 110))
    everything |= set(describe_band("jazz", "jazzy", "piano", "", "piano", True, 80))
    for phrase in (
        "saxophone",
        "a saxophone solo",
        "funk bass line with a jazzy saxophone solo, 110 bpm",
        "jazz piano trio",
        "a slow jazz piano trio",
        "a drum solo",
        "waltz",
        "reggae rhythm with guitar",
    ):
        assert phrase in everything, phrase
    assert any(re.fullmatch(r"techno beat with \w+, \d+ bpm", text) for text in everything)


def test_a_settings_sound_font_has_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"data\.soundfont: .*no\.sf2 is no file"):
        render.find_sound_font(str(tmp_path / "no.sf2"))
    monkeypatch.setattr(render, "PLACES", (str(tmp_path / "a.sf3"),))
    with pytest.raises(DataError, match="apt install fluidr3mono-gm-soundfont"):
        render.find_sound_font(None)
    (tmp_path / "a.sf3").write_bytes(b"RIFF")
    assert render.find_sound_font(None) == tmp_path / "a.sf3"


def test_the_picture_of_a_tone_is_dark_where_the_tone_is() -> None:
    samples = samples_of(SMALL, 24)
    time = np.arange(samples) / SMALL.sample_rate
    tones = np.stack([0.5 * np.sin(2 * np.pi * hz * time) for hz in (400, 1600)])
    pictures, loudest = encode(tones.astype(np.float32), SMALL)
    assert pictures.shape == (2, 32, 24) and pictures.dtype == np.uint8
    tops = SMALL.corners()[1:-1]
    for picture, hz in zip(pictures, (400, 1600), strict=True):
        band = 31 - int(picture[:, 12].argmin())
        assert abs(band - int(np.abs(np.array(tops) - hz).argmin())) <= 1
    assert loudest[0] == pytest.approx(loudest[1], rel=0.5)
    louder = encode((2 * tones).astype(np.float32), SMALL)
    assert np.array_equal(louder[0], pictures)
    assert louder[1] == pytest.approx([2 * loud for loud in loudest], rel=1e-4)


def shard(folder: Path, number: int, count: int = 4) -> Path:
    rng = np.random.default_rng(number)
    pictures = rng.integers(0, 256, (count, 32, 24), dtype=np.uint8)
    facts = [ClipFacts((f"clip {number} {i}", "a clip"), 10.0 * i + number) for i in range(count)]
    write_shard(folder / f"{number:05d}", pictures, facts)
    return folder / f"{number:05d}"


def test_clips_are_drawings_that_stay_on_disk(tmp_path: Path) -> None:
    stems = [shard(tmp_path, n) for n in range(3)]
    clips = ClipPictures(stems, SMALL, 10)
    assert len(clips) == 10 and clips.loudest == 11.5
    drawing = clips[5]
    assert drawing.rgba.shape == (32, 24, 4) and (drawing.rgba[..., 3] == 255).all()
    stored = np.load(stems[1].with_suffix(".npy"))[1]
    assert all(np.array_equal(drawing.rgba[..., channel], stored) for channel in range(3))
    assert drawing.captions == ("clip 1 1", "a clip") and not drawing.mirror
    assert [d.captions[0] for d in clips[2:9:3]] == ["clip 0 2", "clip 1 1", "clip 2 0"]
    training, held_out = split_held_out(clips, 5)
    assert [d.captions[0] for d in held_out] == ["clip 1 0", "clip 2 1"]
    assert [d.captions[0] for d in training[:5]] == [
        *(f"clip 0 {i}" for i in range(4)),
        "clip 1 1",
    ]
    with pytest.raises(IndexError):
        clips[10]


def test_broken_shards_are_named(tmp_path: Path) -> None:
    stem = shard(tmp_path, 0)
    assert has_shard(stem)
    stem.with_suffix(".npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="00000: broken clips"):
        ClipPictures([stem], SMALL)
    shard(tmp_path, 0)
    rows = json.loads(stem.with_suffix(".json").read_text())
    stem.with_suffix(".json").write_text(json.dumps(rows[:2]))
    with pytest.raises(DataError, match="broken clips"):
        ClipPictures([stem], SMALL)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="clips cannot be kept"):
        shard(tmp_path / "file", 0)


class Hummer:
    """A sound font's stand-in: every note is a sine."""

    def __init__(self, font: Path, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def play(self, clip: Clip, samples: int) -> np.ndarray:
        line = np.zeros(samples, np.float32)
        time = np.arange(samples) / self.sample_rate
        for part in clip.parts:
            for note in part.notes:
                begin, end = (
                    round(beats * 60 / clip.tempo * self.sample_rate)
                    for beats in (note.start, note.start + note.length)
                )
                wave = np.sin(2 * np.pi * 440 * 2 ** ((note.pitch - 69) / 12) * time[begin:end])
                line[begin:end] += 0.02 * wave
        return line


@pytest.fixture
def hummed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RiffData:
    monkeypatch.setattr(riff, "Player", Hummer)
    monkeypatch.setattr(riff, "SHARD", 8)
    (tmp_path / "font.sf3").write_bytes(b"RIFF")
    return RiffData(source="riff", clips=20, soundfont=str(tmp_path / "font.sf3"), workers=1)


def test_clips_are_played_once_and_an_interrupted_playing_goes_on(
    hummed: RiffData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    clips = riff.read_riff(hummed, SMALL, 24, tmp_path / "cache", lines.append)
    assert len(clips) == 20 and clips[0].rgba.shape == (32, 24, 4)
    assert [row.genre for row in clips.facts] == [clip.genre for clip in CLIPS[:20]]
    assert [row.tempo for row in clips.facts] == [clip.tempo for clip in CLIPS[:20]]
    assert "playing 24 clips" in lines[0] and "24 of 24" in lines[-1]
    [folder] = (tmp_path / "cache").iterdir()
    (folder / "00001.json").unlink()
    before = [(folder / f"{n:05d}.npy").stat().st_mtime_ns for n in (0, 2)]
    again = riff.read_riff(hummed, SMALL, 24, tmp_path / "cache", lines.append)
    assert "playing 8 clips" in lines[-1]
    assert before == [(folder / f"{n:05d}.npy").stat().st_mtime_ns for n in (0, 2)]
    assert all(np.array_equal(clips.grey(i), again.grey(i)) for i in range(20))
    monkeypatch.setattr(riff, "compose_clip", None)
    fewer = hummed.model_copy(update={"clips": 9})
    assert len(riff.read_riff(fewer, SMALL, 24, tmp_path / "cache", silent)) == 9


def test_other_settings_are_other_clips(hummed: RiffData, tmp_path: Path) -> None:
    font = Path(str(hummed.soundfont))
    digests = {
        riff._Maker(font, SMALL, 24, 0).digest(),
        riff._Maker(font, replace(SMALL, step_ms=20), 24, 0).digest(),
        riff._Maker(font, SMALL, 32, 0).digest(),
        riff._Maker(font, SMALL, 24, 1).digest(),
    }
    font.write_bytes(b"another")
    digests.add(riff._Maker(font, SMALL, 24, 0).digest())
    assert len(digests) == 5


def settings(source: dict[str, Any], output: Path, **changes: Any) -> TrainSettings:
    plan = {"steps": 2, "batch": 4, "warmup": 0, "log_every": 1, "save_every": 2}
    values = {
        "data": source,
        "size": "48x32",
        "output": str(output),
        "autoencoder": {"channels": [8, 16], "cut": 16, "schedule": plan},
        "clip": {
            "size": 16,
            "width": 32,
            "layers": 1,
            "heads": 2,
            "vocabulary": 600,
            "schedule": plan,
        },
        "unet": {"channels": [32, 32], "variants": 1, "train_text": True, "schedule": plan},
    }
    return TrainSettings.model_validate({**values, **changes})


def spectrogram() -> dict[str, Any]:
    values = asdict(SMALL)
    return {
        k: values[k]
        for k in ("sample_rate", "step_ms", "window_ms", "padded_ms", "min_hz", "max_hz")
    }


def test_a_training_on_clips_ends_in_a_model_that_says_how_it_sounds(
    hummed: RiffData, tmp_path: Path
) -> None:
    data = {
        **hummed.model_dump(),
        "cache": str(tmp_path / "cache"),
        "spectrogram": spectrogram(),
    }
    output = tmp_path / "model"
    wanted = settings(data, output)
    run_training(wanted, Job(overwrite=False, dry_run=False, report=silent))
    said = json.loads((output / "spectrogram.json").read_text())
    loudest = said.pop("max_value")
    assert said.pop("version") == 1 and SpectrogramParams(**said) == SMALL and loudest > 0
    unet = json.loads((output / "unet" / "config.json").read_text())
    assert unet["sample_size"] == [16, 24]
    stored = torch.load(output / "training" / "unet" / "latents.pt", weights_only=True)
    latents = stored["latents"]
    assert latents.shape[1:] == (4, 16, 24) and len(latents) == 19

    on = settings(data, tmp_path / "on", start_from=str(output), autoencoder=None, clip=None)
    run_training(on, Job(overwrite=False, dry_run=False, report=silent))
    assert (tmp_path / "on" / "spectrogram.json").is_file()
    slower = {**data, "spectrogram": {**spectrogram(), "step_ms": 50}}
    off = settings(slower, tmp_path / "off", start_from=str(output), autoencoder=None, clip=None)
    with pytest.raises(UsageError, match=r"step_ms 40, not 50; set data.spectrogram.step_ms"):
        run_training(off, Job(overwrite=False, dry_run=False, report=silent))


def test_a_models_own_spectrogram_is_compared(tmp_path: Path) -> None:
    check_same_spectrogram(tmp_path, SMALL)
    write_spectrogram(tmp_path, SMALL, 5.0)
    check_same_spectrogram(tmp_path, SMALL)
    with pytest.raises(UsageError, match="bands 32, not 30; set the height of size"):
        check_same_spectrogram(tmp_path, replace(SMALL, bands=30))
    (tmp_path / "spectrogram.json").write_text('{"bands": 3}')
    with pytest.raises(ModelError, match="says nothing of a spectrogram"):
        check_same_spectrogram(tmp_path, SMALL)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"size": "48x"}, "size"),
        ({"size": "48x36"}, "48x36: give sides of at least 16, multiples of 8"),
        ({"size": "32x8"}, "size"),
        ({"size": "12x32"}, "sides of at least 16"),
        ({"data": {"source": "emoji"}}, "the drawings are square"),
        (
            {"autoencoder": {"cut": 56, "channels": [8, 16], "schedule": {"steps": 1}}},
            "up to the width of the pictures, 48",
        ),
        (
            {"autoencoder": {"cut": 18, "channels": [8, 8, 8], "schedule": {"steps": 1}}},
            "a multiple of 4",
        ),
        ({"clip": {"size": 20, "schedule": {"steps": 1}}}, "20 is not divisible by clip.patch 8"),
    ],
)
def test_sizes_that_do_not_fit_are_named(
    changes: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=complaint):
        settings({"source": "riff"}, tmp_path, **changes)


def test_a_spectrogram_that_cannot_be_is_an_error_before_anything_is_played(
    tmp_path: Path,
) -> None:
    wrong = settings({"source": "riff", "spectrogram": {"window_ms": 10}}, tmp_path / "out")
    with pytest.raises(UsageError, match="window_ms 10"):
        describe_data(wrong, silent)
    with pytest.raises(UsageError, match="max_hz"):
        spectrogram_params(
            settings({"source": "riff", "spectrogram": {"max_hz": 12000.0}}, tmp_path)
        )


@pytest.fixture(scope="module")
def player() -> render.Player:
    pytest.importorskip("tinysoundfont", reason="plays a sound font; needs tinysoundfont")
    try:
        font = render.find_sound_font(None)
    except DataError as error:
        pytest.skip(f"plays a sound font: {error}")
    return render.Player(font, 8000)


def test_a_sound_font_plays_the_same_clip_the_same_way(player: render.Player) -> None:
    samples = 3 * 8000
    first = player.play(CLIPS[0], samples)
    assert first.shape == (samples,) and first.dtype == np.float32
    assert 0.01 < np.abs(first).max() <= 1
    player.play(CLIPS[1], samples)
    assert np.array_equal(player.play(CLIPS[0], samples), first)


def test_notes_sound_when_and_as_high_as_they_are_written(player: render.Player) -> None:
    notes = (Note(1.0, 1.0, 69, 110), Note(3.0, 1.0, 81, 110))
    clip = Clip("jazz", "solo", "flute", 120, (Part("flute", 73, notes),), ("flute",), True)
    line = player.play(clip, 3 * 8000)
    assert np.abs(line[:3900]).max() == 0
    for begin, hz in ((4800, 440), (12800, 880)):
        heard = np.abs(np.fft.rfft(line[begin : begin + 2400] * np.hanning(2400)))
        strong = np.fft.rfftfreq(2400, 1 / 8000)[heard > 0.3 * heard.max()]
        assert min(abs(strong - hz)) < 10
