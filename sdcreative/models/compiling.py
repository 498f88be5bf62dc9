"""A model's layers compiled for one film, beside the model's own, which stay as they are.

What repeats in a U-Net, a transformer or a decoder is compiled once for each form that it has, not
the whole: of Stable Diffusion 1.5 the ResNets and the attention hold all but a few of its
operations, and take a seventh of the time to compile. Compiled code is for one shape only. The
shapes are those of a film's first batch; a batch with fewer rows is filled up to one of them, or
computed without, so that nothing is ever compiled in mid film.
"""

from __future__ import annotations

import copy
import os
import platform
import re
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from platformdirs import user_cache_path
from torch import Tensor, nn

from ..core.conditioning import Conditioning
from ..core.sampling import Predict
from .twins import Watched, twin

if TYPE_CHECKING:
    from .parts import Parts

Choice = Literal["auto", "on", "off"]
Picture = TypeVar("Picture")
Form = tuple[object, ...]
"""all of a call's shapes and types but its number of rows"""

PAYS_BACK = 6000
"""evaluations of one 512x512 picture by Stable Diffusion 1.5: what compiling in parts takes, over
what an evaluation gains by it, from figures published for an H100"""
_PIXELS = 512 * 512
_FORMS = 256
"""of layers of one kind, which is one function to torch"""
_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def is_worth_it(choice: Choice, device: torch.device, evaluations: int, pixels: int) -> bool:
    """Whether a film's model is compiled.

    Args:
        choice: auto takes CUDA where the film is long enough; it never pays back on a CPU, where
            compiling a U-Net takes minutes and gains a few per cent.
        device: where the model computes.
        evaluations: of one picture each, in the whole film.
        pixels: of one picture.

    >>> is_worth_it("auto", torch.device("cuda"), 4 * 6000, 256 * 256)
    True
    """
    if choice != "auto":
        return choice == "on"
    return device.type == "cuda" and evaluations * pixels >= PAYS_BACK * _PIXELS


def kept_in(device: torch.device) -> Path:
    """Where compiled code is kept for later processes; by version of torch and by device.

    It holds no weights, and serves all models of one architecture.
    """
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        name = f"{name} {torch.backends.cpu.get_cpu_capability()}"
    folder = re.sub(r"[^\w.+-]+", "_", f"{torch.__version__} {name}")
    return user_cache_path("sdcreative") / "compiled" / folder


