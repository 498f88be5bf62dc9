"""The rows of a new word: all that is trained, beside token tables that stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sdcreative import ModelError, UsageError
from sdcreative.models.addons.embedding_files import TextualEmbedding
from sdcreative.models.addons.embedding_installing import install


class Rows(nn.Module):
    """Vectors (n, width) of a word, float32, one parameter for each text encoder."""

    def __init__(self, vectors: Sequence[Tensor]) -> None:
        super().__init__()
        copies = [nn.Parameter(one.detach().float().clone()) for one in vectors]
        self.each = nn.ParameterList(copies)

    @property
    def count(self) -> int:
        """How many vectors the word has."""
        return int(self.each[0].shape[0])

    def copies(self, count: int | None = None) -> tuple[Tensor, ...]:
        """The first vectors of each encoder, or all, in main memory; nothing changes them."""
        return tuple(one[:count].detach().cpu().clone() for one in self.each)

    @contextmanager
    def read_by(self, parts: Any) -> Iterator[None]:
        """Have ids beyond the token tables mean these rows, with gradients.

        The tables are not touched, so nothing of them has to be kept from training, be put back
        after a step, or be held twice.
        """
        with ExitStack() as undo:
            for (encoder, _), rows in zip(text_encoders(parts), self.each, strict=True):
                table = encoder.get_input_embeddings()
                table.forward = _reading(table, rows)
                undo.callback(table.__dict__.pop, "forward")
            yield


def _reading(table: nn.Embedding, rows: Tensor) -> Callable[[Tensor], Tensor]:
    def forward(ids: Tensor) -> Tensor:
        size = table.weight.shape[0]
        known = functional.embedding(ids.clamp(max=size - 1), table.weight)
        new = functional.embedding((ids - size).clamp(0, rows.shape[0] - 1), rows)
        return torch.where((ids >= size)[..., None], new.to(known.dtype), known)

    return forward


def text_encoders(parts: Any) -> list[tuple[Any, Any]]:
    """(text encoder, its tokenizer) of a model, the first one first."""
    pairs = [
        (parts.text_encoder, parts.tokenizer),
        (parts.text_encoder_2, parts.tokenizer_2),
    ]
    return [pair for pair in pairs if pair[0] is not None]


@torch.no_grad()
def initial_rows(
    parts: Any, phrase: str, count: int | None, report: Callable[[str], None]
) -> list[Tensor]:
    """Rows of a phrase that the model knows, for each text encoder.

    Args:
        parts: the model.
        phrase: such as "toy robot".
        count: how many rows; as many as the phrase has tokens if None. More than that repeat it,
            of fewer the last are taken, which are the noun of a phrase.
        report: prints one line.

    Returns:
        (count, width) each.

    Raises:
        UsageError: the phrase is empty for the tokenizer.
    """
    found = []
    for number, (encoder, tokenizer) in enumerate(text_encoders(parts)):
        ids = tokenizer(phrase, add_special_tokens=False).input_ids
        if not ids:
            raise UsageError(f"initial: {phrase!r} has no word; give one that the model knows")
        wanted = count or len(ids)
        if wanted < len(ids):
            if number == 0:
                pieces = tokenizer.convert_ids_to_tokens(ids)
                report(
                    f"initial: {phrase!r} is {len(ids)} tokens of the model ({' '.join(pieces)}); "
                    f"the last {wanted} are taken. vectors: {len(ids)} takes them all"
                )
            ids = ids[-wanted:]
        chosen = torch.tensor([ids[place % len(ids)] for place in range(wanted)])
        table = encoder.get_input_embeddings().weight
        found.append(table[chosen.to(table.device)].float().cpu())
    return found


def rows_of(embedding: TextualEmbedding, parts: Any) -> list[Tensor]:
    """Rows of a file, to go on from.

    Raises:
        ModelError: it is of a model with other text encoders.
    """
    widths = [encoder.get_input_embeddings().weight.shape[1] for encoder, _ in text_encoders(parts)]
    given = [each.shape[1] for each in embedding.per_encoder]
    if widths != given:
        of = f", as in {embedding.family}" if embedding.family else ""
        raise ModelError(
            f"start_from: {embedding.path} has vectors of {_listed(given)} numbers{of}; this model "
            f"takes {_listed(widths)}"
        )
    return [each.float() for each in embedding.per_encoder]


def _listed(widths: Sequence[int]) -> str:
    return " and ".join(map(str, widths))


def check_word(parts: Any, token: str, rows: Sequence[Tensor]) -> None:
    """Whether the model can be taught a word.

    Raises:
        UsageError: it has the word already, or no prompt could contain it.
        ModelError: the vectors do not fit.
    """
    install(parts, [(token, list(rows))]).close()
