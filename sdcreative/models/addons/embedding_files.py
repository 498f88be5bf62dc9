"""Read a textual-inversion embedding (Gal et al. 2022), whoever trained it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import ModelError
from ..strangers import is_file, open_file, shown
from .families import SDXL, family_of_vectors
from .files import PNG, Content, ParameterDict, check_tensor, read_content
from .finding import second_file
from .lora_keys import split_key

_TWO = ("clip_l", "clip_g")
"""keys of a file for two text encoders, in the order of the encoders"""
_NO_TOKENS = ("*", "emb_params", *_TWO)
MOST_VECTORS = 4096


@dataclass(frozen=True, eq=False)
class TextualEmbedding:
    """Vectors that stand for a word.

    Attributes:
        name: the word: the one that the file gives, else the file's name without its ending.
        vectors: (n, width), float32, for the first text encoder.
        second: the same for a second text encoder, of its own width; None for one-encoder models.
        step: steps that it was trained for, if known.
        base: name of the model that it was trained with, if known.
        path: the file.
    """

    name: str
    vectors: Tensor
    second: Tensor | None
    step: int | None
    base: str | None
    path: Path

    @property
    def per_encoder(self) -> tuple[Tensor, ...]:
        """Vectors for each text encoder."""
        return (self.vectors,) if self.second is None else (self.vectors, self.second)

    @property
    def family(self) -> str | None:
        """The family of models whose text encoders have such widths."""
        return family_of_vectors(each.shape[1] for each in self.per_encoder)


def read_embedding(path: Path) -> TextualEmbedding:
    """Read an embedding: of AUTOMATIC1111 (also in a PNG), diffusers, kohya, or the first authors.

    Args:
        path: ``.pt`` and ``.bin`` as well as safetensors and PNG; the content decides. Of two files
            for two text encoders, as diffusers writes them, the first.

    Raises:
        ModelError: broken, unsafe, or no embedding.
    """
    content = _read(path)
    name, tensors = _content_of(content, path)
    vectors = [_checked(tensor, key, path) for key, tensor in tensors.items()]
    if len(vectors) == 1 and next(iter(tensors)) == name:
        vectors += _beside(path, name, vectors[0])
    if len({len(each) for each in vectors}) > 1:
        raise ModelError(f"embedding has not as many vectors for either text encoder: {path}")
    value: dict[str, Any] = content.value
    step, base = value.get("step"), value.get("sd_checkpoint_name")
    base = base or content.metadata.get("sd_checkpoint_name")
    return TextualEmbedding(
        name=name,
        vectors=vectors[0],
        second=vectors[1] if len(vectors) > 1 else None,
        step=step if type(step) is int else None,
        base=base if isinstance(base, str) and base else None,
        path=path,
    )


def _content_of(content: Content, path: Path) -> tuple[str, Mapping[str, Any]]:
    value = content.value
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ModelError(f"embedding is not a table of tensors: {path}")
    if any((split_key(key) or ("", "weight"))[1] not in ("weight", "alpha") for key in value):
        raise ModelError(f"{path} is a LoRA, not an embedding")
    return _vectors(value, path)


def _beside(path: Path, name: str, first: Tensor) -> list[Tensor]:
    """The same word's vectors for a second text encoder, in a file of their own; none for most."""
    second = second_file(path)
    if not is_file(second):
        return []
    try:
        other, tensors = _content_of(_read(second), second)
    except ModelError:
        # Whatever it is, nobody asked for it.
        return []
    if other != name or list(tensors) != [name]:
        return []
    vectors = _checked(tensors[name], name, second)
    # It may also be another version of the word, or one for another family.
    width = int(vectors.shape[1])
    is_second = width != first.shape[1] and family_of_vectors([width]) in (None, SDXL)
    return [vectors] if is_second else []


def _read(path: Path) -> Content:
    try:
        with open_file(path) as file:
            is_picture = file.read(len(PNG)) == PNG
    except OSError as error:
        raise ModelError(f"embedding cannot be read: {path} ({error.strerror or error})") from None
    if is_picture:
        from .embedding_pictures import read_picture

        return Content(read_picture(path), {})
    return read_content(path, "embedding")


def _vectors(value: dict[str, Any], path: Path) -> tuple[str, Mapping[str, Any]]:
    """The word, and key -> vectors of one or two text encoders."""
    name = value.get("name") if path.suffix.lower() == ".png" else None
    named = name if isinstance(name, str) and name.strip() else path.stem
    if "string_to_param" in value:
        params = value["string_to_param"]
        if isinstance(params, ParameterDict):
            params = getattr(params, "_parameters", None)
        if not isinstance(params, dict) or len(params) != 1:
            count = len(params) if isinstance(params, dict) else "none"
            raise ModelError(f"embedding stands for {count} words, expected one: {path}")
        return named, {f"string_to_param {key}": each for key, each in params.items()}
    if "clip_g" in value:
        if "clip_l" not in value:
            raise ModelError(f"embedding has clip_g and no clip_l: {path}")
        return named, {key: value[key] for key in _TWO}
    for key in ("clip_l", "emb_params"):
        if key in value:
            return named, {key: value[key]}
    tensors = {key: each for key, each in value.items() if isinstance(each, Tensor)}
    if len(tensors) != 1:
        raise ModelError(
            f"embedding holds {len(tensors)} tensors, expected one under the name of its word: "
            f"{path}; is it an embedding?"
        )
    key = next(iter(tensors))
    return (named if key in _NO_TOKENS or not key.strip() else key.strip()), tensors


def _checked(tensor: Any, key: str, path: Path) -> Tensor:
    """(n, width) of one vector or several, a copy of its own."""
    vectors = check_tensor(tensor, key, "embedding", path)
    if vectors.dim() == 1:
        vectors = vectors[None]
    if vectors.dim() != 2 or not vectors.numel() or len(vectors) > MOST_VECTORS:
        raise ModelError(
            f"embedding holds {list(vectors.shape)} as {shown(key)}, expected vectors (n, width): "
            f"{path}"
        )
    return vectors.float().clone()
