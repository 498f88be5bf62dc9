"""Files with one part alone: an autoencoder or a text encoder, to be swapped into a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import ModelError
from .converting_text import text_state
from .converting_vae import vae_state
from .layouts import LAYOUTS, VAE, Text, any_begins
from .others import other_file, packed
from .reading import open_tensors, read_outline
from .shapes import Config, Shapes, vae_config
from .text_shapes import text_config, used_layers

_AUTOENCODERS = (VAE, "vae.", "")
_CLIP_TOKENS, _OPEN_CLIP_TOKENS = "embeddings.token_embedding.weight", "token_embedding.weight"
_T5_TOKENS = ("shared.weight", "encoder.embed_tokens.weight")
_T5 = "text_encoder_3"

Convert = Callable[[Mapping[str, Any], Any], dict[str, Any]]


class LonePart:
    """A part in a file of its own, or in a checkpoint of which nothing else is read.

    Attributes:
        path: of the file.
        part: vae, text_encoder, text_encoder_2 or text_encoder_3.
        config: as in a diffusers folder.
    """

    def __init__(self, path: Path, part: str, config: Config, convert: Convert) -> None:
        self.path, self.part, self.config = path, part, config
        self._convert = convert

    @property
    def described(self) -> str:
        """What its configuration is from, for messages."""
        return f"the shape of {self.part} in {self.path}"

    def weights(self, module: Any) -> tuple[dict[str, Any], Path, Callable[[], None]]:
        """Its weights by the names of diffusers or transformers, as a model gives them.

        Args:
            module: that they are for; it may be without weights.
        """
        opened = open_tensors(self.path, f"weights of {self.part}")
        return self._convert(opened.tensors, module), self.path, opened.release


def read_vae(path: Path, base: Mapping[str, Any]) -> LonePart:
    """An autoencoder: in the names of the original repositories or of diffusers, or a checkpoint's.

    Args:
        path: of the file, of which no weight is read.
        base: configuration of the autoencoder in whose place it is put. What shapes do not tell is
            as in it, the scale of the latents too: that of SDXL's cannot be told from those of
            Stable Diffusion 1 and 2.

    Raises:
        ModelError: no such file, or none that holds an autoencoder.
    """
    shapes = _shapes(path, "vae")
    start = next((one for one in _AUTOENCODERS if f"{one}decoder.conv_in.weight" in shapes), None)
    if start is None:
        raise ModelError(f"swap: {path} holds no autoencoder; it is {other_file(shapes)}")
    prefix = start
    try:
        config = vae_config(shapes, prefix, dict(base))
    except ModelError as error:
        raise ModelError(f"swap: {path} holds a vae, but a broken one: {error}") from None
    return LonePart(path, "vae", config, lambda tensors, _: vae_state(tensors, prefix, config))


def read_text_encoder(path: Path, part: str, base: Mapping[str, Any]) -> LonePart:
    """A text encoder: in the names of transformers or of open_clip, or a checkpoint's.

    Args:
        path: of the file, of which no weight is read.
        part: text_encoder, text_encoder_2 or text_encoder_3.
        base: configuration of the text encoder in whose place it is put; what shapes do not tell,
            such as its activation, is as in it.

    Raises:
        ModelError: no such file, or none that holds such a text encoder.
    """
    shapes = _shapes(path, part)
    text = _find_text(shapes, part, base)
    if text is None:
        raise ModelError(f"swap: {path} holds no text encoder; it is {other_file(shapes)}")
    if (text.style == "t5") != (part == _T5):
        kinds = ("CLIP", "T5") if part == _T5 else ("T5", "CLIP")
        raise ModelError(
            f"swap: {path} holds a {kinds[0]} text encoder, where {part} is a {kinds[1]} one"
        )
    found = text
    try:
        config = text_config(shapes, found, dict(base), part)
    except ModelError as error:
        raise ModelError(f"swap: {path} holds a {part}, but a broken one: {error}") from None
    return LonePart(
        path,
        part,
        config,
        lambda tensors, module: text_state(tensors, found, config, part, module),
    )


def _shapes(path: Path, part: str) -> Shapes:
    shapes = read_outline(path).shapes
    if how := packed(shapes):
        raise ModelError(
            f"swap: {path} ({part}) {how}, which are not read: get it in float16, bfloat16 or "
            "float8"
        )
    return shapes


def _find_text(shapes: Shapes, part: str, base: Mapping[str, Any]) -> Text | None:
    """Where the text encoder is: where a whole checkpoint has it, else wherever its tokens are."""
    for layout in LAYOUTS:
        text = layout.texts.get(part)
        if text is not None and any_begins(shapes, text.prefix):
            return text
    for name in sorted(shapes):
        if name.endswith(_CLIP_TOKENS):
            return Text(name.removesuffix(_CLIP_TOKENS).removesuffix("text_model."), "clip")
        if name.endswith(_OPEN_CLIP_TOKENS):
            text = Text(name.removesuffix(_OPEN_CLIP_TOKENS), "open_clip")
            # Stable Diffusion 2 does not use the last layer of its text encoder.
            one_more = used_layers(shapes, text) == base.get("num_hidden_layers", 0) + 1
            return Text(text.prefix, "open_clip", penultimate=one_more)
        if name.endswith(_T5_TOKENS):
            tokens = next(one for one in _T5_TOKENS if name.endswith(one))
            return Text(name.removesuffix(tokens), "t5")
    return None
