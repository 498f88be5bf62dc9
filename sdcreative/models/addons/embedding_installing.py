"""Put new words into a loaded model: rows of its token embedding, tokens of its tokenizer."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ...errors import ModelError, UsageError
from ..loading import Parts
from .embedding_files import TextualEmbedding
from .families import family_of_vectors

Vectors = Tensor | Sequence[Tensor] | TextualEmbedding
"""(n, width) for a model with one text encoder, or one such tensor for each"""

_PRIVATE = 0xF0000
"""first of Unicode's characters for private use; 131,068 follow"""

_words: WeakKeyDictionary[Any, Mapping[int, int]] = WeakKeyDictionary()


def words_of(tokenizer: Any) -> Mapping[int, int]:
    """First id -> number of vectors, of the words that are installed; their ids follow it.

    Whoever cuts a prompt into chunks keeps them together.
    """
    return _words.get(tokenizer, {})


@torch.no_grad()
def install(parts: Parts, words: Sequence[tuple[str, Vectors]]) -> ExitStack:
    """Teach a model words; a prompt that holds one gets its vectors there, n tokens for n vectors.

    A word is found wherever the tokenizer would see it, in upper or lower case; one that begins or
    ends with a letter or digit is not found inside of another. The tokenizer stays the same
    object. Pooling takes the real end of the text, where CLIP's configuration says 2 as well:
    there the largest id would be taken, which is now a new word's.

    Args:
        parts: a loaded model with one text encoder, or two.
        words: such as ("<cat-toy>", vectors); several vectors become several tokens.

    Returns:
        undoes it all when closed, or at the end of a ``with`` block; what was installed last is
        undone first.

    Raises:
        UsageError: a word that the model has already, or that no prompt could contain.
        ModelError: vectors of another width, or for another number of text encoders.
    """
    encoders = _text_encoders(parts)
    rows = [(word, _fitting(word, vectors, encoders, parts.context)) for word, vectors in words]
    with ExitStack() as undo:
        for number, (encoder, tokenizer) in enumerate(encoders):
            _install(encoder, tokenizer, [(word, each[number]) for word, each in rows], undo)
        return undo.pop_all()


def fits(parts: Parts, word: str, vectors: Vectors) -> bool:
    """Whether ``install`` could teach a model this word, as far as it can be told beforehand."""
    encoders = _text_encoders(parts)
    try:
        _fitting(word, vectors, encoders, parts.context)
        for _, tokenizer in encoders:
            known = words_of(tokenizer)
            _check_new(word, tokenizer, tokenizer.backend_tokenizer, known, {})
    except (ModelError, UsageError):
        return False
    return True


def _text_encoders(parts: Parts) -> list[tuple[Any, Any]]:
    """(text encoder, its tokenizer), the first one first."""
    pairs = [
        (getattr(parts, f"text_encoder{end}", None), getattr(parts, f"tokenizer{end}", None))
        for end in ("", "_2")
    ]
    return [pair for pair in pairs if pair[0] is not None]


def _fitting(
    word: str, vectors: Vectors, encoders: Sequence[tuple[Any, Any]], context: int
) -> Sequence[Tensor]:
    """Vectors for each text encoder, of its width."""
    if isinstance(vectors, TextualEmbedding):
        what, each = f"embedding {vectors.path}", vectors.per_encoder
    else:
        what = f"embedding {word!r}"
        each = (vectors,) if isinstance(vectors, Tensor) else tuple(vectors)
    if any(one.dim() != 2 or not one.numel() for one in each):
        raise ModelError(f"{what} is not a table of vectors (n, width)")
    widths = [int(one.shape[1]) for one in each]
    own = [int(encoder.get_input_embeddings().weight.shape[1]) for encoder, _ in encoders]
    if widths != own:
        raise ModelError(
            f"{what} has vectors of {_numbers(widths)}{_made_for(widths)}; the text "
            f"encoder{'s' * (len(own) > 1)} of this model take{'s' * (len(own) == 1)} "
            f"{_numbers(own)}{_as_in(own)}"
        )
    if max(len(one) for one in each) > context - 2:
        raise ModelError(
            f"{what} has {len(each[0])} vectors; a prompt has room for {context - 2} of this model"
        )
    return each


def _numbers(widths: Sequence[int]) -> str:
    return f"{' and '.join(str(width) for width in widths)} numbers"


def _made_for(widths: Sequence[int]) -> str:
    family = family_of_vectors(widths)
    return f", as made for {family}" if family else ""


def _as_in(widths: Sequence[int]) -> str:
    family = family_of_vectors(widths)
    return f", as in {family}" if family else ""


