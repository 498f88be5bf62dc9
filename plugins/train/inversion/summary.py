"""Did it learn? What became of the rows, and the answer in a plain sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from sdcreative.models.loading import Parts

from .rows import text_encoders
from .verdicts import Verdict

LEARNED, PARTLY = 0.5, 0.2
"""similarities from which a word is called learned, or partly so"""
ACTS, HARDLY = 0.7, 0.35
"""editabilities from which other words are said to act still, and below which hardly"""
NEAREST = 5
FAR = 99.0
"""percentile of norms above which a word is called out of the vocabulary's range"""
WORD_END = "</w>"


@dataclass(frozen=True)
class Vocabulary:
    """The words that a text encoder had before.

    Attributes:
        table: (V, width), float32.
        words: of every row; pieces of words are "", as nobody would know them.
    """

    table: Tensor
    words: tuple[str, ...]


@dataclass(frozen=True)
class Moved:
    """What became of one row.

    Attributes:
        distance: from where it began, Euclidean.
        relative: the same, by the median norm of the vocabulary.
        norm: of the row.
        percentile: share of the vocabulary with a smaller norm, in percent.
        nearest: words with the largest cosines to it, and these.
    """

    distance: float
    relative: float
    norm: float
    percentile: float
    nearest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Summary:
    """All that is said at the end.

    Attributes:
        token, initial: the word, and what it began as.
        step: the look that was kept.
        similarity, editability: of its verdict.
        moved: of every row, for each text encoder.
        learned: whether the similarity says so.
        sentence: the answer.
    """

    token: str
    initial: str
    step: int
    similarity: float
    editability: float
    moved: tuple[tuple[Moved, ...], ...]
    learned: bool
    sentence: str

    def document(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self)

    def lines(self) -> list[str]:
        """As it is printed; the sentence comes last."""
        said = []
        for number, encoder in enumerate(self.moved):
            which = f", text encoder {number + 1}" if len(self.moved) > 1 else ""
            for place, row in enumerate(encoder):
                words = ", ".join(f"{word} {cosine:.2f}" for word, cosine in row.nearest)
                said.append(
                    f"vector {place + 1}{which}: moved by {row.distance:.3f} ({row.relative:.1f} "
                    f"times a usual norm); norm {row.norm:.3f}, above {row.percentile:.0f} % of "
                    f"the vocabulary; nearest: {words or 'no word'}"
                )
        said.append(
            f"kept from step {self.step}: similarity {self.similarity:.2f}, editability "
            f"{self.editability:.2f}"
        )
        return [*said, self.sentence]


def vocabularies(parts: Parts) -> list[Vocabulary]:
    """The vocabulary of each text encoder that learns words, of CLIP's kind."""
    return [_vocabulary(*one) for one in text_encoders(parts)]


def _vocabulary(encoder: Any, tokenizer: Any) -> Vocabulary:
    table = encoder.get_input_embeddings().weight.detach().float().cpu()
    # Words that were installed come after the tokenizer's own.
    pieces = [""] * min(len(table), tokenizer.backend_tokenizer.get_vocab_size(False))
    for piece, number in tokenizer.backend_tokenizer.get_vocab(False).items():
        if number < len(pieces) and piece.endswith(WORD_END):
            pieces[number] = piece.removesuffix(WORD_END)
    return Vocabulary(table[: len(pieces)].clone(), tuple(pieces))


def follow(rows: Tensor, initial: Tensor, vocabulary: Vocabulary) -> tuple[Moved, ...]:
    """What became of rows (n, width) that began as others (n, width)."""
    table = vocabulary.table
    norms = table.norm(dim=1)
    usual = float(norms.median().clamp_min(1e-12))
    named = [place for place, word in enumerate(vocabulary.words) if any(map(str.isalpha, word))]
    known = normalize(table[named], dim=1)
    found = []
    for row, began in zip(rows.detach().float().cpu(), initial.detach().float().cpu(), strict=True):
        cosines = known @ normalize(row, dim=0)
        best = cosines.topk(min(NEAREST, len(named)))
        distance = float((row - began).norm())
        found.append(
            Moved(
                distance=distance,
                relative=distance / usual,
                norm=float(row.norm()),
                percentile=float((norms < row.norm()).float().mean() * 100),
                nearest=tuple(
                    (vocabulary.words[named[place]], round(value, 4))
                    for value, place in zip(
                        best.values.tolist(), best.indices.tolist(), strict=True
                    )
                ),
            )
        )
    return tuple(found)


def summarise(
    token: str,
    initial: str,
    verdict: Verdict,
    rows: Sequence[Tensor],
    began: Sequence[Tensor],
    known: Sequence[Vocabulary],
) -> Summary:
    """All of it.

    Args:
        token, initial: the word, and what it began as.
        verdict: of the look that is kept.
        rows, began: the word then and at first, for each text encoder (n, width).
        known: the vocabulary of each.
    """
    moved = tuple(
        follow(now, then, words) for now, then, words in zip(rows, began, known, strict=True)
    )
    percentile = max(row.percentile for encoder in moved for row in encoder)
    return Summary(
        token,
        initial,
        verdict.step,
        verdict.similarity,
        verdict.editability,
        moved,
        verdict.similarity >= LEARNED,
        tell(token, initial, verdict.similarity, verdict.editability, percentile),
    )


def tell(token: str, initial: str, similar: float, editable: float, percentile: float) -> str:
    """The answer: what was learned, what it costs, and what to do about it.

    Args:
        token, initial: the word, and what it began as.
        similar, editable: of ``Verdict``.
        percentile: the largest of its rows' norms, in percent of the vocabulary.
    """
    way = f"{max(0.0, similar):.0%} of the way from {initial!r} to the training pictures"
    if similar < PARTLY:
        return (
            f"It did not learn: pictures of {token} are {way}. Try more steps, a higher learning "
            "rate, or more vectors."
        )
    answer = "It learned" if similar >= LEARNED else "It learned a little"
    first = f"{answer}: pictures of {token} are {way}"
    if editable >= ACTS:
        return f"{first}, and other words still act as beside {initial!r}."
    doing = f"other words do {max(0.0, editable):.0%} of what they do beside {initial!r}"
    if editable >= HARDLY:
        return f"{first}, but {doing}; fewer steps or vectors leave them more."
    large = "; its norm is larger than nearly all words have" if percentile >= FAR else ""
    return (
        f"{first}, but it drowns the rest of a prompt: {doing}{large}. Try fewer steps or a lower "
        "learning rate."
    )
