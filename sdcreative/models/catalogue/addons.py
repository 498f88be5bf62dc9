"""What a LoRA, an embedding, or another file of weights is; it is read whole, and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ..addons.finding import addon_digest
from ..single_files.reading import read_outline
from ..strangers import open_file, shown
from .describing import said_in
from .kinds import is_lora, what_else
from .tensors import Amount, amount_of, list_tensors

_FORMS = {
    "LowRank": "LoRA", "Hadamard": "LoHa", "Kronecker": "LoKr", "Scaling": "IA3",
    "Difference": "full difference", "NoneType": "bias",
}  # fmt: skip
_TEXT = ("lora_te", "text_encoder", "text_model", "te_", "conditioner.", "cond_stage_model.")


@dataclass(frozen=True)
class LoraFacts:
    """What a LoRA is.

    Attributes:
        path: the file.
        family: of models that it is made for; None if nothing shows it.
        forms: LoRA, LoHa, ... -> layers of that form, the commonest first.
        ranks: -> layers, the commonest first.
        dora: layers with a magnitude of their own.
        denoiser, text: layers of the U-Net or transformer, and of text encoders.
        embeddings: words that come with it.
        amount: of its weights.
        digest: as in the keys of runs.
        said: licence, author and the like.
        base: the model that it was trained on, as its trainer names it.
    """

    path: str
    family: str | None
    forms: Mapping[str, int]
    ranks: Mapping[int, int]
    dora: int
    denoiser: int
    text: int
    embeddings: tuple[str, ...]
    amount: Amount
    digest: str
    said: Mapping[str, str]
    base: str | None


@dataclass(frozen=True)
class EmbeddingFacts:
    """What an embedding is.

    Attributes:
        path: the file.
        word: that it stands for if no other is given.
        family: of models that it is made for; None if nothing shows it.
        vectors: how many.
        widths: of the vectors, per text encoder.
        step: steps that it was trained for, if known.
        base: name of the model that it was trained with, if known.
        digest: as in the keys of runs.
    """

    path: str
    word: str
    family: str | None
    vectors: int
    widths: tuple[int, ...]
    step: int | None
    base: str | None
    digest: str


@dataclass(frozen=True)
class OtherFacts:
    """What another file of weights is.

    Attributes:
        path: the file.
        title: what it is.
        amount: of its weights.
        said: licence, author and the like.
    """

    path: str
    title: str
    amount: Amount
    said: Mapping[str, str]


def describe_addon(path: Path) -> LoraFacts | EmbeddingFacts | OtherFacts:
    """Read a file that is no model, whole.

    Raises:
        ModelError: broken, unsafe, or of a form that cannot be used.
    """
    from ..addons.embedding_files import read_embedding
    from ..addons.files import PNG

    try:
        with open_file(path) as file:
            is_picture = file.read(len(PNG)) == PNG
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    if not is_picture:
        outline = _outline(path)
        if outline is not None and is_lora(outline):
            return _lora(path)
        if outline is not None and not _may_be_embedding(outline.shapes):
            title = what_else(outline.shapes)
            amount = amount_of(list_tensors(path).values())
            return OtherFacts(str(path), title, amount, said_in(outline.metadata))
    found = read_embedding(path)
    return EmbeddingFacts(
        path=str(path),
        word=found.name,
        family=found.family,
        vectors=len(found.vectors),
        widths=tuple(int(one.shape[1]) for one in found.per_encoder),
        step=found.step,
        base=found.base,
        digest=addon_digest(path),
    )


def _outline(path: Path) -> Any:
    """None for a pickle whose tensors do not lie on top, as those of embeddings."""
    try:
        return read_outline(path)
    except ModelError as error:
        if "not a table of tensors" in str(error):
            return None
        raise


def _may_be_embedding(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    return len(shapes) <= 2 and all(len(shape) in (1, 2) for shape in shapes.values())


def _lora(path: Path) -> LoraFacts:
    from ..addons.files import check_tensor, read_content
    from ..addons.lora_keys import build_layer, form_of, split_key
    from .kinds import lora_family

    content = read_content(path, "LoRA")
    layers: dict[str, dict[str, Any]] = {}
    words = []
    table = content.value
    if not isinstance(table, dict) or not all(isinstance(key, str) for key in table):
        raise ModelError(f"LoRA is not a table of tensors: {path}")
    for key, tensor in table.items():
        if key.startswith("bundle_emb."):
            words.append(key.removeprefix("bundle_emb.").rpartition(".string_to_param")[0])
            continue
        split = split_key(key)
        if split is None or form_of(key):
            raise ModelError(
                f"LoRA has a key of no form that can be merged, {shown(key)} "
                f"({form_of(key) or 'unknown'}): {path}"
            )
        layers.setdefault(split[0], {})[split[1]] = check_tensor(tensor, key, "LoRA", path)
    forms: Counter[str] = Counter()
    ranks: Counter[int] = Counter()
    for name, roles in layers.items():
        layer = build_layer(roles)
        if layer is None:
            made = ", ".join(sorted(roles))
            raise ModelError(f"LoRA has an incomplete layer {shown(name)}, made of {made}: {path}")
        forms[_FORMS[type(layer.change).__name__]] += 1
        for role in ("down", "hada_w1_b", "lokr_w2_b"):
            if role in roles:
                ranks[int(roles[role].shape[0])] += 1
    text = sum(name.startswith(_TEXT) for name in layers)
    outline = read_outline(path)
    return LoraFacts(
        path=str(path),
        family=lora_family(outline),
        forms=dict(forms.most_common()),
        ranks=dict(ranks.most_common()),
        dora=sum(bool({"magnitude", "dora_scale"} & set(roles)) for roles in layers.values()),
        denoiser=len(layers) - text,
        text=text,
        embeddings=tuple(dict.fromkeys(words)),
        amount=amount_of(list_tensors(path).values()),
        digest=addon_digest(path),
        said=said_in(outline.metadata),
        base=outline.metadata.get("ss_sd_model_name") or None,
    )
