"""`sdcreative attention`: which part of a picture looks at which word of its prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .pictures import check_picture
from .tables import json_flag, table

if TYPE_CHECKING:
    from ..attention import WordMap


def attention_command() -> click.Command:
    """The command; torch is imported when it runs."""

    @click.command("attention", short_help="Show where a picture looks at a word.")
    @click.argument("prompt")
    @click.argument("words", nargs=-1, required=True)
    @click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        default=Path("attention.png"),
        show_default=True,
        help="PNG, JPEG or WebP to write.",
    )
    @click.option(
        "--model",
        default="emoji",
        show_default=True,
        metavar="NAME",
        help="Built-in name, folder, checkpoint file, or id on the Hugging Face hub.",
    )
    @click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
    @click.option("--steps", type=click.IntRange(1, 1000), default=20, show_default=True)
    @click.option("--sampler", default="DPM++ 2M", show_default=True, metavar="NAME")
    @click.option("--guidance-scale", type=float, default=7.5, show_default=True)
    @click.option(
        "--first",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        metavar="STEP",
        help="Average attention from this step on.",
    )
    @click.option(
        "--last",
        type=click.IntRange(1),
        metavar="STEP",
        help="Average attention up to this step; the last one if left out.",
    )
    @click.option("--overwrite", is_flag=True, help="Replace a picture that exists.")
    @json_flag
    def attention(
        prompt: str,
        words: tuple[str, ...],
        output: Path,
        model: str,
        seed: int,
        steps: int,
        sampler: str,
        guidance_scale: float,
        first: int,
        last: int | None,
        overwrite: bool,
        as_json: bool,
    ) -> None:
        """Make a picture of PROMPT, and colour where it looks at each of WORDS.

        WORDS are of the prompt; several that belong together go in quotes, such as "red apple".
        Printed is a word's share of all attention, on average and where it is largest.
        """
        check_picture(output, overwrite)
        from ..attention import attend, draw_attention
        from ..media.image import write_picture
        from ..studio import Studio

        found = attend(
            Studio.load(model),
            prompt,
            words,
            seed=seed,
            steps=steps,
            sampler=sampler,
            guidance_scale=guidance_scale,
            first=first,
            last=last,
        )
        sheet = draw_attention(found)
        write_picture(sheet, output, overwrite)
        if as_json:
            click.echo(json.dumps([_figures(one) for one in found.words], indent=2))
            return
        rows = [
            (one.word, str(len(one.places)), _percent(one.mean), _percent(one.most))
            for one in found.words
        ]
        click.echo(table(("WORD", "TOKENS", "MEAN", "MOST"), rows))
        click.echo(f"{output}: {sheet.width}x{sheet.height}")

    return attention


def _figures(one: WordMap) -> dict[str, object]:
    return {"word": one.word, "tokens": one.places, "mean": one.mean, "most": one.most}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