class Compiled:
    """The compiled layers of a model; not to be shared between threads that denoise.

    Args:
        parts: the model. Its weights are shared, and it is never changed.
        report: told in a line why the model goes on without, where nothing can be compiled here.

    Attributes:
        parts: the model with compiled layers. Call it only in numbers of rows from ``rows``.
    """

    def __init__(self, parts: Parts, report: Callable[[str], None]) -> None:
        # Another folder is left alone, whoever chose it.
        os.environ.setdefault(_VARIABLE, str(kept_in(parts.device)))
        self._plain, self._report = replace(parts, compiled=None), report
        forms: dict[Form, Any] = {}
        compiled = {part: twin(getattr(parts, part), forms) for part in ("unet", "transformer")}
        vae = copy.copy(parts.vae)
        vae._modules = dict(vae._modules)
        if isinstance(vae._modules.get("decoder"), nn.Module):
            vae._modules["decoder"] = twin(parts.vae.decoder, forms)
        self.parts = replace(self._plain, vae=vae, **compiled)
        self._watched = {part: Watched(getattr(parts, part)) for part in ("vae", "denoiser")}
        self._known: dict[Form, set[int]] = {}
        self._batch, self._open, self._works = 1, False, True

    def begin(self, batch: int) -> Compiled:
        """Compile what the first pictures of a film take, up to ``settle``.

        Args:
            batch: pictures that are denoised together.
        """
        self._batch, self._open = batch, True
        return self

    def settle(self) -> None:
        """Compile nothing from here on: what comes in another shape is computed without."""
        self._open = False

    def serving(self, pictures: Generator[Picture, None, None]) -> Generator[Picture, None, None]:
        """The pictures of a film; nothing more is compiled once the first is there."""
        with closing(pictures):
            for picture in pictures:
                self.settle()
                yield picture

    def rows(self, form: Form, count: int) -> int:
        """To how many rows a call is filled up, or 0 for one that is better made without.

        Args:
            form: of the call.
            count: rows that it has.
        """
        known = self._known.setdefault(form, set())
        # Compiling gains less than a third, so a quarter of the rows may be wasted.
        fits = [size for size in known if count <= size <= count * 4 / 3]
        if fits:
            return min(fits)
        if not self._open or not self._works:
            return 0
        if form[0] == "vae":
            return 0 if known else count
        # Without a negative prompt, with one, and with prompts that are joined.
        whole = (self._batch, 2 * self._batch, max(count, 2 * self._batch))
        return next((size for size in whole if count <= size <= count * 4 / 3), 0)

    def call(
        self,
        form: Form,
        count: int,
        fast: Callable[[int], Any],
        plain: Callable[[], Any],
    ) -> Any:
        """What a call gives, compiled where that can be.

        Args:
            form: of the call; its first entry is "vae" or "denoiser".
            count: rows that it has.
            fast: makes the call by ``parts``, filled up to a number of rows.
            plain: makes it by the model's own layers.
        """
        if self._watched[str(form[0])].is_changed() or not (rows := self.rows(form, count)):
            return plain()
        if rows in self._known[form]:
            return fast(rows)
        import torch._dynamo

        try:
            with torch._dynamo.config.patch(
                recompile_limit=_FORMS, accumulated_recompile_limit=8 * _FORMS
            ):
                found = fast(rows)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            self._works = False
            self._known.clear()
            said = str(error).strip().partition("\n")[0] or type(error).__name__
            self._report(f"not compiled, which is slower and else the same: {said[:160]}")
            return plain()
        self._known[form].add(rows)
        return found

    def predictor(self, plain: Predict, fast: Predict) -> Predict:
        """A denoiser that is called compiled wherever that can be.

        Args:
            plain: of the model's own layers.
            fast: likewise, of those of ``parts``.
        """

        def predict(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
            def filled(rows: int) -> Tensor:
                output = fast(_filled(latents, rows), time, _all_filled(conditioning, rows))
                return _first(output, len(latents))

            told = ((name, *each.shape[1:]) for name, each in _tensors(conditioning))
            form = ("denoiser", *latents.shape[1:], *told)
            output: Tensor = self.call(
                form, len(latents), filled, lambda: plain(latents, time, conditioning)
            )
            return output

        return predict

    def decode(self, latents: Tensor) -> Tensor:
        """What ``vae.decode`` gives, (N, 3, H, W)."""

        def by(vae: Any, rows: Tensor) -> Tensor:
            output: Tensor = vae.decode(rows).sample
            return output

        if getattr(self._plain.vae, "use_tiling", False):
            return by(self._plain.vae, latents)
        output: Tensor = self.call(
            ("vae", latents.dtype, *latents.shape[1:]),
            len(latents),
            lambda rows: _first(by(self.parts.vae, _filled(latents, rows)), len(latents)),
            lambda: by(self._plain.vae, latents),
        )
        return output


def _filled(tensor: Tensor, rows: int) -> Tensor:
    """The last row again, up to so many rows."""
    missing = rows - len(tensor)
    if missing:
        return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]).contiguous()
    # Compiled code tells tensors of inference from others, and what is made here is one of them.
    if tensor.is_inference() == torch.is_inference_mode_enabled():
        return tensor.contiguous()
    return tensor.clone(memory_format=torch.contiguous_format)


def _first(tensor: Tensor, rows: int) -> Tensor:
    """Rows that were asked for; a view of the others would keep them too."""
    return tensor[:rows].clone() if rows < len(tensor) else tensor


def _all_filled(conditioning: Conditioning, rows: int) -> Conditioning:
    return replace(
        conditioning, **{name: _filled(each, rows) for name, each in _tensors(conditioning)}
    )


def _tensors(conditioning: Conditioning) -> Iterator[tuple[str, Tensor]]:
    """By name, all that the rows of a batch have."""
    for field in fields(conditioning):
        each = getattr(conditioning, field.name)
        if each is not None:
            yield field.name, each
