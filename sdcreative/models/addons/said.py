"""Embeddings that prompts name, where nobody lists them: AUTOMATIC1111's way, and ComfyUI's.

Both take the file's name for the word: of ``easynegative.pt`` in a folder ``embeddings`` it is
``easynegative``, in ComfyUI ``embedding:easynegative``. Words in angle brackets are those that
diffusers uses. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ..shelves import shelved

FORMS = ("{}", "<{}>", "embedding:{}")
"""how a prompt says a file's name"""
# Pictures are mostly there to show what the embedding beside them looks like.
_ENDINGS = (".safetensors", ".pt", ".bin")


def said_embeddings(
    texts: Iterable[str], folders: Sequence[Path | str], without: Collection[Path] = ()
) -> list[tuple[Path, str]]:
    """Files in folders ``embeddings`` whose name a text holds, and the word that it is there.

    A name is found in upper or lower case, and not inside of another word.

    Args:
        texts: prompts.
        folders: models folders, as ``shelves`` reads them; the first that has a name decides.
        without: files that are read anyway.
    """
    files: dict[str, Path] = {}
    for one in shelved(folders, "embedding"):
        ending = one.path.suffix.lower()
        if one.kind != "embedding" or ending not in _ENDINGS:
            continue
        name = one.stem.rpartition("/")[2].casefold()
        known = files.get(name)
        if known is None or (
            known.parent == one.path.parent
            and _ENDINGS.index(ending) < _ENDINGS.index(known.suffix.lower())
        ):
            files[name] = one.path
    if not files:
        return []
    # Signs that mean nothing else in a prompt stand behind a backslash.
    whole = "\n".join(text.replace("\\", "") for text in texts)
    listed = {_real(path) for path in without}
    return [
        (path, word)
        for path in files.values()
        if _real(path) not in listed
        for word in (form.format(path.stem) for form in FORMS)
        if _holds(whole, word)
    ]


def _holds(text: str, word: str) -> bool:
    # "<toy>" and "embedding:toy" hold "toy" too, which is not what they say.
    start = r"(?<![\w<])(?<!embedding:)" if re.match(r"\w", word) else ""
    end = r"(?![\w>])" if re.search(r"\w$", word) else ""
    return re.search(start + re.escape(word) + end, text, re.IGNORECASE) is not None


def _real(path: Path) -> Path:
    return path.resolve()
