"""Importing and loading: ours against diffusers' from_pretrained and from_single_file, in one run.

    python benchmarks/loading.py [--rounds 3] [--width 256] [--keep FOLDER]

A checkpoint of random weights with the build of Stable Diffusion 1 is written in float16, as a
folder and as a single file; the default width of 256 makes it about 1 GB. Every contender loads it
in a process of its own, in turn, for some rounds; the fastest round counts, after one that reads
the files into the disk cache. Peak is the largest resident memory less that after the
imports, in units of the weights as they are loaded. Prints a Markdown table; ratios are to
from_pretrained of the same type.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONTENDERS = {
    "theirs16": "diffusers from_pretrained, float16",
    "ours16": "sdcreative, folder, float16",
    "file16": "sdcreative, single file, float16",
    "theirs_file16": "diffusers from_single_file, float16",
    "theirs32": "diffusers from_pretrained, float32",
    "ours32": "sdcreative, folder, float32",
    "file32": "sdcreative, single file, float32",
    "low16": "sdcreative, folder, float16, low_memory",
}


def write_checkpoint(folder: Path, width: int) -> None:
    """A model folder with the layers of Stable Diffusion 1, and the same as ``model.safetensors``.

    Args:
        folder: of the model; the file lies beside its parts.
        width: channels of the U-Net's first level; 320 in the original.
    """
    import torch
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    from sdcreative.models.places import ModelPlace
    from sdcreative.models.single_files.families import clip_tokenizer
    from sdcreative.models.writing.conversion import plan_conversion

    torch.manual_seed(0)
    tokenizer = clip_tokenizer("v1")
    text = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        bos_token_id=49406, eos_token_id=49407, pad_token_id=49407,
    )  # fmt: skip
    blocks = ("CrossAttnDownBlock2D",) * 3, ("CrossAttnUpBlock2D",) * 3
    pipeline = StableDiffusionPipeline(
        unet=UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(width, 2 * width, 4 * width, 4 * width),
            down_block_types=(*blocks[0], "DownBlock2D"),
            up_block_types=("UpBlock2D", *blocks[1]),
            cross_attention_dim=768,
        ),
        vae=AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            sample_size=512,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder)
    plan_conversion(ModelPlace(folder), to_file=True).write(folder.with_suffix(".safetensors"))


def measure(contender: str, folder: Path) -> dict[str, float]:
    """Seconds and memory of one contender, in this process, which must be fresh."""
    began = time.perf_counter()
    import torch

    dtype = torch.float16 if contender.endswith("16") or contender == "low16" else torch.float32
    file = folder.with_suffix(".safetensors")
    if contender.startswith("theirs"):
        from diffusers import StableDiffusionPipeline

        imported, before = time.perf_counter(), memory("VmRSS")
        if "file" in contender:
            pipe = StableDiffusionPipeline.from_single_file(
                file, config=str(folder), torch_dtype=dtype, safety_checker=None
            )
        else:
            pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=dtype)
        modules = [pipe.unet, pipe.vae, pipe.text_encoder]
    else:
        from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: F401
        from transformers import CLIPTextModel  # noqa: F401

        from sdcreative.models.loading import load_parts

        imported, before = time.perf_counter(), memory("VmRSS")
        parts = load_parts(
            file if contender.startswith("file") else folder,
            device=torch.device("cpu"),
            dtype=dtype,
            low_memory=contender.startswith("low"),
        )
        modules = [parts.unet, parts.vae, parts.text_encoder]
    loaded = time.perf_counter()
    weights = sum(one.numel() * one.element_size() for part in modules for one in part.parameters())
    peak = memory("VmHWM")
    return {
        "import": imported - began,
        "load": loaded - imported,
        "peak": (peak - before) / weights,
        "weights": weights / 1e9,
    }


def memory(name: str) -> int:
    """Bytes of memory that this process has (VmRSS), or has had at most (VmHWM).

    getrusage would also count what the parent had when this process was forked.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def in_process(contender: str, folder: Path) -> dict[str, float]:
    """What ``measure`` says in a fresh process."""
    command = [sys.executable, __file__, "--measure", contender, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def command_line(rounds: int) -> float:
    """Seconds that ``sdcreative --help`` takes at best."""
    best = float("inf")
    for _ in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "sdcreative", "--help"], capture_output=True, check=True
        )
        best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    """Measure all contenders and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--keep", type=Path, help="where the checkpoint is, or is written")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write_checkpoint(Path(given.write[1]), int(given.write[0]))
        return
    if given.measure:
        print(json.dumps(measure(given.measure[0], Path(given.measure[1]))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.keep or Path(scratch)) / "model"
        if not folder.with_suffix(".safetensors").exists():
            command = [sys.executable, __file__, "--write", str(given.width), str(folder)]
            subprocess.run(command, check=True, capture_output=True)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        for number in range(given.rounds + 1):
            for name in CONTENDERS:
                found = in_process(name, folder)
                if number:
                    rounds[name].append(found)
    best = {
        name: {key: min(one[key] for one in each) for key in each[0]}
        for name, each in rounds.items()
    }
    print("| contender | import, s | load, s | both, ratio | peak / weights | weights, GB |")
    print("|---|---|---|---|---|---|")
    for name, title in CONTENDERS.items():
        mine, theirs = best[name], best["theirs" + name[-2:]]
        ratio = (mine["import"] + mine["load"]) / (theirs["import"] + theirs["load"])
        print(
            f"| {title} | {mine['import']:.1f} | {mine['load']:.2f} | {ratio:.2f} "
            f"| {mine['peak']:.2f} | {mine['weights']:.2f} |"
        )
    print(f"\n`sdcreative --help`: {command_line(given.rounds):.2f} s")


if __name__ == "__main__":
    main()
