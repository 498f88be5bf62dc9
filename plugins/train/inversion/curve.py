"""Similarity, editability and validation loss by step, as a PNG drawn with Pillow alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ..tuning.store import write_whole

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP = 720, 360, 48, 64, 36, 44
LINES = {"similarity": "#1f6fd0", "editability": "#2e8b57"}
LOSS, BEST = "#b04a3a", "#e0a020"
LEVELS = 5


def write_curve(
    target: Path, rows: Sequence[Mapping[str, float]], title: str, best: int | None = None
) -> None:
    """Write the curve of all looks; see ``draw_curve``.

    Raises:
        OutputError: the file cannot be written.
    """
    content = io.BytesIO()
    draw_curve(rows, title, best).save(content, "PNG")
    write_whole(target, content.getvalue())


def draw_curve(
    rows: Sequence[Mapping[str, float]], title: str, best: int | None = None
) -> Image.Image:
    """Draw both shares on an axis from 0 to 1, and the loss on one of its own.

    Args:
        rows: of each look "step", "similarity" and "editability"; and, or not, of all of them
            "validation_loss". One or more.
        title: written above.
        best: step of the look whose word is kept, which a vertical line shows.
    """
    last = max(1.0, *(row["step"] for row in rows))
    shares = [row[name] for row in rows for name in LINES]
    low, high = min(0.0, *shares), max(1.0, *shares)

    def place(step: float, value: float, bottom: float, top: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / last
        return x, TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / (top - bottom)

    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    for number in range(LEVELS):
        share = number / (LEVELS - 1)
        level = low + (high - low) * share
        x, y = place(0, level, low, high)
        pen.line([(x, y), (WIDTH - RIGHT, y)], fill="#dddddd")
        pen.text((6, y - 6), f"{level:.2f}", fill="#444444")
        step = round(last * share)
        pen.text((place(step, low, low, high)[0] - 10, HEIGHT - BOTTOM + 8), str(step), "#444444")
    if best is not None:
        pen.line([place(best, low, low, high), place(best, high, low, high)], fill=BEST, width=2)
    for name, colour in LINES.items():
        _draw(pen, [place(row["step"], row[name], low, high) for row in rows], colour)
    legend = {**LINES, **({} if best is None else {f"kept: step {best}": BEST})}
    losses = [row["validation_loss"] for row in rows if "validation_loss" in row]
    if len(losses) == len(rows):
        least, most = min(losses), max(losses)
        most = max(most, least * 1.01 + 1e-9)
        _draw(
            pen,
            [place(row["step"], row["validation_loss"], least, most) for row in rows],
            LOSS,
        )
        for loss in (least, most):
            pen.text((WIDTH - RIGHT + 6, place(0, loss, least, most)[1] - 6), f"{loss:.4f}", LOSS)
        legend["validation loss"] = LOSS
    pen.text((LEFT, 8), title, fill="black")
    x = float(LEFT)
    for name, colour in legend.items():
        pen.text((x, 24), name, fill=colour)
        x += pen.textlength(name) + 20
    return picture


def _draw(pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: str) -> None:
    if len(points) > 1:
        pen.line(points, fill=colour, width=2)
    for x, y in points:
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
