"""CLIP, SigLIP and SigLIP 2 as transformers has them, in a folder of which nothing is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import ModelError
from ..checks import check_weights_file, read_json
from ..cpu.quickening import quicken
from ..empty import build_empty
from ..loading import quiet
from ..shards import find_shards
from ..single_files.pickles import read_pickle
from ..strangers import said
from .pair import PictureText, PictureTower, TextTower
from .pixels import Patches, Preparation
from .words import Words, clip_words, siglip_words

if TYPE_CHECKING:
    from PIL.Image import Image

CLASSES = {
    "clip": "CLIPModel",
    "clip_text_model": "CLIPTextModelWithProjection",
    "clip_vision_model": "CLIPVisionModelWithProjection",
    "siglip": "SiglipModel",
    "siglip2": "Siglip2Model",
}
"""``model_type`` of a config.json -> the class that is built; no other that a folder names is"""
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "model.fp16.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""most wanted first"""
PREPARATION = "preprocessor_config.json"


def open_pair(
    name: str, folder: Path, config: dict[str, Any], tokenizer: Path, device: torch.device
) -> PictureText:
    """A pair, or one tower of one, from its folder.

    Args:
        name: as it was asked for.
        folder: holds config.json and the weights.
        config: content of that config.json, whose model_type is one of ``CLASSES``.
        tokenizer: folder of the tokenizer.
        device: where to compute.

    Raises:
        ModelError: something is missing, broken, or of another model.
    """
    kind = str(config["model_type"])
    module = _read(folder, kind, config).to(device)
    quicken(module)
    said = read_json(folder / PREPARATION, "the pair") if (folder / PREPARATION).is_file() else None
    text: TextTower | None = None
    picture: PictureTower | None = None
    scale, bias = 1.0, None
    if kind in ("clip", "siglip", "siglip2"):
        scale = float(module.logit_scale.exp())
        bias = None if kind == "clip" else float(module.logit_bias)
        positions = module.config.text_config.max_position_embeddings
        words = (clip_words if kind == "clip" else siglip_words)(tokenizer, positions)
        _check_vocabulary(words, module.config.text_config.vocab_size, tokenizer)
        text = _Texts(module, words, masked=kind == "clip")
        vision = module.config.vision_config
        if kind == "siglip2":
            patches = Patches.read(said or {}, vision.patch_size, vision.num_patches)
            picture = _PatchedPictures(module, patches)
        else:
            picture = _Pictures(module, _preparation(said, vision.image_size))
    elif kind == "clip_text_model":
        words = clip_words(tokenizer, module.config.max_position_embeddings)
        _check_vocabulary(words, module.config.vocab_size, tokenizer)
        text = _Texts(module, words, masked=True)
    else:
        side = module.config.image_size
        made = Preparation.of_clip(side) if said is None else Preparation.read(said, side)
        picture = _Pictures(module, made)
    return PictureText(name, scale, bias, picture, text)


class _Texts:
    """The text tower of a module of transformers."""

    def __init__(self, module: Any, words: Words, *, masked: bool) -> None:
        """``masked``: whether the tower is told which tokens are filling."""
        self._module, self._words, self._masked = module, words, masked
        self.room, self.count = words.room, words.count

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        ids, there = self._words.tokens(texts)
        given = {"input_ids": ids.to(self._module.device)}
        if self._masked:
            given["attention_mask"] = there.to(self._module.device)
        if hasattr(self._module, "get_text_features"):
            return _vectors(self._module.get_text_features(**given))
        found: Tensor = self._module(**given).text_embeds
        return found


class _Pictures:
    """The picture tower of a CLIP or SigLIP."""

    def __init__(self, module: Any, preparation: Preparation) -> None:
        self._module, self._preparation = module, preparation

    @torch.inference_mode()
    def embed(self, pictures: Sequence[Image]) -> Tensor:
        values = self._preparation.values(pictures).to(self._module.device)
        if hasattr(self._module, "get_image_features"):
            return _vectors(self._module.get_image_features(pixel_values=values))
        found: Tensor = self._module(pixel_values=values).image_embeds
        return found


