"""Sheets of sample pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor


def tile(pixels: Tensor, columns: int) -> Image.Image:
    """Tile pictures (N, 3, H, W) in [-1, 1], row by row."""
    array = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte().cpu().numpy()
    count, _, height, width = array.shape
    rows = -(-count // columns)
    sheet = np.full((rows * height, columns * width, 3), 255, dtype=np.uint8)
    for i, picture in enumerate(array):
        y, x = divmod(i, columns)
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width] = picture.transpose(
            1, 2, 0
        )
    return Image.fromarray(sheet)
