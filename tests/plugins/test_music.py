"""The `music` tool: settings, pictures, and what is heard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image

from sdcreative import (
    Blend,
    Continuation,
    Crossfade,
    DataError,
    Mixture,
    Noise,
    Shot,
    SpectrogramParams,
    Timeline,
    UsageError,
    read_provenance,
)
from sdcreative.cli import build_cli
from sdcreative.host import Host
from sdcreative.presets import load_preset, validate
from sdcreative.runs.keys import frame_keys
from sdcreative_plugins.music.regions import kept_spans, region_mask
from sdcreative_plugins.music.settings import MusicSettings, Region
from sdcreative_plugins.music.timeline import timeline

RATE, HOP, WIDTH = 16_000, 320, 64
STEP = HOP / RATE


@pytest.fixture
def plan(musical: Path) -> Callable[..., Timeline]:
    def make(**values: Any) -> Timeline:
        values = {"prompt": "a tune", "model": str(musical), "steps": 2, **values}
        if values["prompt"] is None:
            del values["prompt"]
        return timeline(MusicSettings.model_validate(values))

    return make


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """3 s of 440 Hz on the left, 880 Hz on the right."""
    time = np.arange(3 * RATE) / RATE
    sides = [0.3 * np.sin(2 * np.pi * pitch * time) for pitch in (440, 880)]
    soundfile.write(tmp_path / "tone.wav", np.stack(sides, 1), RATE)
    return tmp_path / "tone.wav"


def shots(film: Timeline) -> list[Shot]:
    return [frame for frame in film if isinstance(frame, Shot)]


def overlap_of(film: Timeline) -> int:
    assert film.score is not None
    return film.score.overlap


# Length


def test_a_prompt_alone_is_one_picture(plan: Callable[..., Timeline]) -> None:
    film = plan()
    [shot] = shots(film)
    assert film.score is not None
    assert film.score.columns == WIDTH
    assert film.size == (64, 64)
    assert shot.image is None
    assert shot.prompt == Blend("a tune")


def test_longer_music_goes_on_from_picture_to_picture(plan: Callable[..., Timeline]) -> None:
    film = plan(seconds=4)
    first, *others = shots(film)
    assert film.score is not None
    assert film.score.columns == 4 / STEP + 1
    assert first.image is None
    starts = [shot.image for shot in others]
    assert all(isinstance(one, Continuation) and one.overlap == 32 for one in starts)
    assert WIDTH + 32 * (len(others) - 1) < film.score.columns <= WIDTH + 32 * len(others)
    assert len({shot.noise for shot in shots(film)}) == len(others) + 1


@pytest.mark.parametrize("tempo", [90, 117.5, 120, 174])
def test_pictures_begin_on_beats_and_the_tempo_is_exact(
    plan: Callable[..., Timeline], tempo: float
) -> None:
    score = plan(tempo=tempo, bars=8).score
    assert score is not None
    assert score.tempo == tempo
    assert score.columns == 1 + round(8 * 4 * 60 / tempo / STEP)
    beats = (WIDTH - score.overlap) * score.stretch * STEP * tempo / 60
    assert abs(beats * 16 - round(beats * 16)) < 1e-9
    assert abs(score.stretch - 1) <= 0.04


def test_the_tempo_is_said_as_the_pictures_have_it(plan: Callable[..., Timeline]) -> None:
    film = plan(tempo=117.5, bars=2)
    assert film.score is not None
    assert shots(film)[0].prompt.start == f"a tune, {round(117.5 * film.score.stretch)} bpm"
    assert shots(plan(prompt="a tune at 90 BPM", tempo=90))[0].prompt.start == "a tune at 90 BPM"


def test_a_short_loop_is_one_picture_that_wraps_around(plan: Callable[..., Timeline]) -> None:
    film = plan(tempo=120, beats=2, loop=True)
    assert film.seamless == "x"
    assert film.length == 1
    assert film.score is not None
    assert film.score.loop
    assert film.score.columns == 50
    assert film.size is not None
    assert film.size[0] % 32 == 0
    assert film.size[0] * film.score.stretch == pytest.approx(50)


def test_a_long_loop_is_a_ring_whose_last_picture_meets_the_first(
    plan: Callable[..., Timeline],
) -> None:
    film = plan(tempo=120, bars=2, loop=True)
    assert film.seamless == ""
    assert film.score is not None
    assert film.score.columns == 200
    hop = WIDTH - film.score.overlap
    assert hop * film.length * film.score.stretch == pytest.approx(200)
    *others, last = [shot.image for shot in shots(film)[1:]]
    assert all(isinstance(one, Continuation) and not one.closing for one in others)
    assert isinstance(last, Continuation)
    assert last.closing == last.overlap == film.score.overlap
    assert WIDTH - 2 * film.score.overlap >= WIDTH // 4  # so much is left to paint


def test_a_tempo_without_a_length_is_one_picture_too(plan: Callable[..., Timeline]) -> None:
    for tempo in (90, 117.5, 120, 174):
        film = plan(tempo=tempo)
        assert film.score is not None
        assert film.length == 1
        assert WIDTH - 1 < film.score.columns / film.score.stretch <= WIDTH


def test_a_loop_without_a_length_has_whole_bars(plan: Callable[..., Timeline]) -> None:
    for tempo, bar, beats in ((200, None, 4), (400, None, 8), (95, None, 4), (190, 3, 3)):
        score = plan(tempo=tempo, loop=True, beats_per_bar=bar).score
        assert score is not None
        assert score.columns == round(beats * 60 / tempo / STEP)
    plain = plan(loop=True).score
    assert plain is not None
    assert (plain.columns, plain.stretch) == (WIDTH, 1.0)


def test_a_waltz_has_bars_of_three_unless_told_otherwise(plan: Callable[..., Timeline]) -> None:
    for bar, beats in ((None, 3), (4, 4)):
        score = plan(tempo=120, bars=2, beat="waltz", beats_per_bar=bar).score
        assert score is not None
        assert score.columns == 1 + round(2 * beats * 0.5 / STEP)


def test_frames_come_as_fast_as_they_are_heard(plan: Callable[..., Timeline]) -> None:
    for values in ({"seconds": 4}, {"seconds": 4, "stereo": True}, {"seconds": 4, "loop": True}):
        film = plan(**values)
        assert film.length / film.fps == pytest.approx(4)


# Sections


SONG = [
    {"prompt": "intro", "bars": 2},
    {"prompt": "chorus", "bars": 2, "negative_prompt": "noise", "seed": 50},
]


def test_sections_change_where_they_begin(plan: Callable[..., Timeline]) -> None:
    film = plan(prompt=None, sections=SONG, tempo=120, negative_prompt="hiss")
    assert film.score is not None
    step = STEP * film.score.stretch
    for number, shot in enumerate(shots(film)):
        start = number * (WIDTH - film.score.overlap) + (film.score.overlap if number else 0)
        middle = (start + number * (WIDTH - film.score.overlap) + WIDTH) / 2 * step
        second = middle >= 4.0
        assert shot.prompt.start.startswith("chorus" if second else "intro")
        assert shot.negative == Blend("noise" if second else "hiss")
        assert shot.noise == Noise(50 + number if second else number)


def test_sections_glide_into_the_next(plan: Callable[..., Timeline]) -> None:
    film = plan(prompt=None, sections=SONG, tempo=120, glide=0.5)
    blends = [shot.prompt for shot in shots(film)]
    assert blends[0].end is None
    passing = [blend for blend in blends if blend.end is not None]
    assert len(passing) > 1
    assert [blend.t for blend in passing] == sorted(blend.t for blend in passing)
    assert all(blend.start.startswith("intro") for blend in passing)


def test_the_last_picture_of_a_ring_is_what_is_left_of_the_circle(
    plan: Callable[..., Timeline],
) -> None:
    film = plan(prompt=None, sections=SONG, tempo=120, loop=True, glide=1)
    assert film.score is not None
    hop, overlap = WIDTH - film.score.overlap, film.score.overlap
    around, last = hop * film.length, shots(film)[-1].prompt
    middle = (around - (hop - overlap) / 2) / around * 8.0
    assert (last.start[:6], (last.end or "")[:5]) == ("chorus", "intro")
    assert last.t == pytest.approx((middle - 4) / 4, abs=0.01)


def test_a_section_that_no_picture_belongs_to_is_said(plan: Callable[..., Timeline]) -> None:
    short = [SONG[0], {"prompt": "break", "name": "break", "seconds": 0.01}, SONG[1]]
    with pytest.raises(
        UsageError, match=r"section break of 0\.01 s is too short .* 0\.[5-9]\d* s at"
    ):
        plan(prompt=None, sections=short, tempo=120)


def test_an_empty_prompt_is_one(plan: Callable[..., Timeline]) -> None:
    assert shots(plan(prompt=""))[0].prompt == Blend("")
    assert shots(plan(prompt="", tempo=120, bars=1))[0].prompt.start.endswith(" bpm")
    assert "," not in shots(plan(prompt="", tempo=120, bars=1))[0].prompt.start


def test_a_walk_makes_pictures_by_themselves_between_prompts_and_seeds(
    plan: Callable[..., Timeline],
) -> None:
    film = plan(prompt=None, sections=SONG, tempo=120, join="walk")
    assert all(shot.image is None for shot in shots(film))
    assert overlap_of(film) < 32
    mixed = [shot.noise for shot in shots(film) if isinstance(shot.noise, Mixture)]
    assert mixed
    for noise in mixed:
        assert sum(weight**2 for _, weight in noise.terms) == pytest.approx(1)
        assert [seed for seed, _ in noise.terms] == [0, 50]
    assert shots(film)[-1].prompt.end is None


def test_sides_share_their_prompt_and_most_of_their_noise(plan: Callable[..., Timeline]) -> None:
    film = plan(seconds=2, stereo=True)
    assert film.voices == 2
    left, right = shots(film)[:2]
    assert left.prompt == right.prompt
    assert left.noise == Noise(0)
    assert isinstance(right.noise, Mixture)
    assert dict(right.noise.terms)[0] == pytest.approx(np.cos(0.1 * np.pi))


# From a beat, a picture, a sound


def test_a_beat_goes_on_from_picture_to_picture(plan: Callable[..., Timeline]) -> None:
    film = plan(tempo=120, bars=4, beat="techno", key="A minor")
    first, second, *_ = shots(film)
    assert isinstance(first.image, Image.Image)
    assert isinstance(second.image, Continuation)
    assert second.image.image is not None
    assert first.strength == second.strength == 0.75
    hop = WIDTH - overlap_of(film)
    ends = np.asarray(first.image, int)[:, hop:]
    begins = np.asarray(second.image.image, int)[:, : WIDTH - hop]
    assert np.abs(ends - begins).max() <= 2
    assert ends.std() > 20


def test_the_beat_of_a_loop_repeats_without_a_seam(plan: Callable[..., Timeline]) -> None:
    [shot] = shots(plan(tempo=120, beats=2, loop=True, beat="rock"))
    assert isinstance(shot.image, Image.Image)
    levels = np.asarray(shot.image.convert("L"), float)
    steps = np.abs(np.diff(np.concatenate([levels, levels[:, :1]], 1), axis=1)).mean(0)
    assert steps[-1] <= steps.max()
    # The first beat, which follows the seam, is heard before it by half a window only.
    assert np.abs(np.roll(levels, 4, 1)[:, :8] - levels[:, :8]).mean() > 0


def test_a_beat_is_played_again_after_whole_bars(plan: Callable[..., Timeline]) -> None:
    film = plan(tempo=150, bars=16, beat="waltz")
    assert film.score is not None
    hop = (WIDTH - film.score.overlap) * film.score.stretch * STEP
    period = round(4 * 3 * 0.4 / hop)
    assert period * hop == pytest.approx(4.8)
    first, again = (start_of(shots(film)[number]) for number in (1, 1 + period))
    assert np.abs(first - again).max() <= 2
    assert np.abs(first - start_of(shots(film)[2])).max() > 20


def start_of(shot: Shot) -> np.ndarray:
    """The levels that a shot starts from, 64 by 64."""
    image = shot.image.image if isinstance(shot.image, Continuation) else shot.image
    assert isinstance(image, Image.Image)
    return np.asarray(image.convert("L"), int)


@pytest.fixture
def wavy(tmp_path: Path) -> Path:
    """A spectrogram of 40 columns: waves on its left side, white on the right one."""
    levels = np.full((64, 40, 3), 255, np.uint8)
    levels[..., 0] = 0
    levels[..., 1] = (128 + 100 * np.sin(np.arange(40) / 40 * 2 * np.pi)).round()
    exif = Image.Exif()
    for tag, value in SpectrogramParams(**_params(), stereo=True).to_exif().items():
        exif[tag] = value
    Image.fromarray(levels).save(tmp_path / "wavy.png", exif=exif)
    return tmp_path / "wavy.png"


def test_an_image_begins_again_at_its_end(plan: Callable[..., Timeline], wavy: Path) -> None:
    film = plan(image=str(wavy), seconds=4)
    hop = WIDTH - overlap_of(film)
    wave = (128 + 100 * np.sin(np.arange(40) / 40 * 2 * np.pi)).round()
    for number, shot in enumerate(shots(film)):
        columns = (number * hop + np.arange(WIDTH)) % 40
        assert (start_of(shot) == wave[columns]).all()
        assert shot.strength == 0.75


def test_an_image_is_as_long_as_it_says_and_stretched_with_the_tempo(
    plan: Callable[..., Timeline], tmp_path: Path
) -> None:
    ramp = np.linspace(0, 250, 160).astype(np.uint8)
    Image.fromarray(np.tile(ramp, (512, 1))).save(tmp_path / "seed.png")  # 1.6 s as Riffusion's
    film = plan(image=str(tmp_path / "seed.png"), tempo=120, seconds=3, strength=0.4)
    assert film.score is not None
    assert film.score.stretch != 1
    columns = round(1.6 / STEP / film.score.stretch)
    levels = start_of(shots(film)[0])[32]
    assert np.abs(levels - np.arange(WIDTH) / columns * 250).max() < 6
    assert shots(film)[0].strength == 0.4


def test_sides_of_an_image_are_kept_or_the_louder_one_counts(
    plan: Callable[..., Timeline], wavy: Path, tmp_path: Path
) -> None:
    left, right = shots(plan(image=str(wavy), stereo=0.5))
    assert start_of(left).min() < 30
    assert start_of(right).min() == 255
    assert left.noise == right.noise
    Image.open(wavy).getchannel(1).save(tmp_path / "one.png")
    left, right = shots(plan(image=str(tmp_path / "one.png"), stereo=0.5))
    assert (start_of(left) == start_of(right)).all()
    assert left.noise != right.noise
    [mono] = shots(plan(image=str(wavy)))
    assert (start_of(mono) == start_of(left)).all()


def test_a_mask_is_laid_on_the_image(
    plan: Callable[..., Timeline], wavy: Path, tmp_path: Path
) -> None:
    painted = np.zeros((64, 40), np.uint8)
    painted[:, :20] = 255
    Image.fromarray(painted).save(tmp_path / "mask.png")
    film = plan(image=str(wavy), mask=str(tmp_path / "mask.png"), seconds=2)
    hop = WIDTH - overlap_of(film)
    for number, shot in enumerate(shots(film)):
        assert shot.mask is not None
        white = (number * hop + np.arange(WIDTH)) % 40 < 20
        assert ((np.asarray(shot.mask) == 255) == white).all()


def test_a_mask_without_white_is_refused(plan: Callable[..., Timeline], tmp_path: Path) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "black.png")
    with pytest.raises(DataError, match=r"black\.png: is black all over"):
        plan(tempo=120, beat="rock", mask=str(tmp_path / "black.png"))


def test_pictures_of_a_sound_are_its_spectrogram(plan: Callable[..., Timeline], tone: Path) -> None:
    film = plan(audio=str(tone), strength=0.3)
    assert film.score is not None
    assert film.score.columns == 1 + 3 * RATE // HOP
    first, second, *_ = shots(film)
    assert isinstance(first.image, Image.Image)
    assert first.strength == second.strength == 0.3
    assert isinstance(second.image, Continuation)
    loud = np.asarray(first.image.convert("L"), int)[:, 20]
    tops = np.array(SpectrogramParams(**_params()).corners()[1:-1])[::-1]
    assert sorted(tops[np.argsort(loud)[:2]]) == pytest.approx([440, 880], rel=0.12)


def _params() -> dict[str, Any]:
    return {
        "sample_rate": RATE, "step_ms": 20, "window_ms": 80, "padded_ms": 160,
        "bands": 64, "max_hz": 8000,
    }  # fmt: skip


def test_both_sides_of_a_sound_are_kept_where_stereo_is_asked_for(
    plan: Callable[..., Timeline], tone: Path
) -> None:
    film = plan(audio=str(tone), stereo=True)
    left, right = shots(film)[:2]
    assert isinstance(left.image, Image.Image)
    assert isinstance(right.image, Image.Image)
    assert left.noise == right.noise
    darkest = [np.asarray(one.image.convert("L"), int)[:, 20].argmin() for one in (left, right)]
    assert darkest[0] > darkest[1]  # rows: the left one is the lower tone


def test_one_side_becomes_two_where_stereo_is_asked_for(
    plan: Callable[..., Timeline], tone: Path, tmp_path: Path
) -> None:
    sound, _ = soundfile.read(tone)
    soundfile.write(tmp_path / "mono.wav", sound[:, 0], RATE)
    film = plan(audio=str(tmp_path / "mono.wav"), stereo=0.3)
    left, right = shots(film)[:2]
    assert film.voices == 2
    assert (start_of(left) == start_of(right)).all()
    assert isinstance(right.noise, Mixture)
    assert plan(audio=str(tmp_path / "mono.wav")).voices == 1


def test_a_sound_passes_over_into_silence(
    plan: Callable[..., Timeline], tone: Path, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(2 * RATE), RATE)
    silent, alone = str(tmp_path / "silent.wav"), plan(audio=str(tone)).score
    assert alone is not None
    for values in (
        {"audio": str(tone), "morph_to": silent},
        {"audio": silent, "morph_to": str(tone)},
    ):
        score = plan(**values).score
        assert score is not None
        assert score.max_value == alone.max_value
    score = plan(audio=silent).score
    assert score is not None
    assert score.max_value == 2e6


def test_a_piece_of_a_file_is_taken(plan: Callable[..., Timeline], tone: Path) -> None:
    film = plan(audio={"file": str(tone), "start": 1, "seconds": 1.5})
    assert film.score is not None
    assert film.score.columns == 1 + 1.5 * RATE // HOP


def test_a_morph_passes_from_one_sound_to_the_other(
    plan: Callable[..., Timeline], tone: Path
) -> None:
    film = plan(audio=str(tone), morph_to={"file": str(tone), "start": 0.5})
    starts = [shot.image for shot in shots(film)]
    assert all(isinstance(one, Crossfade) for one in starts)
    places = [one.t for one in starts if isinstance(one, Crossfade)]
    assert places == pytest.approx(np.linspace(0, 1, len(places)))
    assert len({shot.noise for shot in shots(film)}) == 1
    assert film.score is not None
    assert film.score.columns == 1 + 2.5 * RATE // HOP


def test_only_what_is_to_be_repainted_is_painted(plan: Callable[..., Timeline], tone: Path) -> None:
    film = plan(audio=str(tone), repaint=[{"seconds": [2.0, 2.5]}])
    hop = WIDTH - overlap_of(film)
    for number, shot in enumerate(shots(film)):
        reached = number * hop < 2.5 / STEP and number * hop + WIDTH > 2.0 / STEP
        assert shot.strength == float(reached)
        assert (shot.mask is not None) == reached
    assert film.score is not None
    assert film.score.original is not None
    assert film.score.original.spans == ((0.0, 1.96), (2.54, 3.0))


def test_regions_are_white_in_their_time_and_band() -> None:
    params = SpectrogramParams(**_params())
    regions = [Region(seconds=[1.0, 2.0], hz=[0, 500])]
    mask = region_mask(regions, 40, 64, params)
    assert mask is not None
    white = np.asarray(mask) == 255
    assert white.any(0).tolist() == [50 <= 40 + x < 100 for x in range(64)]
    tops = np.array(params.corners()[1:-1])[::-1]
    assert white.any(1).tolist() == (tops < 500).tolist()
    assert region_mask(regions, 200, 64, params) is None


def test_spans_between_regions_keep_half_a_window_away() -> None:
    params = SpectrogramParams(**_params())
    regions = [Region(seconds=[0.0, 0.5]), Region(seconds=[2.0, 2.1]), Region(seconds=[2.15, 3.0])]
    assert kept_spans(regions, 3.0, params) == ((0.54, 1.96),)
    assert kept_spans([Region(hz=[0, 500])], 3.0, params) == ()


# Faults


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"seconds": 0.01}, r"0\.01 s of music is too short; give at least 0\.08 s"),
        ({"seconds": 1e-300}, "1e-300 s of music is too short"),
        ({"prompt": None, "sections": [{"prompt": "a", "seconds": 0.01}]}, "music is too short"),
        ({"loop": True, "seconds": 0.1}, r"a loop of 0\.1 s; give 0\.32 to 327\.68 s"),
        ({"loop": True, "seconds": 1000}, "a loop of 1000 s; give"),
        ({"tempo": 20, "bars": 360_000, "beats_per_bar": 64}, "s of music; up to 360000 are made"),
        ({"tempo": 400, "beat": "waltz", "loop": True}, "tempo 400: .* are made at 421.9, and"),
    ],
)
def test_lengths_that_cannot_be_are_said_before_anything_is_made(
    plan: Callable[..., Timeline], values: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        list(plan(**values))


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ({"seconds": [3.5, 9]}, r"repaint\.1\.seconds: no column lies in 3\.5 to 9; .* to 3 s"),
        ({"seconds": [1.001, 1.002]}, "one every 20 ms"),
        ({"hz": [9000, 20000]}, r"repaint\.1\.hz: no band lies in 9000 to 20000; the 64"),
        ({"seconds": [1, 2], "hz": [440, 440.01]}, "no band lies in 440 to 440.01"),
    ],
)
def test_regions_in_which_nothing_lies_are_refused(
    plan: Callable[..., Timeline], tone: Path, region: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        plan(audio=str(tone), repaint=[{"seconds": [0, 1]}, region])


def test_a_sound_too_short_to_be_heard_is_refused(
    plan: Callable[..., Timeline], tone: Path
) -> None:
    with pytest.raises(UsageError, match=r"0\.06 s of music is too short"):
        plan(audio={"file": str(tone), "seconds": 0.07})


@pytest.mark.parametrize("channels", [6, 8])
def test_a_sound_of_another_rate_with_more_channels_is_mixed(
    plan: Callable[..., Timeline], tmp_path: Path, channels: int
) -> None:
    noise = np.random.default_rng(0).standard_normal((96_000, channels)) * 0.1
    soundfile.write(tmp_path / "many.wav", noise, 96_000, subtype="PCM_24")
    film = plan(audio=str(tmp_path / "many.wav"), stereo=True)
    assert film.voices == 2
    assert film.score is not None
    assert film.score.columns == 51


def test_the_shorter_sound_is_as_long_as_the_morph(
    plan: Callable[..., Timeline], tone: Path, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "long.wav", np.ones(60 * RATE) * 0.1, RATE)
    film = plan(audio=str(tmp_path / "long.wav"), morph_to={"file": str(tone), "seconds": 0.5})
    assert film.score is not None
    assert (film.length, film.score.columns) == (1, 26)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seconds: 3", "missing key 'prompt', or 'sections'"),
        ("prompt: a\nsections: [{prompt: b, bars: 2}]\ntempo: 100", "'prompt' or 'sections'"),
        ("prompt: a\nbars: 4", "'bars' needs 'tempo'|bars.*needs 'tempo'"),
        ("prompt: a\nseconds: 3\nbars: 4\ntempo: 100", "'seconds' or 'bars', not both"),
        ("sections: [{prompt: b, bars: 2}]", "needs 'tempo'"),
        ("sections: [{prompt: b}]", "'bars', 'beats' or 'seconds'"),
        ("prompt: a\nbeat: tecno\ntempo: 100", "no beat; choose"),
        ("prompt: a\nbeat: techno", "needs 'tempo'"),
        ("prompt: a\nkey: H\nbeat: techno\ntempo: 100", "key"),
        ("prompt: a\nstrength: 0.5", "needs 'audio', 'image' or 'beat'"),
        ("prompt: a\nmorph_to: b.wav", "needs 'audio'"),
        ("prompt: a\nrepaint: [{hz: [0, 100]}]", "needs 'audio'"),
        ("prompt: a\naudio: a.wav\nrepaint: [{hz: [300, 100]}]", "give the smaller one first"),
        ("prompt: a\naudio: a.wav\nrepaint: [{}]", "give 'seconds', 'hz' or both"),
        ("prompt: a\naudio: a.wav\nloop: true", "as long as 'audio'"),
        ("prompt: a\nloop: true\nfade_out: 2", "a loop has no end"),
        ("prompt: a\nprocess: [deflicker]", "for pictures that are looked at"),
        ("prompt: a\nglide: 0.5", "for 'sections'"),
        ("prompt: a\nseconds: 1.0e9", "seconds: 1000000000.0 is too large; at most 360000"),
        ("prompt: a\nseconds: .nan", "seconds: nan is not a finite number"),
        ("prompt: a\nseconds: true", "true is not a number"),
        ("prompt: a\nbeats_per_bar: 3", "beats_per_bar.*needs 'tempo'"),
        ("prompt: a\nbeats_per_bar: 0\ntempo: 90", "too small; at least 1"),
        ("prompt: a\naudio: a.wav\ntempo: 90\nbeats_per_bar: 3", "as long as 'audio'"),
        ("prompt: a\nimage: a.png\naudio: a.wav", "'audio' or 'image', not both"),
        ("prompt: a\naudio: a.wav\nmask: a.png", "needs 'image' or 'beat'"),
        ("prompt: a\naudio: a.wav\nseconds: 3", "say it in audio"),
        ("prompt: a\nmorph_to: a.wav\naudio: b.wav\nrepaint: [{hz: [0, 9]}]", "between two"),
        ("sections: [{prompt: '', seconds: 3}]", "too short; at least 1"),
        ("sections: []", "at least 1"),
        ("prompt: a\nstereo: 2", "too large; at most 1"),
        ("prompt: a\nalso: ['']", "too short; at least 1"),
        ("prompt: a\ntempo: 5", "greater than or equal to 20|20"),
        ("prompt: a\ntemp: 100", "tempo"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, text: str, said: str) -> None:
    from sdcreative import PresetError

    path = tmp_path / "song.yaml"
    path.write_text(f"plugin: music\n{text}\n")
    with pytest.raises(PresetError, match=said):
        validate(load_preset(str(path), {}, (), plugin="music"), MusicSettings)


def test_a_model_of_pictures_makes_no_music(plan: Callable[..., Timeline]) -> None:
    with pytest.raises(UsageError, match="'emoji' makes pictures 64 pixels high, and no spectro"):
        plan(model="emoji")


def test_sizes_are_those_of_the_bands(plan: Callable[..., Timeline]) -> None:
    with pytest.raises(UsageError, match=r"size 64x32: .* has 64 bands"):
        plan(size="64x32")
    with pytest.raises(UsageError, match=r"size 70x64: .*multiple of 4"):
        plan(size="70x64")


def test_a_sound_that_is_not_there_is_said(plan: Callable[..., Timeline]) -> None:
    with pytest.raises(DataError, match=r"gone\.wav: no such file"):
        plan(audio="gone.wav")


# All of it


def music(*words: str) -> Any:
    return CliRunner().invoke(build_cli(Host.load(enabled=True)), ["music", *words])


def test_words_become_a_file_that_says_how_it_was_made(musical: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.wav"
    common = ["a funk tune", "--model", str(musical), "--steps", "2", "--set", "seconds=2"]
    result = music(*common, "-o", str(out))
    assert result.exit_code == 0, result.output
    assert "a.wav: 2.00 s, 3 frames of 64x64, seed 0" in result.output
    heard, rate = soundfile.read(out)
    assert (len(heard), rate) == (2 * RATE, RATE)
    found = read_provenance(out)
    assert found.plugin == "music"
    assert found.settings["prompt"] == "a funk tune"


def test_the_same_settings_are_the_same_bytes_and_nothing_is_made_twice(
    musical: Path, tmp_path: Path
) -> None:
    common = ["a funk tune", "--model", str(musical), "--steps", "2", "--set", "seconds=2"]
    music(*common, "-o", str(tmp_path / "a.flac"))
    again = music(*common, "-o", str(tmp_path / "b.flac"))
    assert "3 of 3 frames are there already" in again.output
    first, second = (soundfile.read(tmp_path / name)[0] for name in ("a.flac", "b.flac"))
    assert (first == second).all()


def test_a_longer_piece_takes_over_the_pictures_of_a_shorter_one(
    musical: Path, tmp_path: Path
) -> None:
    common = ["a funk tune", "--model", str(musical), "--steps", "2"]
    music(*common, "--set", "seconds=2", "-o", str(tmp_path / "a.wav"))
    longer = music(*common, "--set", "seconds=3", "-o", str(tmp_path / "b.wav"))
    assert "3 of 4 frames are there already" in longer.output


def test_sound_at_strength_zero_comes_back(musical: Path, tmp_path: Path, tone: Path) -> None:
    out = tmp_path / "same.wav"
    result = music(
        "a tune", "--model", str(musical), "--steps", "2", "-o", str(out), "--set", "strength=0",
        "--set", f"audio={tone}", "--set", "stereo=true", "--set", "loudness=null",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    heard, _ = soundfile.read(out)
    for side, pitch in enumerate((440, 880)):
        part = heard[8000:-8000, side]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        assert abs(spectrum.argmax() * RATE / len(part) - pitch) < 25
        assert abs(np.sqrt(2 * (part**2).mean()) / 0.3 - 1) < 0.3


def test_where_nothing_is_repainted_the_sound_is_the_original(
    musical: Path, tmp_path: Path, tone: Path
) -> None:
    out = tmp_path / "new.flac"
    result = music(
        "a tune", "--model", str(musical), "--steps", "2", "-o", str(out),
        "--set", f"audio={tone}", "--set", "stereo=true", "--set", "loudness=null",
        "--set", "repaint=[{seconds: [1.0, 1.5]}]",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    heard, _ = soundfile.read(out)
    was, _ = soundfile.read(tone)
    kept = slice(round(0.1 * RATE), round(0.9 * RATE))
    # What is painted may be so loud that all is turned down.
    gain = np.sum(heard[kept] * was[kept]) / np.sum(was[kept] ** 2)
    apart = np.abs(heard / gain - was[: len(heard)]).max(1)
    assert 0 < gain <= 1.001
    assert apart[200 : round(0.93 * RATE)].max() < 1e-3
    assert apart[round(1.6 * RATE) : -200].max() < 1e-3
    assert apart[round(1.05 * RATE) : round(1.45 * RATE)].max() > 0.02


def test_a_dry_run_makes_nothing(musical: Path, tmp_path: Path) -> None:
    result = music(
        "a tune", "--model", str(musical), "--set", "seconds=3", "-o", str(tmp_path / "a.wav"),
        "--dry-run",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "frames       4" in result.output
    assert not list(tmp_path.iterdir())


def test_keys_of_both_sides_differ(plan: Callable[..., Timeline]) -> None:
    film = plan(seconds=2, stereo=True)
    keys = list(frame_keys(film, model="m", size=(64, 64), dtype="float32"))
    assert len(set(keys)) == film.length == 6
