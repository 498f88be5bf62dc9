"""The benchmark of music models: its yardsticks, held against what they must say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import riff_classifier
import riff_evaluation
import riff_measures
import riff_quality
import riff_tempo
from riff_classifier import FAMILIES, NAMES, Labels
from sdcreative.spectral.params import SpectrogramParams
from sdcreative.tools import Job
from sdcreative_plugins.train.clips import ClipFacts, ClipPictures, write_shard
from sdcreative_plugins.train.job import run_training
from sdcreative_plugins.train.music.captions import describe_band, describe_solo
from sdcreative_plugins.train.music.composer import compose_clip
from sdcreative_plugins.train.settings import TrainSettings

PARAMS = SpectrogramParams(
    sample_rate=8000, step_ms=40, window_ms=100, padded_ms=200, bands=32, max_hz=4000
)


def draw_beats(tempo: float, step_seconds: float, columns: int = 256) -> Tensor:
    """Loudness (96, columns): a note on each beat that dies away, over quiet noise."""
    loud = torch.rand(96, columns, generator=torch.Generator().manual_seed(0)) * 0.1
    fading = torch.linspace(0.8, 0.1, 8)
    for beat in range(columns):
        start = round(beat * 60 / tempo / step_seconds)
        loud[10:60, start : start + 8] += fading[: max(0, columns - start)]
    return loud


def find_drawn(tempo: int) -> Tensor:
    """The tempo that is found, as a share of the drawn one; of beats from the start, and later."""
    pictures = torch.stack([draw_beats(tempo, 0.02), draw_beats(tempo, 0.02, 266)[:, 10:]])
    return riff_tempo.estimate_tempi(pictures, 0.02) / tempo


@pytest.mark.parametrize("tempo", range(60, 166, 5))
def test_the_tempo_of_drawn_beats_is_found(tempo: int) -> None:
    assert find_drawn(tempo).tolist() == pytest.approx([1, 1], abs=0.04)


@pytest.mark.parametrize("tempo", range(170, 181, 5))
def test_of_equal_beats_that_are_very_fast_every_second_one_may_be_counted(tempo: int) -> None:
    for share in find_drawn(tempo).tolist():
        assert min(abs(share - 1), abs(2 * share - 1)) < 0.04


def test_the_tempo_is_in_the_steps_of_the_picture() -> None:
    found = riff_tempo.estimate_tempi(draw_beats(100, 0.01, 512)[None], 0.01)
    assert float(found) == pytest.approx(100, rel=0.02)
    silent = riff_tempo.estimate_tempi(torch.zeros(1, 96, 256), 0.02)
    assert 0.99 * riff_tempo.SLOWEST < float(silent) < 1.01 * riff_tempo.FASTEST


def test_autocorrelation_is_the_mean_product_at_each_lag() -> None:
    curves = torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(1))
    found = riff_tempo.autocorrelation(curves)
    for lag in range(20):
        products = (curves[..., : 20 - lag] * curves[..., lag:]).sum(dim=1).mean(dim=1)
        energy = curves.square().sum(dim=1).mean(dim=1)
        assert torch.allclose(found[:, lag], products / energy, atol=1e-5)


def test_onsets_count_what_becomes_louder_only() -> None:
    loud = torch.zeros(1, 96, 11)
    loud[..., 4:8] = 0.5
    onsets = riff_tempo.onset_strength(loud)
    assert onsets.shape == (1, riff_tempo.GROUPS, 10)
    assert onsets[0, :, 3].tolist() == pytest.approx([0.45] * riff_tempo.GROUPS)
    assert onsets[0, :, 7].tolist() == pytest.approx([-0.05] * riff_tempo.GROUPS)


def test_errors_of_pictures_are_those_of_their_definition() -> None:
    loud, copies = torch.full((3, 8, 8), 0.5), torch.full((3, 8, 8), 0.4)
    figure = riff_measures.compare_pictures(loud, copies, power=0.5)
    assert figure.psnr == pytest.approx(20, abs=1e-4)
    assert figure.spectral == pytest.approx(20 * math.log10(0.09 / 0.25), abs=1e-4)
    assert riff_measures.compare_pictures(loud, loud, 0.25).spectral == pytest.approx(-100)


def test_chance_is_how_often_a_picture_suits_what_was_asked_of_another() -> None:
    asked, guessed = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0])
    figure = riff_measures.share_named(asked, guessed)
    # Of 12 pairs: the first two requests suit pictures 0 and 3, the third suits picture 1.
    assert (figure.pictures, figure.right, figure.chance) == (4, 0.5, pytest.approx(4 / 12))
    heard = torch.zeros(4, 3, dtype=torch.bool)
    heard[:, 0] = True
    heard[3, 2] = True
    figure = riff_measures.share_heard(asked, heard)
    assert (figure.right, figure.chance) == (0.75, pytest.approx(6 / 12))


def test_a_tempo_is_right_within_four_percent_and_octaves_are_told_apart() -> None:
    asked = torch.tensor([100.0, 100.0, 100.0, 100.0, 80.0])
    found = torch.tensor([103.9, 104.1, 51.0, 193.0, 84.0])
    genre = torch.tensor([0, 0, 0, 0, 1])
    figure = riff_measures.time_pictures(asked, found, genre)
    assert (figure.right, figure.octave) == (pytest.approx(0.2), pytest.approx(0.4))
    # Within the first genre three of twelve pairs are right, six an octave off; the second has one.
    assert (figure.chance, figure.octave_chance) == (pytest.approx(0.25), pytest.approx(0.5))


def test_the_nearest_clip_is_found_at_its_distance() -> None:
    clips = torch.rand(5, 96, 256, generator=torch.Generator().manual_seed(2)) * 0.5
    library = riff_measures.look(clips)
    looks = riff_measures.look(torch.stack([clips[3], clips[1] + 0.25]))
    found = riff_measures.nearest_distances(looks, library)
    assert float(found[0]) == pytest.approx(0, abs=1e-3)
    assert float(found[1]) == pytest.approx(0.25, abs=0.01)


def test_prompts_are_captions_of_the_composer() -> None:
    bands = riff_evaluation.choose_bands(99)
    assert len({(band.genre, band.lead) for band in bands}) == 99
    for band in bands:
        drums = band.genre not in ("ambient", "classical")
        captions = describe_band(band.genre, "", band.lead, "", "piano", drums, band.tempo)
        assert band.prompt in captions
        assert (band.tempo is None) == (band.genre == "ambient")
    assert {band.genre for band in riff_evaluation.choose_bands(11)} == set(NAMES)
    for family in FAMILIES:
        solo = riff_evaluation.solo_prompt(family)
        assert solo in describe_solo("jazz", "jazzy", family, "", None)


def test_labels_say_who_plays() -> None:
    labels = riff_classifier.compose_labels(range(5, 25), 0, 3.0)
    for place in range(20):
        clip = compose_clip(place + 5, 0, 3.0)
        heard = {FAMILIES[i] for i in labels.heard[place].nonzero().flatten().tolist()}
        assert heard == {part.family for part in clip.parts}
        assert FAMILIES[int(labels.family[place])] == clip.prominent in heard
        assert NAMES[int(labels.genre[place])] == clip.genre


def draw_clips(folder: Path, count: int) -> ClipPictures:
    """Pictures of the clips of series 0: a dark stripe for each family, as wide as the genre."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(200, 256, (count, 32, 48), dtype=np.uint8)
    facts = []
    for number, picture in enumerate(pictures):
        clip = compose_clip(number, 0, 3.0)
        row = 2 + 2 * FAMILIES.index(clip.prominent)
        picture[row : row + 2] = 0
        picture[26 + NAMES.index(clip.genre) // 2 : 32] //= 3
        facts.append(
            ClipFacts(
                clip.captions, 1e6 + number, clip.genre, clip.kind, clip.prominent, clip.tempo, True
            )
        )
    write_shard(folder / "00000", pictures, facts)
    return ClipPictures([folder / "00000"], PARAMS)


def label_series(places: Sequence[int]) -> Labels:
    return riff_classifier.compose_labels(places, 0, 3.0)


@pytest.fixture
def small_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BATCH": 24, "BANDS": 32, "COLUMNS": 48, "PIECE": 36}.items():
        monkeypatch.setattr(riff_classifier, name, value)


def never(places: Sequence[int]) -> Labels:
    raise AssertionError("the classifier is in the cache")


@pytest.mark.usefixtures("small_classifier")
def test_the_classifier_learns_and_is_cached(tmp_path: Path) -> None:
    clips, lines = draw_clips(tmp_path, 240), []
    training, held_out = riff_quality.split_places(clips, 4)

    def read(label: Callable[[Sequence[int]], Labels]) -> riff_classifier.Classifier:
        device = torch.device("cpu")
        return riff_classifier.read_classifier(
            clips, training, label, 40, tmp_path, device, lines.append
        )

    first, again = read(label_series), read(never)
    assert len(lines) == 1
    loud = riff_classifier.loudness(np.stack([clips.grey(place) for place in held_out]))
    guesses = first.guess(loud)
    assert torch.equal(guesses.heard, again.guess(loud).heard)
    right = label_series(held_out)
    assert riff_measures.share_named(right.family, guesses.family).right > 0.8
    # Whether the genre is told to its neighbour: two are drawn alike.
    assert riff_measures.share_named(right.genre // 2, guesses.genre // 2).right > 0.3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of pictures of 48x32, trained for a step."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(6):
        Image.new("RGB", (48, 32), (40 * number,) * 3).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"jazz {number}", "utf-8")
    plan = {"steps": 1, "batch": 2, "warmup": 0}
    values = {
        "data": {"source": "folder", "folder": str(folder)},
        "size": "48x32",
        "output": str(folder / "model"),
        "autoencoder": {"channels": [8, 16], "schedule": plan},
        "clip": {
            "size": 16,
            "width": 32,
            "layers": 1,
            "heads": 2,
            "vocabulary": 600,
            "schedule": plan,
        },
        "unet": {"channels": [32, 32], "variants": 1, "schedule": plan},
    }
    job = Job(overwrite=False, dry_run=False, report=lambda line: None)
    run_training(TrainSettings.model_validate(values), job)
    return folder / "model"


def write_preset(folder: Path, data: str = "{source: riff, clips: 60}", every: int = 2) -> Path:
    preset = folder / "mine.yaml"
    text = f"plugin: train\noutput: x\ndata: {data}\nsize: 48x32\nhold_out_every: {every}\n"
    preset.write_text(text + "autoencoder: {schedule: {steps: 1}}\n", "utf-8")
    return preset


@pytest.mark.usefixtures("small_classifier")
def test_from_end_to_end(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clips = draw_clips(tmp_path / "clips", 60)
    monkeypatch.setattr(riff_quality, "read_riff", lambda *arguments: clips)
    command = f"--model {model} --preset {write_preset(tmp_path)} --smoke --device cpu "
    command += f"--cache {tmp_path} --json {tmp_path}/a.json --sheet {tmp_path}/a.png"
    assert riff_quality.main(command.split()) == 0
    document = json.loads((tmp_path / "a.json").read_text("utf-8"))
    figures = document["figures"]
    assert document["clips"] == {"training": 30, "held_out": 30}
    assert figures["instrument, bands, generated"]["pictures"] == 4
    assert figures["instrument, solos, generated"]["pictures"] == len(FAMILIES)
    assert figures["tempo, all clips, held-out clips"]["pictures"] == 12
    assert figures["nearest clip, generated"]["pictures"] == 4 + len(FAMILIES)
    assert figures["nearest clip, copies"]["memorised"] == pytest.approx(0.95, abs=0.04)
    assert figures["autoencoder, held-out clips"]["psnr"] > 0
    table = capsys.readouterr().out.splitlines()[2:]
    measures = [line.partition(",")[0] for line in table]
    assert len(table) == len(figures)
    assert len(set(measures)) == 1 + sum(a != b for a, b in pairwise(measures))
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size == (riff_quality.SHEET_COLUMNS * 48, 4 * 32)

    yardsticks = f"--preset {write_preset(tmp_path)} --smoke --cache {tmp_path}"
    assert riff_quality.main(yardsticks.split()) == 0
    alone = capsys.readouterr().out
    assert "no model; 30 clips, 30 held out" in alone and "generated" not in alone
    assert "genre, all clips, held-out clips" in alone


def test_what_does_not_go_together_is_one_clear_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for data, every, complaint in (
        ("{source: folder, folder: y}", 2, "source: riff"),
        ("{source: riff}", 0, "set hold_out_every"),
    ):
        preset = write_preset(tmp_path, data, every)
        assert riff_quality.main(["--preset", str(preset), "--cache", str(tmp_path)]) == 2
        assert complaint in capsys.readouterr().err
    command = f"--model {model} --cache {tmp_path} --device cpu"
    assert riff_quality.main(command.split()) == 2
    said = capsys.readouterr().err
    assert "makes pictures of 48x32, the clips of train_riff are 256x96" in said