class _PatchedPictures:
    """The picture tower of a SigLIP 2 that takes pictures of any proportions."""

    def __init__(self, module: Any, patches: Patches) -> None:
        self._module, self._patches = module, patches

    @torch.inference_mode()
    def embed(self, pictures: Sequence[Image]) -> Tensor:
        device = self._module.device
        values, there, shapes = (one.to(device) for one in self._patches.values(pictures))
        return _vectors(
            self._module.get_image_features(
                pixel_values=values, pixel_attention_mask=there, spatial_shapes=shapes
            )
        )


def _vectors(given: Any) -> Tensor:
    """Newer versions of transformers put the vectors into an object."""
    found: Tensor = given if isinstance(given, Tensor) else given.pooler_output
    return found


def _preparation(said: dict[str, Any] | None, side: int) -> Preparation:
    """What ``train`` makes has no file for it, and sees squares."""
    return Preparation.squares(side) if said is None else Preparation.read(said, side)


def _check_vocabulary(words: Words, vocabulary: int, folder: Path) -> None:
    # Without its files transformers makes a tokenizer of two tokens, in silence.
    if not vocabulary - 256 < len(words.tokenizer) <= vocabulary:
        raise ModelError(
            f"tokenizer and text tower do not fit: {len(words.tokenizer)} tokens in {folder}, "
            f"{vocabulary} in the tower"
        )


def _read(folder: Path, kind: str, config: dict[str, Any]) -> Any:
    if "quantization_config" in config:
        raise ModelError(f"{folder} holds quantized weights, which are not read; take others")
    weights, size = _find_weights(folder)
    quiet()
    import transformers

    cls: Any = getattr(transformers, CLASSES[kind])
    empty = build_empty(cls, config, f"config.json in {folder}")
    if sum(one.numel() for one in empty.parameters()) > size:
        raise ModelError(
            f"weights of the pair do not fit its config.json, which asks for more numbers than the "
            f"{size} bytes of {folder / weights} can be"
        )
    options: dict[str, Any] = {
        "local_files_only": True,
        "output_loading_info": True,
        "dtype": torch.float32,
        # What config.json says beside may name code, even on the hub.
        "config": empty.config,
        "attn_implementation": "sdpa",
        "use_safetensors": ".safetensors" in weights,
    }
    if ".fp16." in weights:
        options["variant"] = "fp16"
    progress = transformers.utils.logging
    enabled = progress.is_progress_bar_enabled()
    progress.disable_progress_bar()
    try:
        module, info = cls.from_pretrained(folder, **options)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"the pair in {folder} cannot be read: {said(error)}") from error
    finally:
        if enabled:
            progress.enable_progress_bar()
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"weights of the pair do not fit its config.json: {len(missing)} tensors are missing "
            f"in {folder / weights}, such as {missing[0]}"
        )
    if not all(torch.isfinite(tensor).all() for tensor in module.parameters()):
        raise ModelError(f"weights of the pair hold NaN or infinity: {folder / weights}")
    return module.eval().requires_grad_(False)


def _find_weights(folder: Path) -> tuple[str, int]:
    """Name of the weights file that is to be read, after a look at it and all its shards, and how
    many bytes they have."""
    for name in WEIGHTS:
        path = folder / name
        if not path.is_file():
            continue
        files = find_shards(path, "the pair") if name.endswith(".json") else (path,)
        for file in files:
            kind = check_weights_file(file, "the pair")
            if kind == "pickle" and ".safetensors" in name:
                raise ModelError(
                    f"weights of the pair are a pickle named .safetensors: {file}; download it "
                    "again"
                )
            if kind == "pickle":
                read_pickle(file, "weights of the pair")
        return name, sum(file.stat().st_size for file in files)
    raise ModelError(f"weights of the pair are missing: no {WEIGHTS[0]} in {folder}")
