"""`sdcreative tokens`: how a model's tokenizer cuts a prompt, and what is near its tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from .tables import json_flag, table

if TYPE_CHECKING:
    from ..core.prompt_words import Term
    from ..models.loading import Parts

Token = dict[str, Any]
"""token, id, weight, chunk (from 1) and perhaps neighbours, as in the JSON"""


def tokens_command() -> click.Command:
    """The command; torch is imported when it runs."""

    @click.command("tokens", short_help="Show how a model reads a prompt.")
    @click.argument("prompt")
    @click.option(
        "--model",
        default="emoji",
        show_default=True,
        metavar="NAME",
        help="Built-in name, folder of a diffusers model, or id on the Hugging Face hub.",
    )
    @click.option(
        "--neighbours",
        type=click.IntRange(0, 100),
        default=0,
        metavar="N",
        help="Name the N tokens whose embeddings are nearest to each.",
    )
    @click.option(
        "--steps",
        type=click.IntRange(1, 1000),
        default=20,
        show_default=True,
        help="Sampling steps, in which [a:b:0.5] and [a|b] change.",
    )
    @click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="Chooses from {a|b}."
    )
    @click.option("--plain", is_flag=True, help="Take every character as text.")
    @json_flag
    def tokens(
        prompt: str,
        model: str,
        neighbours: int,
        steps: int,
        seed: int,
        plain: bool,
        as_json: bool,
    ) -> None:
        """Show the tokens of PROMPT, with their ids and weights, in chunks.

        A prompt that is longer than a chunk goes on in the next one; nothing is lost. Prompts that
        change with the step are shown as often as they are something else.
        """
        from ..core.prompt_syntax import read_prompt
        from ..core.prompt_wildcards import expand_wildcards
        from ..studio import Studio

        text = prompt if plain else expand_wildcards(prompt, seed)
        read = read_prompt(text, "plain" if plain else "weighted")
        parts = Studio.load(model, device="cpu").parts
        found = {
            "model": model,
            "prompt": text,
            "room": parts.context - 2,
            "terms": [
                {"weight": term.weight, "wordings": list(_wordings(parts, term, steps, neighbours))}
                for term in read.terms
            ],
            "loras": [asdict(lora) for lora in read.loras],
        }
        if as_json:
            click.echo(json.dumps(found, indent=2))
        else:
            click.echo(_as_text(found, steps, changed=text != prompt))

    return tokens


def _wordings(parts: Parts, term: Term, steps: int, neighbours: int) -> Iterator[dict[str, Any]]:
    """What a prompt is, and in which steps, counted from 1."""
    from ..models.text import chunks

    when: dict[Any, list[int]] = {}
    begins = [0, *sorted(term.changes(steps))]
    for first, after in zip(begins, [*begins[1:], steps], strict=True):
        when.setdefault(term.at(first, steps), []).extend(range(first + 1, after + 1))
    for wording, shown in when.items():
        cut = chunks(parts, wording)
        tokens = [
            {"token": name, "id": token, "weight": weight, "chunk": number}
            for number, chunk in enumerate(cut, 1)
            for name, token, weight in zip(
                parts.tokenizer.convert_ids_to_tokens(list(chunk.tokens)),
                chunk.tokens,
                chunk.weights,
                strict=True,
            )
        ]
        if neighbours:
            _add_neighbours(parts, tokens, neighbours)
        yield {"steps": shown, "chunks": len(cut), "tokens": tokens}


def _add_neighbours(parts: Parts, tokens: Sequence[Token], count: int) -> None:
    """The tokens at the smallest angles, as the text encoder's first layer holds them."""
    import torch

    known = len(parts.tokenizer)
    rows = parts.text_encoder.get_input_embeddings().weight[:known].float()
    rows = torch.nn.functional.normalize(rows, dim=-1)
    for token in tokens:
        likeness = rows @ rows[token["id"]]
        likeness[token["id"]] = -torch.inf
        nearest = likeness.topk(min(count, known - 1))
        names = parts.tokenizer.convert_ids_to_tokens(nearest.indices.tolist())
        token["neighbours"] = [
            {"token": name, "id": other, "cosine": round(cosine, 4)}
            for name, other, cosine in zip(
                names, nearest.indices.tolist(), nearest.values.tolist(), strict=True
            )
        ]


def _as_text(found: dict[str, Any], steps: int, changed: bool) -> str:
    lines = [f"read as: {found['prompt']}"] if changed else []
    terms = found["terms"]
    for number, term in enumerate(terms, 1):
        for wording in term["wordings"]:
            title = []
            if len(terms) > 1:
                title.append(f"prompt {number} of {len(terms)}, weight {term['weight']:g}")
            if len(term["wordings"]) > 1:
                title.append(f"steps {_ranges(wording['steps'])} of {steps}")
            if title:
                lines.append(", ".join(title))
            lines += [_tokens_table(wording["tokens"]), _summary(wording, found["room"]), ""]
    for lora in found["loras"]:
        lines.append(
            f"LoRA {lora['name']}: {lora['unet']:g} of it to the U-Net, "
            f"{lora['text_encoder']:g} to the text encoder"
        )
    return "\n".join(lines).rstrip()


def _tokens_table(tokens: Sequence[Token]) -> str:
    head = ["CHUNK", "TOKEN", "ID", "WEIGHT"]
    rows = [
        [str(one["chunk"]), one["token"], str(one["id"]), f"{one['weight']:.4g}"] for one in tokens
    ]
    if tokens and "neighbours" in tokens[0]:
        head.append("NEIGHBOURS")
        for row, one in zip(rows, tokens, strict=True):
            near = [f"{other['token']} {other['cosine']:.2f}" for other in one["neighbours"]]
            row.append(", ".join(near))
    return table(head, rows)


def _summary(wording: dict[str, Any], room: int) -> str:
    tokens, chunks = wording["tokens"], wording["chunks"]
    said = f"{_count(len(tokens), 'token')} in {_count(chunks, 'chunk')} of {room}"
    beyond = sum(one["chunk"] > 1 for one in tokens)
    return f"{said}; {beyond} beyond the first" if chunks > 1 else said


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers in order as 1-4, 7, 9-10."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
