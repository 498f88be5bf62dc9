"""The LoRAs and embeddings that a run asks for, found and not yet read. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .finding import addon_digest, find_addon
from .said import said_embeddings

if TYPE_CHECKING:
    from ..loading import Parts


@dataclass(frozen=True)
class WantedLora:
    """A LoRA's file, and how much of it goes to the U-Net and to the text encoders."""

    path: Path
    unet: float = 1.0
    text: float = 1.0


@dataclass(frozen=True)
class WantedEmbedding:
    """An embedding's file, and the word for it.

    Attributes:
        path: of the file.
        token: the word; None takes the file's own.
        listed: whether the settings name it; else a prompt holds its name, which is read as text
            where the embedding does not fit the model, or the model has that word.
    """

    path: Path
    token: str | None = None
    listed: bool = True


@dataclass(frozen=True)
class Addons:
    """What is added to a model for a run."""

    loras: tuple[WantedLora, ...] = ()
    embeddings: tuple[WantedEmbedding, ...] = ()

    def digest(self) -> str:
        """16 hexadecimal digits of all contents, scales and words; empty if nothing is added.

        Raises:
            ModelError: a file cannot be read.
        """
        said: list[list[Any]] = [
            ["lora", addon_digest(one.path), one.unet, one.text]
            for one in self.loras
            if one.unet or one.text
        ]
        # Where the file names no word, its own name is the word.
        said += [
            ["embedding", addon_digest(one.path), one.token, one.path.stem]
            for one in self.embeddings
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16] if said else ""


NOTHING = Addons()


def find_addons(
    loras: Sequence[tuple[str, float, float]],
    embeddings: Sequence[tuple[str, str | None]],
    folders: Sequence[Path | str],
    prompts: Iterable[str] = (),
) -> Addons:
    """Find the files.

    Args:
        loras: (file or name, scale of the U-Net, scale of the text encoders).
        embeddings: (file or name, word or None).
        folders: searched for names, as ``find_addon`` does.
        prompts: which may hold the names of further embeddings; see ``said_embeddings``.

    Raises:
        UsageError: there is none of a name, or more than one.
    """
    listed = [
        WantedEmbedding(find_addon(name, folders, "embedding"), token) for name, token in embeddings
    ]
    said = said_embeddings(prompts, folders, [one.path for one in listed]) if folders else []
    return Addons(
        tuple(
            WantedLora(find_addon(name, folders, "lora"), unet, text) for name, unet, text in loras
        ),
        (*listed, *(WantedEmbedding(path, word, listed=False) for path, word in said)),
    )


def add_to(parts: Parts, addons: Addons) -> ExitStack:
    """Read all files, merge the LoRAs and install the embeddings, those within LoRAs too.

    Args:
        parts: a loaded model; prompts that were encoded before are to be encoded anew.
        addons: what to add.

    Returns:
        undoes it all when closed, or at the end of a ``with`` block.

    Raises:
        ModelError: a file is broken, unsafe, or does not fit the model.
        UsageError: a word that the model has already, or that two embeddings have.
    """
    from .embedding_files import read_embedding
    from .embedding_installing import Vectors, fits, install
    from .lora_applying import apply_loras
    from .lora_reading import read_lora

    words: list[tuple[str, Vectors]] = []
    for wanted in addons.embeddings:
        found = read_embedding(wanted.path)
        word = wanted.token or found.name
        taken = {one.casefold() for one, _ in words}
        if wanted.listed or (word.casefold() not in taken and fits(parts, word, found)):
            words.append((word, found))
    loras = [
        (read_lora(one.path, parts), (one.unet, one.text))
        for one in addons.loras
        if one.unet or one.text
    ]
    words += [word for lora, _ in loras for word in lora.embeddings.items()]
    with ExitStack() as undo:
        undo.enter_context(apply_loras(parts, loras))
        if words:
            undo.enter_context(install(parts, words))
        return undo.pop_all()
