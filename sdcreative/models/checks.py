"""What is wrong with a model's folder or its weights files, said in one line. Imports no torch.

diffusers and transformers fill whatever a file lacks with random weights, or call every kind of
broken file by the same name; so files are looked at here before they are opened there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .families import PIPELINES, Family, weights_name
from .shards import find_shards
from .single_files.headers import HeaderError, begins_header, read_header
from .sources import ENDINGS
from .strangers import MOST_JSON, is_folder, open_file, parse_json, read_file, shown

Shapes = Mapping[str, tuple[int, ...]]


# Where the safety checker of Stable Diffusion 1 says it is from; it is not loaded.
_LIBRARIES = (None, "diffusers", "transformers", "stable_diffusion")


def read_json(path: Path, what: str, most: int = MOST_JSON) -> dict[str, Any]:
    """A JSON object.

    Args:
        path: of the file.
        what: it is of, for messages.
        most: bytes that it may have.

    Raises:
        ModelError: missing, no file, too long, not JSON, or not an object.
    """
    try:
        content = parse_json(read_file(path, most))
    except FileNotFoundError:
        raise ModelError(f"{what} has no {path.name} in {path.parent}") from None
    except OSError as error:
        raise ModelError(
            f"{what}: {path} cannot be read as JSON ({error.strerror or error})"
        ) from None
    except ValueError as error:
        raise ModelError(f"{what}: {path} cannot be read as JSON ({shown(error)})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{what}: {path} is not a JSON object")
    return content


def check_index(folder: Path) -> tuple[Family, tuple[str, ...]]:
    """The family of a folder and the parts it has, by its ``model_index.json``.

    Nothing that it names is imported.

    Raises:
        ModelError: not a diffusers folder, a family that is not supported, a foreign library.
    """
    if not (folder / "model_index.json").is_file():
        raise ModelError(
            f"{folder} is not a diffusers model: it has no model_index.json "
            "(give the folder that holds unet/, vae/, text_encoder/, tokenizer/ and scheduler/)"
        )
    index = read_json(folder / "model_index.json", "the model")
    name = str(index.get("_class_name"))
    if name not in PIPELINES:
        titles = dict.fromkeys(family.title for family in PIPELINES.values())
        raise ModelError(
            f"{folder} is a {shown(name)}, which this version cannot run; supported: "
            f"{', '.join(titles)}"
        )
    for key, entry in index.items():
        if isinstance(entry, list) and (
            len(entry) != 2 or entry[0] not in _LIBRARIES or not isinstance(entry[1], str | None)
        ):
            raise ModelError(
                f"{folder / 'model_index.json'}: {shown(key)} is {shown(entry)}; only parts of "
                "diffusers and transformers are allowed, so this model is not trusted"
            )
    family = PIPELINES[name]
    there = []
    for part, (library, classes) in family.parts.items():
        entry = index.get(part)
        if part in family.optional and (entry is None or entry == [None, None]):
            continue
        if not isinstance(entry, list) or entry[0] != library or entry[1] not in classes:
            raise ModelError(
                f"{folder / 'model_index.json'}: {part} is {shown(entry)}, expected [{library}, "
                f"{classes[0]}]"
            )
        there.append(part)
    return family, tuple(there)


def check_config(folder: Path, part: str, classes: Collection[str]) -> dict[str, Any]:
    """The ``config.json`` of a part in its folder, which must be of one of these classes.

    Raises:
        ModelError: missing, unreadable, or of another class.
    """
    if not is_folder(folder):
        raise ModelError(f"the model lacks its {part}: no folder {folder}")
    config = read_json(folder / "config.json", part)
    found = class_of(config) or config.get("model_type")
    if found not in classes and found != "clip_text_model":
        raise ModelError(
            f"{folder} holds a {shown(found)}, expected {' or '.join(classes)}; "
            "was the wrong part put there?"
        )
    return config


def class_of(config: Mapping[str, Any]) -> str | None:
    """The class that a configuration of diffusers or transformers says to be of."""
    found = config.get("_class_name") or config.get("architectures")
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, str) else None


def find_weights(folder: Path, part: str) -> tuple[Path, ...]:
    """The weights files in the folder of a part, looked at: one, or several shards.

    Raises:
        ModelError: missing, empty, an HTML page, a git-lfs pointer, truncated; a shard that the
            index names is not there.
    """
    name = weights_name(part)
    for ending in ENDINGS:
        path = folder / (name + ending)
        if path.exists():
            _check_safetensors(path, part)
            return (path,)
    for index in sorted(folder.glob(f"{name}.*index*.json"), key=_preference):
        shards = find_shards(index, part)
        for path in shards:
            _check_safetensors(path, part)
        return shards
    raise ModelError(f"weights of {part} are missing: no {name}.safetensors in {folder}")


def _preference(index: Path) -> tuple[bool, bool]:
    return ".safetensors" not in index.name, ".fp16." in index.name


def _check_safetensors(path: Path, part: str) -> None:
    if check_weights_file(path, part) == "pickle" and path.suffix == ".safetensors":
        raise ModelError(
            f"weights of {part} are a pickle named .safetensors: {path}; download it again"
        )


def check_weights_file(path: Path, part: str) -> str:
    """Tell apart what can be wrong with a file of weights, by its bytes, not by its ending.

    Args:
        path: of the file.
        part: what the weights are of, such as unet, for the messages.

    Returns:
        safetensors, whose header is good, or pickle, of which nothing has been read.

    Raises:
        ModelError: missing, empty, an HTML page, a git-lfs pointer, truncated, another format.
    """
    kind = weights_kind(path, part)
    if kind == "safetensors":
        try:
            read_header(path)
        except HeaderError as error:
            raise ModelError(f"weights of {part} {error}: {path}; download it again") from None
        except OSError as error:
            raise ModelError(
                f"weights of {part} cannot be read: {path} ({error.strerror or error})"
            ) from None
    return kind


def weights_kind(path: Path, part: str) -> str:
    """``check_weights_file`` by the first bytes alone."""
    again = "download it again"
    try:
        size = path.stat().st_size
        with open_file(path) as file:
            start = file.read(512)
    except OSError as error:
        raise ModelError(
            f"weights of {part} cannot be read: {path} ({error.strerror or error})"
        ) from None
    if size == 0:
        raise ModelError(f"weights of {part} are empty (0 bytes): {path}; {again}")
    if start.startswith(b"version https://git-lfs"):
        raise ModelError(
            f"weights of {part} are a git-lfs pointer, not the file itself: {path}; "
            "run `git lfs pull` in its repository"
        )
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ModelError(
            f"weights of {part} are a web page, not a model: {path}; {again} (with a login, if "
            "the page asked for one)"
        )
    if begins_header(start):
        return "safetensors"
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "pickle"
    if start[8:9] == b"{":
        return "safetensors"
    wanted = "a safetensors file" if path.suffix == ".safetensors" else "a PyTorch file"
    raise ModelError(f"weights of {part} are not {wanted}: {path}; {again}")


def compare_shapes(
    part: str, path: Path, found: Shapes, expected: Shapes, build: str | None = None
) -> None:
    """Refuse weights whose names or shapes differ from those that the configuration asks for.

    Args:
        part: what the weights are of.
        path: of their file.
        found: name -> shape.
        expected: the same.
        build: what asks for them, where that is no config.json.

    Raises:
        ModelError: with the first few names.
    """
    fit = f"weights of {part} do not fit {build or 'its config.json'}"
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    if missing or unexpected:
        faults = [
            f"{len(keys)} {word} "
            f"({', '.join(map(shown, keys[:3]))}{', …' if len(keys) > 3 else ''})"
            for keys, word in ((missing, "missing"), (unexpected, "unexpected"))
            if keys
        ]
        why = (
            "the file is not whole, or of another build"
            if build
            else ("weights and configuration are of different models")
        )
        raise ModelError(
            f"{fit}: {' and '.join(faults)} of {len(expected)} tensors in {path}; {why}"
        )
    wrong = [key for key in expected if tuple(found[key]) != tuple(expected[key])]
    if wrong:
        first = wrong[0]
        raise ModelError(
            f"{fit}: {first} is {list(found[first])}, expected {list(expected[first])} "
            f"({len(wrong)} such tensors) in {path}"
        )
