"""Whether ours are the latents of diffusers' pipeline.

In half precision two ways of computing the same differ visibly, so that a difference between them
says nothing (bfloat16 compiled or not: 19 dB). What counts there is how far each is from the same
film in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_process import FAULT, Figures

if TYPE_CHECKING:
    import numpy as np

    from gpu import Bench

SEED = 3


def rows(bench: Bench, name: str) -> Iterator[tuple[str, Figures]]:
    """Title and figures of every comparison with diffusers in float32."""
    reference = _latents(bench, name, "gpu_peers", "float32")
    if FAULT in reference:
        yield "diffusers, float32", reference
        return
    yield "sdcreative, float32", _compared(reference, _latents(bench, name, "gpu_ours", "float32"))
    for dtype in bench.options.halves:
        theirs = _compared(reference, _latents(bench, name, "gpu_peers", dtype))
        yield f"diffusers, {dtype}", theirs
        ours = _compared(reference, _latents(bench, name, "gpu_ours", dtype))
        if theirs.get("error") and "error" in ours:
            ours["ratio"] = ours["error"] / theirs["error"]
        yield f"sdcreative, {dtype}", ours


def _latents(bench: Bench, name: str, module: str, dtype: str) -> Figures:
    way = "plain" if module == "gpu_peers" else "exact"
    task = bench.told(name, frames=bench.options.equal_frames, dtype=dtype, way=way, seed=SEED)
    if module == "gpu_peers":
        task["batch"] = 1
    return bench.measure(f"{module}:latents", f"{name} equal {module[4:]} {dtype}", **task)


def _compared(reference: Figures, found: Figures) -> Figures:
    if FAULT in found:
        return {FAULT: found[FAULT]}
    import numpy as np

    arrays = [np.load(Path(one["latents"])) for one in (reference, found)]
    return apart(*arrays)


def apart(reference: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> Figures:
    """How far latents are from others.

    Args:
        reference: (frames, C, h, w).
        found: the same shape.

    Returns:
        largest, the largest difference; error, the root mean square of differences in units of the
        reference's largest value; psnr, of the same and its range of values, in dB.
    """
    import numpy as np

    if not np.isfinite(found).all():
        return {FAULT: "NaN or infinite values"}
    difference = found.astype(np.float64) - reference
    error = float(np.sqrt(np.square(difference).mean()))
    span = float(reference.max() - reference.min())
    return {
        "largest": float(np.abs(difference).max()),
        "error": error / float(np.abs(reference).max()),
        "psnr": 20 * math.log10(span / error) if error else 200.0,
    }
