"""What commands print: plain columns for a terminal or a pipe, JSON for scripts."""

from __future__ import annotations

from collections.abc import Sequence

import click

json_flag = click.option("--json", "as_json", is_flag=True, help="For scripts.")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart; the last one is never padded or cut.

    >>> print(table(("NAME", "SUMMARY"), [("bear", "a bear"), ("apple", "an apple")]))
    NAME   SUMMARY
    bear   a bear
    apple  an apple
    """
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
