"""Training a text encoder and an image tower contrastively (Radford et al. 2021, fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from sdcreative import UsageError
from sdcreative.models.building import build_clip, read_tokenizer, save_part, text_half

from .pictures import BACKGROUNDS, Drawing, compose
from .settings import ClipStage
from .sheets import tile
from .vocabulary import write_tokenizer

CONTRAST = 4.6052  # log(100), the temperature's bound in the paper


def clip_objective(stage: ClipStage, *given: Any) -> ClipObjective:
    """Both towers, or one beside a locked text encoder; ``given`` as for ``ClipObjective``."""
    if stage.locked_text is None:
        return ClipObjective(stage, *given)
    from .clip_locked import LockedClipObjective

    return LockedClipObjective(stage, *given)


class ClipObjective:
    """Match pictures with their captions within a batch, both ways."""

    name = "clip"

    def __init__(
        self,
        stage: ClipStage,
        size: int,
        training: Sequence[Drawing],
        held_out: Sequence[Drawing],
        device: torch.device,
        folder: Path,
        module: nn.Module | None = None,
    ) -> None:
        """``size`` is the side of the square that the image tower sees.

        With a ``module`` to go on from, ``folder`` holds its tokenizer; else one is learned.
        """
        self.stage, self.device, self.size = stage, device, size
        self.training, self.held_out = training, held_out or training
        if not (folder / "vocab.json").is_file():
            write_tokenizer(_all_captions(training), stage.vocabulary, stage.context, folder)
        self.tokenizer: Any = read_tokenizer(folder)
        torch.manual_seed(stage.schedule.seed)
        self.clip: Any = module or build_clip(
            width=stage.width,
            layers=stage.layers,
            heads=stage.heads,
            vocabulary=len(self.tokenizer),
            context=stage.context,
            size=size,
            patch=stage.patch,
        )
        trained_at = self.clip.config.vision_config.image_size
        if trained_at != size:
            raise UsageError(
                f"clip: the pair to go on from sees {trained_at} pixels; "
                "set size or clip.size to it"
            )
        positions = self.clip.config.text_config.max_position_embeddings
        self.context = min(self.tokenizer.model_max_length, positions)
        self.modules: dict[str, nn.Module] = {"clip": self.clip}

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, list[str]]:
        chosen = rng.integers(len(self.training), size=size)
        samples = [compose(self.training[i], rng) for i in chosen]
        captions = [str(rng.choice(sample.captions)) for sample in samples]
        return torch.from_numpy(np.stack([s.pixels for s in samples])), captions

    def loss(
        self, batch: tuple[Tensor, list[str]], generator: torch.Generator
    ) -> dict[str, Tensor]:
        pixels, captions = batch
        texts, pictures = self.text_features(captions), self.picture_features(pixels)
        scale = self.clip.logit_scale.clamp(max=CONTRAST).exp()
        logits = scale * texts @ pictures.T
        same = np.array(captions)[:, None] == np.array(captions)[None]
        rivals = torch.from_numpy(same & ~np.eye(len(captions), dtype=bool)).to(self.device)
        logits = logits.masked_fill(rivals, float("-inf"))
        target = torch.arange(len(captions), device=self.device)
        by_text = functional.cross_entropy(logits, target)
        by_picture = functional.cross_entropy(logits.T, target)
        accuracy = (logits.argmax(1) == target).float().mean()
        return {"loss": (by_text + by_picture) / 2, "accuracy": accuracy}

    def text_features(self, captions: Sequence[str]) -> Tensor:
        """Unit vectors (N, width) of captions."""
        tokens = self.tokenizer(
            list(captions),
            padding="max_length",
            truncation=True,
            max_length=self.context,
            return_tensors="pt",
        )
        pooled = self.clip.text_model(tokens.input_ids.to(self.device)).pooler_output
        return functional.normalize(self.clip.text_projection(pooled), dim=-1)

    def picture_features(self, pixels: Tensor) -> Tensor:
        """Unit vectors (N, width) of pictures (N, 3, H, W) in [-1, 1], resized to squares."""
        pixels = pixels.to(self.device)
        if pixels.shape[-2:] != (self.size, self.size):
            pixels = functional.interpolate(
                pixels, (self.size, self.size), mode="bilinear", antialias=True
            )
        pooled = self.clip.vision_model(pixels).pooler_output
        return functional.normalize(self.clip.visual_projection(pooled), dim=-1)

    @torch.no_grad()
    def named(self, top: int = 1) -> float:
        """Share of held-out drawings whose first caption is among the ``top`` nearest of all."""
        texts = sorted({title_of(d) for d in [*self.training, *self.held_out]})
        vectors = torch.cat(
            [self.text_features(texts[i : i + 256]) for i in range(0, len(texts), 256)]
        )
        rng = np.random.default_rng(1)
        pixels = np.stack([compose(d, rng).pixels for d in self.held_out])
        pictures = torch.cat([self.picture_features(p) for p in torch.from_numpy(pixels).split(64)])
        order = (pictures @ vectors.T).topk(min(top, len(texts))).indices
        hits = [
            title_of(d) in {texts[i] for i in row}
            for d, row in zip(self.held_out, order, strict=True)
        ]
        return sum(hits) / len(hits)

    def measure(self) -> dict[str, float]:
        return {"named_top1": self.named(), "named_top5": self.named(5)}

    @torch.no_grad()
    def sheet(self) -> Image.Image:
        """Held-out drawings in the first row; below each, the three nearest training drawings."""
        rng = np.random.default_rng(1)
        wanted = [compose(d, rng, white=1).pixels for d in self.held_out[:8]]
        pool = [compose(d, rng, white=1).pixels for d in self.training[:256]]
        queries = self.picture_features(torch.from_numpy(np.stack(wanted)))
        likeness = queries @ self.picture_features(torch.from_numpy(np.stack(pool))).T
        near = likeness.topk(min(3, len(pool))).indices
        rows = [
            *wanted,
            *(pool[int(near[i, k])] for k in range(near.shape[1]) for i in range(len(wanted))),
        ]
        return tile(torch.from_numpy(np.stack(rows)), columns=len(wanted))

    def save(self, folder: Path) -> None:
        """The pair in ``clip/``, for scoring; its text half in ``text_encoder/``, for diffusion."""
        save_part(self.clip, folder / "clip")
        save_part(text_half(self.clip), folder / "text_encoder")


def title_of(drawing: Drawing) -> str:
    """What a picture is asked for by; the first caption says its name, if it has one."""
    return drawing.captions[0]


def _all_captions(drawings: Sequence[Drawing]) -> list[str]:
    captions = {caption for drawing in drawings for caption in drawing.captions}
    backgrounds = {d.background_caption for d in drawings if d.background_caption}
    captions |= {b.format(background=colour) for b in backgrounds for colour in BACKGROUNDS}
    return sorted(captions)