def _install(
    encoder: Any, tokenizer: Any, words: Sequence[tuple[str, Tensor]], undo: ExitStack
) -> None:
    original, known = tokenizer.backend_tokenizer, dict(words_of(tokenizer))
    backend = copy.deepcopy(original)
    table: nn.Embedding = encoder.get_input_embeddings()
    ids: dict[str, list[int]] = {}
    for word, vectors in words:
        _check_new(word, tokenizer, backend, known, ids)
        ids[word] = _add_tokens(backend, len(vectors))
        known[ids[word][0]] = len(vectors)
    _recognise(backend, {word: "".join(map(backend.id_to_token, ids[word])) for word in ids})
    before = _words.get(tokenizer)
    tokenizer._tokenizer = backend
    _words[tokenizer] = known
    undo.callback(_put_back, tokenizer, original, before)
    for word, own in ids.items():
        if tokenizer(word, add_special_tokens=False).input_ids != own:
            raise UsageError(f"{word!r} cannot be a word of a prompt; choose another token")
    _add_rows(table, [(ids[word], vectors) for word, vectors in words], undo)
    for module in encoder.modules():
        if module.__dict__.get("eos_token_id") == 2:
            undo.callback(setattr, module, "eos_token_id", 2)
            module.eos_token_id = tokenizer.eos_token_id


def _check_new(
    word: str, tokenizer: Any, backend: Any, known: Mapping[int, int], new: Mapping[str, Any]
) -> None:
    again = "choose another token for it"
    if not _normal(backend, word):
        raise UsageError(f"an embedding needs a word that stands for it, not {word!r}")
    if _normal(backend, word) in {_normal(backend, one) for one in new}:
        raise UsageError(f"two embeddings have the token {word!r}; {again}")
    ids = tokenizer(word, add_special_tokens=False).input_ids
    if len(ids) == 1 or set(known) & set(ids):
        raise UsageError(f"the model has the token {word!r} already; {again}")


def _normal(backend: Any, word: str) -> str:
    """A word as the tokenizer sees it."""
    normalizer = backend.normalizer
    text: str = normalizer.normalize_str(word) if normalizer is not None else word
    return text.strip()


def _add_tokens(backend: Any, count: int) -> list[int]:
    """Ids of new tokens, each a character that nobody writes."""
    from tokenizers import AddedToken

    size = backend.get_vocab_size(with_added_tokens=True)
    base = backend.get_vocab_size(with_added_tokens=False)
    characters = [chr(_PRIVATE + size - base + number) for number in range(count)]
    backend.add_tokens([AddedToken(one, normalized=True, special=False) for one in characters])
    return [backend.token_to_id(one) for one in characters]


def _recognise(backend: Any, replacements: Mapping[str, str]) -> None:
    """Have words read as the characters that stand for them, longer words before shorter ones.

    Added tokens alone cannot do this: each is one id, and a word may be several.
    """
    from tokenizers import Regex, normalizers

    steps = [] if backend.normalizer is None else [backend.normalizer]
    normal = {word: _normal(backend, word) for word in replacements}
    for word in sorted(replacements, key=lambda one: len(normal[one]), reverse=True):
        text = normal[word]
        pattern = re.escape(text)
        start = r"(?<!\w)" if re.match(r"\w", text) else ""
        end = r"(?!\w)" if re.search(r"\w$", text) else ""
        steps.append(normalizers.Replace(Regex(start + pattern + end), replacements[word]))
    backend.normalizer = normalizers.Sequence(steps)


def _add_rows(
    table: nn.Embedding, rows: Sequence[tuple[Sequence[int], Tensor]], undo: ExitStack
) -> None:
    old: Any = table.weight
    size = max([old.shape[0], *(own[-1] + 1 for own, _ in rows)])
    weight = torch.zeros(size, old.shape[1], dtype=old.dtype, device=old.device)
    weight[: old.shape[0]] = old
    for own, vectors in rows:
        weight[own[0] : own[-1] + 1] = vectors.to(weight)
        if not torch.isfinite(weight[own[0] : own[-1] + 1]).all():
            raise ModelError(f"an embedding overflows {str(old.dtype).removeprefix('torch.')}")
    undo.callback(_put_table, table, old)
    table.weight = nn.Parameter(weight, requires_grad=False)
    table.num_embeddings = size


def _put_table(table: nn.Embedding, old: nn.Parameter) -> None:
    old.data = old.data.to(table.weight.device)
    table.weight, table.num_embeddings = old, old.shape[0]


def _put_back(tokenizer: Any, backend: Any, words: Mapping[int, int] | None) -> None:
    tokenizer._tokenizer = backend
    if words is None:
        _words.pop(tokenizer, None)
    else:
        _words[tokenizer] = words
