"""Looks at a word while it is learned: its pictures, and what a pair of CLIP says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from sdcreative import PictureText, Studio, load_pair
from sdcreative.models.addons.embedding_installing import install
from sdcreative.models.loading import Parts

from ..tuning.looks import awake, render
from .judge_settings import JudgeSettings
from .scenes import Kind, fill, plan
from .sheets import draw_sheet
from .verdicts import Cosines, Verdict, compare, editability, own_likeness, similarity

PAIR = "clip"
"""folder of a pair in that of a diffusion model"""
BUILTIN_PAIR = "emoji"

Rows = Tensor | Sequence[Tensor]
"""(n, width) for a model with one text encoder that learns, or one such tensor for each"""


def choose_pair(asked: str | None, model: Path) -> str:
    """Name of the pair to judge with: the one asked for, else the model's own, else built in.

    Args:
        asked: as for ``load_pair``; None if nobody asked.
        model: folder or file of the diffusion model.
    """
    if asked is not None:
        return asked
    return str(model) if (model / PAIR / "config.json").is_file() else BUILTIN_PAIR


class Judge:
    """The same prompts and seeds, for the initial word once and for the learned one at every look.

    Similarity is compared by pictures (R. Gal et al., "An image is worth one word", ICLR 2023,
    section 5, there with CLIP's cosines too), editability by the texts of scenes. Their cosines
    differ from pair to pair, so both are given by those of the initial word; see ``Verdict``.
    """

    def __init__(
        self,
        parts: Parts,
        token: str,
        initial: str,
        pictures: Sequence[Image],
        settings: JudgeSettings,
        seed: int | None = None,
        *,
        kind: Kind = "object",
        pair: PictureText | None = None,
        size: tuple[int, int] | None = None,
        resting: Sequence[str] = (),
    ) -> None:
        """Make the pictures of the initial word.

        Args:
            parts: the model, of any family; its random state and that of torch stay as they are.
            token: the word that is learned, such as "<toy>".
            initial: the word or phrase that it begins as, or the nearest that the model knows.
            pictures: training pictures, RGB, one or more.
            settings: what to make, and what compares.
            seed: of the first picture; that of the settings if left out.
            kind: what is learned, for the usual prompts.
            pair: what compares; that of the settings, or the built-in one, if left out.
            size: (width, height) in pixels; the model's own if left out.
            resting: names of parts that are in main memory while the model is trained.

        Raises:
            ModelError, UsageError: no such pair, or one without texts or pictures.
            RenderError: a picture came out as NaN.
        """
        self.parts, self.token, self.initial = parts, token, initial
        self.settings, self.resting = settings, tuple(resting)
        self.size = size or parts.sample_size
        self.seed = settings.seed if seed is None else seed
        self.scenes = settings.scenes_for(kind)
        self.plan = plan(settings.prompts_for(kind), self.scenes, settings.seeds)
        self.pair = pair or load_pair(settings.pair or BUILTIN_PAIR, device=str(parts.device))
        self.texts = self.pair.texts([scene.text for scene in self.scenes])
        self.training = self.pair.pictures(pictures)
        self.top = own_likeness(self.training)
        self.initial_pictures = self._paint(initial)
        self.initial_cosines = self._compare(self.initial_pictures)

    @torch.no_grad()
    def look(self, step: int, rows: Rows) -> Verdict:
        """Make the word's pictures and judge them.

        Args:
            step: of the training.
            rows: the word as it is now; the model, which does not know it, is as before afterwards.

        Raises:
            UsageError: the model knows the word.
            ModelError: rows that are not for this model, or that are not finite.
            RenderError: a picture came out as NaN.
        """
        each = [rows] if isinstance(rows, Tensor) else list(rows)
        with install(self.parts, [(self.token, [one.detach() for one in each])]):
            made = self._paint(self.token)
        found = self._compare(made)
        titles = [self.initial, self.token, *(scene.text for scene in self.scenes)]
        return Verdict(
            step=step,
            similarity=similarity(found, self.initial_cosines, self.top),
            editability=editability(found, self.initial_cosines),
            cosines=found,
            sheet=draw_sheet(titles, [self.initial_pictures[0], *made]),
        )

    def _compare(self, made: Sequence[Sequence[Image]]) -> Cosines:
        groups = [self.pair.pictures(group) for group in made]
        return compare(groups, self.training, self.texts)

    @torch.no_grad()
    def _paint(self, word: str) -> list[list[Image]]:
        """Pictures of a word in groups: by itself, then in each scene."""
        settings = self.settings
        wanted = [
            (fill(one.template, word), (self.seed + one.number) % 2**32)
            for group in self.plan
            for one in group
        ]
        studio = Studio(self.parts)
        with awake(self.parts, self.resting):
            made = list(render(studio, wanted, settings.steps, settings.guidance_scale, self.size))
        count = settings.seeds
        return [made[start : start + count] for start in range(0, len(made), count)]
