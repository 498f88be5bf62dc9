"""The loss curve of a training run as a PNG, drawn with Pillow alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 360, 64, 36, 28


def draw_curve(log: Path, target: Path, title: str) -> None:
    """Plot "loss" over "step" of a JSONL log, the loss on a logarithmic axis."""
    if not log.is_file():
        return
    rows = [json.loads(line) for line in log.read_text().splitlines() if line]
    points = [(row["step"], row["loss"]) for row in rows if row["loss"] > 0]
    if len(points) < 2:
        return
    last = max(step for step, _ in points)
    low = math.log10(min(loss for _, loss in points))
    high = max(math.log10(max(loss for _, loss in points)), low + 0.1)

    def place(step: float, log_loss: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 16) * step / last
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - log_loss) / (high - low)
        return x, y

    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    for i in range(5):
        level = low + (high - low) * i / 4
        x, y = place(0, level)
        pen.line([(x, y), (WIDTH - 16, y)], fill="#dddddd")
        pen.text((4, y - 6), f"{10**level:.4g}", fill="#444444")
        step = last * i // 4
        pen.text((place(step, low)[0] - 10, HEIGHT - BOTTOM + 8), str(step), fill="#444444")
    pen.line([place(s, math.log10(v)) for s, v in points], fill="#1f6fd0", width=2)
    pen.text((LEFT, 8), f"{title}: loss by step", fill="black")
    picture.save(target)
