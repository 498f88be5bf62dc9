"""What each of the things done to a model on the CPU gains: layers as diffusers has them, and ours.

    python benchmarks/cpu_layers.py [--side 32] [--rows 2] [--rounds 3]

The U-Net and the decoder of Stable Diffusion 1.5 on random weights, called again and again, with
one thing more in each row: as diffusers builds them; memory kept between calls; linear layers by
oneDNN; weights in channels_last. Each in a process of its own, in turn, for some rounds; the
fastest call counts. Beside it stand the pages that the system had to clear in a call, the most
memory of the process, and how far the result is from the first row's.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

STEPS = {
    "plain": "as diffusers builds it",
    "memory": "and memory kept",
    "linears": "and linear layers by oneDNN",
    "layout": "and channels_last: as sdcreative has it",
}
CALLS = 4


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=32, help="of latents: an eighth of pixels (32)")
    parser.add_argument("--rows", type=int, default=2, help="of a call of the U-Net (2)")
    parser.add_argument("--rounds", type=int, default=3, help="of all of them (3)")
    parser.add_argument("--contender", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def build() -> tuple[Any, Any]:
    """A U-Net and an autoencoder of Stable Diffusion 1.5's shapes; weights even in +-0.02."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    kinds: Any = (UNet2DConditionModel, AutoencoderKL)
    with torch.device("meta"):
        unet = kinds[0](
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            cross_attention_dim=768,
            attention_head_dim=8,
        )
        vae = kinds[1](
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
    generator = torch.Generator().manual_seed(0)
    for module in (unet.to_empty(device="cpu"), vae.to_empty(device="cpu")):
        for weight in module.parameters():
            weight.data.uniform_(-0.02, 0.02, generator=generator)
    return unet.eval(), vae.eval()


def contend(options: argparse.Namespace) -> None:
    """One contender, in this process; figures and results go to a file."""
    import torch

    from sdcreative.models.cpu.heap import keep_memory
    from sdcreative.models.cpu.linears import to_onednn

    done = list(STEPS).index(options.contender)
    if done >= 1:
        keep_memory()
    unet, vae = build()
    for module in (unet, vae):
        if done >= 2:
            to_onednn(module)
        if done >= 3:
            module.to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(1)
    side = options.side
    latents = torch.randn(options.rows, 4, side, side, generator=generator)
    words = torch.randn(options.rows, 77, 768, generator=generator)
    calls: dict[str, Callable[[], Any]] = {
        "unet": lambda: unet(latents, 500, encoder_hidden_states=words).sample,
        "vae": lambda: vae.decode(latents[:1]).sample,
    }
    found: dict[str, Any] = {}
    with torch.inference_mode():
        for name, call in calls.items():
            found[f"{name} result"] = call()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            times = []
            for _ in range(CALLS):
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
            pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
            found[name] = {"seconds": min(times), "pages": pages / CALLS}
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    torch.save(found, options.output)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What every contender found, round by round."""
    import torch

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in STEPS}
    for turn in range(options.rounds):
        for name in STEPS:
            output = folder / f"{name}{turn}.pt"
            command = [sys.executable, __file__, "--contender", name, "--output", str(output)]
            command += ["--side", str(options.side), "--rows", str(options.rows)]
            subprocess.run(command, check=True)
            found[name].append(torch.load(output, weights_only=True))
            output.unlink()
            print(f"round {turn + 1} of {options.rounds}: {name}", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: a row for each contender, ratios to the first."""
    lines = [
        "| | U-Net, s | ratio | decoder, s | ratio | pages cleared | memory, GB | difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first = found["plain"][0]
    for name, rounds in found.items():
        cells = []
        for part in ("unet", "vae"):
            seconds = min(one[part]["seconds"] for one in rounds)
            plain = min(one[part]["seconds"] for one in found["plain"])
            cells += [f"{seconds:.2f}", f"{plain / seconds:.2f}"]
        pages = "{:,.0f}, {:,.0f}".format(*(rounds[0][part]["pages"] for part in ("unet", "vae")))
        memory = max(one["memory"] for one in rounds) / 1e9
        off = max(
            float((rounds[0][key] - first[key]).abs().max() / first[key].abs().max())
            for key in ("unet result", "vae result")
        )
        lines.append(
            f"| {STEPS[name]} | {' | '.join(cells)} | {pages} | {memory:.1f} | {off:.0e} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    if options.contender is not None:
        contend(options)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        print(table(measure(options, Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
