"""What the machine is and can do at most, and what a picture takes."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_models import BUILDS, denoiser
from gpu_process import Notes

TOKENS = 77


def describe(task: dict[str, Any], notes: Notes) -> None:
    """The machine's name, versions, and its fastest matrix product.

    Args:
        task: device, dtypes, and side of the square matrices.
        notes: gets name, versions, and peak, floating-point operations per second by type.
    """
    import diffusers
    import torch
    import transformers

    import sdcreative

    notes(name=device_title(task["device"]))
    versions = {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "sdcreative": sdcreative.__version__,
    }
    if torch.version.cuda and task["device"] != "cpu":
        versions["CUDA"] = torch.version.cuda
        versions["cuDNN"] = str(torch.backends.cudnn.version())
        versions["driver"] = driver()
    notes(versions=versions)
    peak: dict[str, float] = {}
    for dtype in task["dtypes"]:
        peak[dtype] = matrix_peak(task["device"], dtype, task["side"])
        notes(peak=peak)


def device_title(device: str) -> str:
    """The name of the graphics card, or of the processor."""
    import torch

    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, {platform.platform()}"
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads, {platform.platform()}"


def driver() -> str:
    """The version of NVIDIA's driver; a question mark where it does not say."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text("utf-8")
    except OSError:
        return "?"
    return next((word for word in text.split() if word.replace(".", "").isdigit()), "?")


def matrix_peak(device: str, dtype: str, side: int, seconds: float = 2.0) -> float:
    """Floating-point operations per second of a product of two square matrices, the fastest one.

    The clock of a card falls under load, so that the fastest of many is above what it sustains.
    """
    import torch

    shape = (side, side)
    a, b = (torch.randn(shape, device=device).to(getattr(torch, dtype)) for _ in range(2))
    rounds = 10 if device.startswith("cuda") else 1
    best, ends = float("inf"), time.perf_counter() + seconds
    product = torch.mm(a, b)
    while time.perf_counter() < ends or best == float("inf"):
        synchronise(device)
        began = time.perf_counter()
        for _ in range(rounds):
            torch.mm(a, b, out=product)
        synchronise(device)
        best = min(best, (time.perf_counter() - began) / rounds)
    return float(2 * side**3 / best)


def denoiser_work(name: str) -> float:
    """Floating-point operations of the U-Net for one row of one step, counted on no device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    build = BUILDS[name]
    unet = denoiser(build)
    config = unet.config
    with torch.device("meta"):
        latents = torch.empty(1, config.in_channels, build.size // 8, build.size // 8)
        text = torch.empty(1, TOKENS, config.cross_attention_dim)
        time_ids = torch.empty(1, 6)
        added = None
        if config.addition_embed_type == "text_time":
            told = 6 * config.addition_time_embed_dim
            pooled = torch.empty(1, config.projection_class_embeddings_input_dim - told)
            added = {"text_embeds": pooled, "time_ids": time_ids}
        step = torch.zeros(1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(latents, step, text, added_cond_kwargs=added)
    return float(counter.get_total_flops())


def count(task: dict[str, Any], notes: Notes) -> None:
    """Work of one row of one step of every build in the task's ``models``."""
    notes(work={name: denoiser_work(name) for name in task["models"]})


def synchronise(device: str) -> None:
    """Wait until a device has done all it was told."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def forget_memory(device: str) -> None:
    """What ``memory_peak`` tells begins here; a CPU's counts from the start of the process."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def memory_peak(device: str) -> float:
    """Bytes of memory that this process held at most, on a card what torch had reserved."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_reserved(device))
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def timed(device: str, work: Callable[[], object]) -> float:
    """Seconds that something takes, the device's work included."""
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began
