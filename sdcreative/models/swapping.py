"""A model some of whose parts come from elsewhere: another autoencoder, scheduler, text encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ModelError
from .checks import check_config
from .families import tokenizer_of
from .folders import read_tokenizer, read_weights
from .noise_schedule import read_scheduler
from .single_files.lone import read_text_encoder, read_vae
from .strangers import is_file

if TYPE_CHECKING:
    from .opening import Source

SCHEDULER = "scheduler_config.json"

Weights = tuple[dict[str, Any], Path, Callable[[], None]]


class _Part(Protocol):
    """A part that is put into a model."""

    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def described(self) -> str: ...
    def weights(self, module: Any) -> Weights: ...


class _FolderPart:
    """A part in a folder, of its own or in a model's."""

    def __init__(self, folder: Path, part: str, classes: tuple[str, ...]) -> None:
        self.folder = folder / part if (folder / part).is_dir() else folder
        self.part = part
        self.config = check_config(self.folder, part, classes)

    @property
    def described(self) -> str:
        """What its configuration is from, for messages."""
        return f"config.json in {self.folder}"

    def weights(self, module: Any) -> Weights:
        """Its weights, as ``Folder.weights`` gives them."""
        return read_weights(self.folder, self.part)


class Swapped:
    """A model with other parts; the rest is its own.

    Args:
        model: the model.
        swaps: name of a part (vae, scheduler, text_encoder, ...) -> a folder of that part, a
            model's folder that has one, a single file of weights, or a scheduler's JSON file.

    Raises:
        ModelError: nothing of the kind is there, or the model has no such part.
    """

    def __init__(self, model: Source, swaps: Mapping[str, Path]) -> None:
        self._model = model
        self.path, self.family, self.build = model.path, model.family, model.build
        self.zeroes_negative = model.zeroes_negative
        self.configs, self.scheduler = dict(model.configs), model.scheduler
        self._parts: dict[str, _Part] = {}
        self._tokenizers: dict[str, Path] = {}
        for part, path in swaps.items():
            if part == "scheduler":
                self.scheduler = _scheduler(path)
                continue
            if part.startswith("tokenizer"):
                self._tokenizers[part] = path / part if (path / part).is_dir() else path
                continue
            if part not in self.family.weights:
                raise ModelError(f"swap: {self.family.title} ({self.path}) has no {part}")
            self._parts[part] = self._read(part, path)
            self.configs[part] = self._parts[part].config

    def _read(self, part: str, path: Path) -> _Part:
        if path.is_dir():
            return _FolderPart(path, part, self.family.parts[part][1])
        base = self._model.configs.get(part, {})
        return read_vae(path, base) if part == "vae" else read_text_encoder(path, part, base)

    def described(self, part: str) -> str:
        """What the configuration of a part is from, for messages."""
        found = self._parts.get(part)
        return found.described if found else self._model.described(part)

    def tokenizer(self, part: str) -> tuple[Any, Path]:
        """A tokenizer: one that was named, that beside another text encoder, or the model's own.

        Raises:
            ModelError: its files are missing or broken.
        """
        if folder := self._tokenizers.get(part):
            return read_tokenizer(folder, self.family.parts[part][1][0]), folder
        for encoder, found in self._parts.items():
            if tokenizer_of(encoder) == part and isinstance(found, _FolderPart):
                beside = found.folder.parent / part
                if found.folder.name == encoder and beside.is_dir():
                    return read_tokenizer(beside, self.family.parts[part][1][0]), beside
        return self._model.tokenizer(part)

    def weights(self, part: str, module: Any) -> Weights:
        """Weights of a part, the file they are in, and what gives memory back after reading."""
        found = self._parts.get(part)
        return found.weights(module) if found else self._model.weights(part, module)


def _scheduler(path: Path) -> dict[str, Any]:
    for file in (path, path / SCHEDULER, path / "scheduler" / SCHEDULER):
        if is_file(file):
            return read_scheduler(file)
    raise ModelError(f"swap: no {SCHEDULER} in {path}")
