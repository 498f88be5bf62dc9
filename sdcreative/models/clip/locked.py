"""A small picture tower beside the text encoder of a diffusion model, which stays as it is.

The text encoder is locked while the picture tower and the projections learn to match it (X. Zhai,
X. Wang, B. Mustafa, A. Steiner, D. Keysers, A. Kolesnikov, L. Beyer, "LiT: Zero-shot transfer with
locked-image text tuning", CVPR 2022, with the other tower locked), so that only these are stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import ModelError
from ..checks import check_weights_file, compare_shapes, read_json
from ..cpu.quickening import quicken
from ..strangers import shown
from .pair import PictureText
from .pixels import Preparation
from .words import Words, clip_words

if TYPE_CHECKING:
    from PIL.Image import Image

MODEL_TYPE = "locked_text_pair"
WEIGHTS = "model.safetensors"
_MOST_STAGES = 32
TEXT_ENCODER, TOKENIZER = "text_encoder", "tokenizer"
"""folders beside that of the pair"""


@dataclass(frozen=True)
class Shape:
    """Of a pair.

    Attributes:
        channels: of the picture tower, from its first stage on; each further one halves the sides.
        size: side in pixels of the pictures.
        projection: length of the vectors.
        text_width: of the text encoder.
    """

    channels: tuple[int, ...]
    size: int
    projection: int
    text_width: int

    @classmethod
    def read(cls, config: Mapping[str, Any], path: Path) -> Shape:
        """Of the content of a config.json.

        Raises:
            ModelError: a number is missing, or none.
        """
        channels: Any = config.get("channels")
        numbers: list[Any] = [config.get(key) for key in ("size", "projection", "text_width")]
        listed: list[Any] = channels if isinstance(channels, list) and channels else [None]
        if len(listed) > _MOST_STAGES or not all(
            type(number) is int and 0 < number < 1 << 16 for number in [*listed, *numbers]
        ):
            raise ModelError(f"{path} describes no pair: its numbers are missing or wrong")
        return cls(tuple(listed), *numbers)


class _Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016, fig. 2), halved by averaging (He et al.
    2019, fig. 2c)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.first = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        same = channels_in == channels and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels, 1, bias=False)
        self.shortcut_norm = nn.Identity() if same else nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        x = functional.avg_pool2d(x, 2) if self.stride == 2 else x
        return functional.relu(self.shortcut_norm(self.shortcut(x)) + y)


class LockedTextPair(nn.Module):
    """Picture tower and both projections; what the locked text encoder says is given to it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        first, *others = shape.channels
        self.stem = nn.Conv2d(3, first, 5, 2, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(first)
        widths = [first, first, *others]
        self.blocks = nn.ModuleList(
            _Block(before, width, 1 if number == 0 else 2)
            for number, (before, width) in enumerate(pairwise(widths))
        )
        self.visual_projection = nn.Linear(widths[-1], shape.projection, bias=False)
        self.text_projection = nn.Linear(shape.text_width, shape.projection)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def picture_features(self, pixels: Tensor) -> Tensor:
        """Vectors (N, projection), of any length, of pictures (N, 3, size, size) in [-1, 1]."""
        x = functional.relu(self.stem_norm(self.stem(pixels)))
        for block in self.blocks:
            x = block(x)
        found: Tensor = self.visual_projection(x.mean(dim=(2, 3)))
        return found

    def text_features(self, pooled: Tensor) -> Tensor:
        """Vectors (N, projection), of any length, of what the text encoder makes of the last token
        of texts (N, text_width)."""
        found: Tensor = self.text_projection(pooled)
        return found


def save_locked(pair: LockedTextPair, folder: Path) -> None:
    """Write config.json and the weights: float16, but for the norms and the scale."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().cpu().to(torch.float16 if tensor.ndim > 1 else torch.float32)
        for name, tensor in pair.state_dict().items()
        if tensor.is_floating_point()
    }
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = {"model_type": MODEL_TYPE, **asdict(pair.shape)}
    text = json.dumps(config, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")


def read_locked(folder: Path) -> LockedTextPair:
    """Picture tower and projections of a folder, in float32.

    Raises:
        ModelError: missing, broken, or no such pair.
    """
    from safetensors.torch import load_file

    config = read_json(folder / "config.json", "the pair")
    if config.get("model_type") != MODEL_TYPE:
        found = shown(config.get("model_type"))
        raise ModelError(f"{folder} holds a {found}, expected a {MODEL_TYPE}")
    shape = Shape.read(config, folder / "config.json")
    with torch.device("meta"):
        empty = LockedTextPair(shape)
    path = folder / WEIGHTS
    if check_weights_file(path, "the pair") != "safetensors":
        raise ModelError(f"weights of the pair are not a safetensors file: {path}")
    state = load_file(path)
    own = {k: v for k, v in empty.state_dict().items() if v.is_floating_point()}
    compare_shapes(
        "the pair",
        path,
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        {name: tuple(tensor.shape) for name, tensor in own.items()},
    )
    if not all(torch.isfinite(tensor).all() for tensor in state.values()):
        raise ModelError(f"weights of the pair hold NaN or infinity: {path}")
    pair = LockedTextPair(shape)
    pair.load_state_dict(state, strict=False)
    return pair.eval()


class LockedTexts:
    """The text encoder of a diffusion model, and what is made of its last token."""

    def __init__(self, encoder: Any, words: Words, pair: LockedTextPair | None = None) -> None:
        """Without a ``pair`` its own vectors are given, (N, text_width)."""
        self._encoder, self._words, self._pair = encoder, words, pair
        self.room, self.count = words.room, words.count

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        ids, _ = self._words.tokens(texts)
        pooled: Tensor = self._encoder(ids.to(self._encoder.device)).pooler_output
        return pooled if self._pair is None else self._pair.text_features(pooled)


class _Pictures:
    def __init__(self, pair: LockedTextPair) -> None:
        self._pair, self._preparation = pair, Preparation.squares(pair.shape.size)

    @torch.no_grad()
    def embed(self, pictures: Sequence[Image]) -> Tensor:
        values = self._preparation.values(pictures)
        return self._pair.picture_features(values.to(self._pair.logit_scale.device))


def read_text_encoder(model: Path) -> LockedTexts:
    """The text encoder of a diffusers folder, as it is.

    Raises:
        ModelError: it is missing or broken.
    """
    from ..building import read_part

    encoder = read_part(model / TEXT_ENCODER).eval().requires_grad_(False)
    words = clip_words(model / TOKENIZER, encoder.config.max_position_embeddings)
    return LockedTexts(encoder, words)


def open_locked(name: str, folder: Path, device: torch.device) -> PictureText:
    """A pair joined with the text encoder that stands beside its folder.

    Raises:
        ModelError: something is missing, broken, or of another model.
    """
    from ..building import read_part

    pair = read_locked(folder).to(device).requires_grad_(False)
    model = folder.resolve().parent
    encoder = read_part(model / TEXT_ENCODER).eval().requires_grad_(False).to(device)
    if encoder.config.hidden_size != pair.shape.text_width:
        raise ModelError(
            f"{folder} was trained beside a text encoder of width {pair.shape.text_width}; "
            f"{model / TEXT_ENCODER} has {encoder.config.hidden_size}"
        )
    quicken(pair)
    quicken(encoder)
    words = clip_words(model / TOKENIZER, encoder.config.max_position_embeddings)
    scale = float(pair.logit_scale.exp())
    return PictureText(name, scale, None, _Pictures(pair), LockedTexts(encoder, words, pair))
