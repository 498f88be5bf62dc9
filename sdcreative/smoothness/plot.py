"""The steps of a film as a picture, drawn with Pillow alone."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw

from .analysis import Smoothness

WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 84, 20, 40, 60
STEP, JUMP, SAME, GRID, TEXT = "#1f6fd0", "#d02f2f", "#999999", "#dddddd", "#444444"


def draw_steps(found: Smoothness, metric: str, title: str) -> Image.Image:
    """Distance over frame number; jumps are marked in red, duplicates in grey below.

    Args:
        found: what is drawn.
        metric: name of the distance, for the axis.
        title: drawn above.

    Returns:
        RGB, 960x420 pixels.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    top = found.largest or 1.0
    unit = round_unit(top / 4)
    top = unit * math.ceil(top / unit - 1e-9)
    count = len(found.steps)

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (step + 0.5) / count
        return x, TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)

    ground = HEIGHT - BOTTOM
    for i in range(round(top / unit) + 1):
        y = place(0, i * unit)[1]
        pen.line([(LEFT, y), (WIDTH - RIGHT, y)], fill=GRID)
        pen.text((LEFT - 8, y), f"{i * unit:.4g}", fill=TEXT, anchor="rm")
    apart = max(1, round(round_unit(count / 10)))
    for step in range(0, count, apart):
        x = place(step, 0)[0]
        pen.line([(x, ground), (x, ground + 4)], fill=TEXT)
        pen.text((x, ground + 8), str(step), fill=TEXT, anchor="mt")
    pen.line([(LEFT, TOP), (LEFT, ground), (WIDTH - RIGHT, ground)], fill=TEXT)

    middle = place(0, found.median)[1]
    for x in range(LEFT, WIDTH - RIGHT, 12):
        pen.line([(x, middle), (x + 5, middle)], fill=TEXT)
    points = [place(step, value) for step, value in enumerate(found.steps)]
    if count > 1:
        pen.line(points, fill=STEP, width=2)
    if count <= 120:
        for x, y in points:
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=STEP)
    for step in found.duplicates:
        x = place(step, 0)[0]
        pen.line([(x, ground - 6), (x, ground)], fill=SAME, width=2)
    for step in found.jumps:
        x, y = points[step]
        pen.line([(x, y), (x, ground)], fill=JUMP)
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=JUMP)
        pen.text((x, y - 6), str(step), fill=JUMP, anchor="mb")

    ratio = f"largest {found.largest:.4g}, median {found.median:.4g} (dashed)"
    pen.text((LEFT, 8), f"{title}: {ratio}, {len(found.jumps)} jumps", fill="black")
    pen.text((WIDTH / 2, HEIGHT - 8), "frame, to the next one", fill=TEXT, anchor="mb")
    label = Image.new("RGB", (HEIGHT, 16), "white")
    ImageDraw.Draw(label).text((HEIGHT / 2, 8), f"distance ({metric})", fill=TEXT, anchor="mm")
    picture.paste(label.rotate(90, expand=True), (4, 0))
    return picture


def round_unit(least: float) -> float:
    """The smallest of 1, 2, 5, 10, ... times a power of ten that is at least that."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9))
