"""Which kind of thing a file or a folder is, and of which family, from its names alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import ModelError
from ..families import SD
from ..opening import Source, open_model
from ..shelves import Kind
from ..single_files.others import other_file
from ..single_files.reading import Outline, read_outline
from ..strangers import open_file

_LORA = (
    ".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".lora.down.", ".lora.up.",
    "_lora.down.", "_lora.up.", "lora_linear_layer.", ".hada_w1", ".lokr_w", ".on_input",
    ".dora_scale", ".diff_b", ".w_norm", ".oft_",
)  # fmt: skip
_EMBEDDING = ("emb_params", "clip_l", "clip_g", "string_to_param", "*")
_WIDTHS = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2"}
_MOST_VECTORS = 4096
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Identity:
    """What a thing is.

    Attributes:
        kind: model, lora, embedding, or the kind of the shelf that it lies on.
        family: as people call it; None where nothing shows it.
        fault: one line, if it cannot be used as what it is; None otherwise.
    """

    kind: str
    family: str | None = None
    fault: str | None = None


def identify(path: Path, shelf: Kind | None = None) -> Identity:
    """What a file or a diffusers folder is; the shelf decides where it shows nothing itself.

    torch is imported for pickles, LoRAs and pictures alone.
    """
    if path.is_dir() and not (path / "model_index.json").is_file() and shelf not in (None, "model"):
        return Identity(shelf)
    try:
        if path.is_dir():
            return Identity("model", title_of(open_model(path)))
        if shelf == "embedding" or _is_picture(path):
            return _embedding(path)
        outline = read_outline(path)
        if is_lora(outline):
            return Identity("lora", lora_family(outline))
        if is_embedding(outline):
            return _embedding(path)
        if shelf not in (None, "model"):
            return Identity(shelf)
        return Identity("model", title_of(open_model(path)))
    except ModelError as error:
        return Identity(shelf or "unknown", None, str(error))


def title_of(model: Source) -> str:
    """The family of a model as exactly as its configurations tell."""
    width = model.configs[model.family.denoiser].get("cross_attention_dim")
    if model.build is None and model.family is SD and isinstance(width, int):
        return _WIDTHS.get(width, model.family.title)
    return model.build or model.family.title


def is_lora(outline: Outline) -> bool:
    """Whether a file holds changes of layers."""
    return any(sign in name for name in outline.shapes for sign in _LORA)


def is_embedding(outline: Outline) -> bool:
    """Whether a file holds vectors for words, and nothing else."""
    tensors = list(outline.shapes.items())
    if any(name in _EMBEDDING for name, _ in tensors):
        return len(tensors) <= len(_EMBEDDING)
    # diffusers' have one tensor, which is named as the word.
    return len(tensors) == 1 and len(tensors[0][1]) in (1, 2) and tensors[0][1][0] <= _MOST_VECTORS


def lora_family(outline: Outline) -> str | None:
    """The family that a LoRA is made for, from names and shapes."""
    import torch

    from ..addons.families import family_of_layers
    from ..addons.lora_keys import split_key

    layers: dict[str, dict[str, torch.Tensor]] = {}
    for key, shape in outline.shapes.items():
        if split := split_key(key):
            layers.setdefault(split[0], {})[split[1]] = torch.empty(shape, device="meta")
    return family_of_layers(layers, outline.metadata)


def what_else(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """A file that is no model, by name."""
    return other_file(shapes)


def _embedding(path: Path) -> Identity:
    from ..addons.embedding_files import read_embedding

    return Identity("embedding", read_embedding(path).family)


def _is_picture(path: Path) -> bool:
    try:
        with open_file(path) as file:
            return file.read(len(_PNG)) == _PNG
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
