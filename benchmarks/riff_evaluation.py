"""The run of riff_quality.py: what is asked of the model, painted, and measured in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emoji_evaluation import Painter, spread
from emoji_measures import reconstruct, summarise
from riff_classifier import FAMILIES, NAMES, Classifier, Labels, loudness
from riff_measures import (
    Figure,
    compare_pictures,
    look,
    nearest_distances,
    share_heard,
    share_named,
    time_pictures,
)
from riff_tempo import estimate_tempi
from sdcreative_plugins.train.clips import ClipPictures
from sdcreative_plugins.train.music.composer import LEADERS
from sdcreative_plugins.train.music.genres import GENRES

COPIES = 200
COPY_SHARE = 0.95
"""of the copies count as memorised"""
TOGETHER = 512
"""clips that are read at once"""


@dataclass(frozen=True)
class Band:
    """A genre, who leads, and beats per minute, or None where no beat can be heard."""

    genre: str
    lead: str
    tempo: int | None

    @property
    def prompt(self) -> str:
        """In the words of the captions: "funk with a guitar solo, 104 bpm"."""
        words = f"{self.genre} with {_a(self.lead)} {self.lead} solo"
        return words if self.tempo is None else f"{words}, {self.tempo} bpm"


def solo_prompt(family: str) -> str:
    """In the words of the captions: "an organ solo", "a bass line"."""
    return {"bass": "a bass line", "drums": "a drum solo"}.get(
        family, f"{_a(family)} {family} solo"
    )


def choose_bands(count: int) -> list[Band]:
    """So many pairs of a genre and a lead, evenly spread; tempi from all of the genre's range."""
    rng = np.random.default_rng(0)
    bands = []
    for name, lead in spread([(name, lead) for name in NAMES for lead in LEADERS], count):
        slowest, fastest = GENRES[name].tempi
        tempo = int(rng.integers(slowest, fastest + 1))
        bands.append(Band(name, lead, tempo if GENRES[name].timed else None))
    return bands


def _a(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


class Evaluation:
    """The measurements, one method each; they fill ``figures`` and ``sheet`` in order.

    Attributes:
        painter: paints pictures with the model; None measures the yardsticks alone.
        classifier: names instruments and genres.
        clips: all clips.
        training, held_out: places of those that the model learnt from, and of others.
        label: gives the labels of clips at such places.
        sheet: the generated pictures, (N, 3, bands, columns) in [-1, 1].
    """

    def __init__(
        self,
        painter: Painter | None,
        classifier: Classifier,
        clips: ClipPictures,
        training: Sequence[int],
        held_out: Sequence[int],
        label: Callable[[Sequence[int]], Labels],
    ) -> None:
        self.painter, self.classifier, self.clips = painter, classifier, clips
        self.training, self.held_out, self.label = training, held_out, label
        self.figures: dict[str, Figure] = {}
        self.sheet: list[Tensor] = []

    def run(self, bands: int, seeds: int, solo_seeds: int, references: int) -> None:
        held_out = spread(self.held_out, references)
        real = self._read(held_out)
        known = {"held-out clips": real}
        if self.painter:
            decoded = self._through_autoencoder(self.painter, real)
            error = compare_pictures(real, decoded, self.clips.params.power)
            self.figures["autoencoder, held-out clips"] = error
            known["through the autoencoder"] = decoded
            generated = [self.bands(self.painter, bands, seeds)]
            generated.append(self.solos(self.painter, solo_seeds))
            self.memory(self.painter, torch.cat(generated), real)
        for label, loud in known.items():
            self._judge_clips("bands", label, held_out, loud, "band")
            self._judge_clips("solos", label, held_out, loud, "solo")
        self._judge_clips("all clips", "held-out clips", held_out, real)

    def bands(self, painter: Painter, count: int, seeds: int) -> Tensor:
        """Loudness of pictures of bands; every picture has a seed of its own."""
        asked = [band for band in choose_bands(count) for _ in range(seeds)]
        loud = self._paint(painter, [band.prompt for band in asked])
        lead = torch.tensor([FAMILIES.index(band.lead) for band in asked])
        genre = torch.tensor([NAMES.index(band.genre) for band in asked])
        tempi = torch.tensor([float(band.tempo or 0) for band in asked])
        self._judge("bands, generated", loud, lead, genre, tempi)
        return loud

    def solos(self, painter: Painter, seeds: int) -> Tensor:
        """Loudness of pictures of one instrument alone; every picture has a seed of its own."""
        asked = [place for place in range(len(FAMILIES)) for _ in range(seeds)]
        loud = self._paint(painter, [solo_prompt(FAMILIES[place]) for place in asked])
        self._judge("solos, generated", loud, torch.tensor(asked))
        return loud

    def memory(self, painter: Painter, generated: Tensor, real: Tensor) -> None:
        """Distance to the nearest training clip of generated pictures, beside real clips'."""
        library = torch.cat(
            [
                look(self._read(self.training[start : start + TOGETHER]))
                for start in range(0, len(self.training), TOGETHER)
            ]
        )
        copies = self._through_autoencoder(painter, self._read(spread(self.training, COPIES)))
        compared = {"generated": generated, "held-out clips": real, "copies": copies}
        distances = {k: nearest_distances(look(v), library) for k, v in compared.items()}
        threshold = float(distances["copies"].quantile(COPY_SHARE))
        for label, values in distances.items():
            self.figures[f"nearest clip, {label}"] = summarise(values, threshold)

    def _judge_clips(
        self, label: str, source: str, places: Sequence[int], loud: Tensor, kind: str = ""
    ) -> None:
        """Clips of one kind, or of all; solos have no genre that must be heard."""
        facts = [self.clips.facts[place] for place in places]
        chosen = [i for i, row in enumerate(facts) if kind in ("", row.kind)]
        if not chosen:
            return
        labels = self.label([places[i] for i in chosen])
        tempi = torch.tensor([float(facts[i].tempo * facts[i].timed) for i in chosen])
        genre = (None, None) if kind == "solo" else (labels.genre, tempi)
        self._judge(f"{label}, {source}", loud[chosen], labels.family, *genre)

    def _judge(
        self,
        label: str,
        loud: Tensor,
        family: Tensor,
        genre: Tensor | None = None,
        tempi: Tensor | None = None,
    ) -> None:
        """Against the asked family, genre and tempo, (N,) each; a tempo of 0 is none."""
        guesses = self.classifier.guess(loud)
        self.figures[f"instrument, {label}"] = share_named(family, guesses.family)
        self.figures[f"instrument heard, {label}"] = share_heard(family, guesses.heard)
        if genre is None or tempi is None:
            return
        self.figures[f"genre, {label}"] = share_named(genre, guesses.genre)
        timed = tempi.nonzero().flatten()
        if len(timed):
            params = self.clips.params
            found = estimate_tempi(loud[timed], params.hop_length / params.sample_rate)
            self.figures[f"tempo, {label}"] = time_pictures(tempi[timed], found, genre[timed])

    def _paint(self, painter: Painter, prompts: Sequence[str]) -> Tensor:
        pixels = painter.paint(prompts, range(len(prompts)))
        self.sheet.append(pixels)
        return (1 - pixels.mean(dim=1)) / 2

    def _through_autoencoder(self, painter: Painter, loud: Tensor) -> Tensor:
        pixels = (1 - 2 * loud).unsqueeze(1).expand(-1, 3, -1, -1)
        return (1 - reconstruct(painter.studio, pixels).mean(dim=1)) / 2

    def _read(self, places: Sequence[int]) -> Tensor:
        return loudness(np.stack([self.clips.grey(place) for place in places]))
