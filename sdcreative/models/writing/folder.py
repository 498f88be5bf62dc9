"""A model as a folder in the format of diffusers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checks import read_json
from ..families import tokenizer_of, weights_name
from ..places import ModelPlace
from ..single_files.families import clip_vocabulary
from .casting import cast
from .names_text import clip_names, same_names
from .notes import default_notes, kept_notes, source_notes
from .pieces import plan
from .stream import TensorFile
from .whole import Whole, takes_mask

_TOKENIZER_FILES = (".json", ".txt", ".model")
_BESIDE = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", "spectrogram.json")
_CLASSES = {
    "sd": ("StableDiffusionPipeline", "StableDiffusionInpaintPipeline"),
    "sdxl": ("StableDiffusionXLPipeline", "StableDiffusionXLInpaintPipeline"),
    "sd3": ("StableDiffusion3Pipeline", "StableDiffusion3InpaintPipeline"),
}
"""family -> class of its models, and of those that take a mask"""


class FolderToBe:
    """A folder that is planned.

    Args:
        whole: the model.
        place: where it is from, for the notes in its files.
        dtype: float32, float16, bfloat16, or None for what each tensor has.

    Attributes:
        size: of its weights in bytes.
        notes: what people should know of it, a line each.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, whole: Whole, place: ModelPlace, dtype: str | None) -> None:
        self._whole, self._path, self._dtype = whole, place.path, dtype
        denoiser = whole.model.family.denoiser
        noted = {
            **default_notes(place.path),
            **kept_notes(place.path, denoiser),
            **source_notes(place),
        }
        self._files = {}
        for part, state in whole.states.items():
            # As all versions of transformers read them, not only the one that is installed.
            names = clip_names if _is_clip(whole.modules[part]) else same_names
            planned = cast(plan(state, names), dtype, place.path)
            metadata = noted if part == denoiser else {"format": "pt"}
            self._files[part] = TensorFile(planned, metadata, whole.release)
        self.size = sum(file.size for file in self._files.values())

    def write(self, folder: Path) -> None:
        """Write it into a folder that is there and empty.

        Raises:
            ModelError: a number does not fit into the type, or a tokenizer is broken.
            OSError: the disk is full or refuses.
        """
        model = self._whole.model
        for part, file in self._files.items():
            (folder / part).mkdir()
            _write_json(folder / part / "config.json", self._config(part))
            file.write(folder / part / f"{weights_name(part)}.safetensors")
        for encoder in model.family.text_encoders:
            if encoder in self._files:
                self._write_tokenizer(folder, tokenizer_of(encoder))
        (folder / "scheduler").mkdir()
        _write_json(folder / "scheduler" / "scheduler_config.json", model.scheduler)
        _write_json(folder / "model_index.json", self._index())
        for name in _BESIDE:
            if (self._path / name).is_file():
                shutil.copyfile(self._path / name, folder / name)

    def _config(self, part: str) -> dict[str, Any]:
        module, config = self._whole.modules[part], dict(self._whole.model.configs[part])
        name = type(module).__name__
        if part.startswith("text_encoder"):
            config |= {"architectures": [name], "model_type": module.config.model_type}
            if self._dtype is not None:
                config.pop("dtype", None)
                config["torch_dtype"] = self._dtype
        else:
            config["_class_name"] = name
        return config

    def _write_tokenizer(self, folder: Path, part: str) -> None:
        tokenizer, source = self._whole.model.tokenizer(part)
        target = folder / part
        target.mkdir()
        if source.is_dir():
            for file in sorted(source.iterdir()):
                if file.suffix in _TOKENIZER_FILES and file.is_file():
                    shutil.copyfile(file, target / file.name)
            return
        # Not in a folder, so CLIP's; transformers 5 leaves out what older ones read of it.
        tokenizer.save_pretrained(target)
        vocabulary, pairs = clip_vocabulary()
        _write_json(target / "vocab.json", vocabulary)
        merges = "\n".join(" ".join(pair) for pair in pairs)
        (target / "merges.txt").write_text(
            f"#version: 0.2\n{merges}\n", encoding="utf-8", newline="\n"
        )
        _write_json(target / "special_tokens_map.json", tokenizer.special_tokens_map)

    def _index(self) -> dict[str, Any]:
        import diffusers

        model, modules = self._whole.model, self._whole.modules
        family = model.family
        index: dict[str, Any] = {
            "_class_name": _CLASSES[family.name][takes_mask(modules)],
            "_diffusers_version": diffusers.__version__,
        }
        if self._path.is_dir():
            own = read_json(self._path / "model_index.json", "the model")
            index |= {key: said for key, said in own.items() if not isinstance(said, list)}
        if family.name == "sdxl":
            index["force_zeros_for_empty_prompt"] = model.zeroes_negative
        there = {*modules, *(tokenizer_of(part) for part in modules)}
        for part, (library, classes) in family.parts.items():
            name = type(modules[part]).__name__ if part in modules else classes[0]
            index[part] = [library, name] if part in there else [None, None]
        index["scheduler"] = ["diffusers", model.scheduler["_class_name"]]
        if family.name == "sd":
            index |= {"safety_checker": [None, None], "requires_safety_checker": False}
        if family.name != "sd3":
            index |= {"feature_extractor": [None, None], "image_encoder": [None, None]}
        return index


def _is_clip(module: Any) -> bool:
    return type(module).__name__.startswith("CLIPText")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8", newline="\n")
