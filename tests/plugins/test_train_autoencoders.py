"""Codebooks, what one sees, and the critic of patches: terms of the autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from sdcreative import UsageError
from sdcreative.models.building import build_autoencoder, build_clip, read_part, save_part
from sdcreative_plugins.train.autoencoder import AutoencoderObjective
from sdcreative_plugins.train.critic import Critic, adaptive_weight, patch_gan
from sdcreative_plugins.train.latents import encode_mean
from sdcreative_plugins.train.loop import train
from sdcreative_plugins.train.perceptual import Perceptual, of_part, perceptual
from sdcreative_plugins.train.pictures import Drawing
from sdcreative_plugins.train.regularisers import CodebookPenalty, perplexity
from sdcreative_plugins.train.stages import AutoencoderStage, Schedule

CPU = torch.device("cpu")


def stage(steps: int = 6, accumulate: int = 1, **changes: Any) -> AutoencoderStage:
    plan = Schedule(
        steps=steps, accumulate=accumulate, batch=4, warmup=0, save_every=3, learning_rate=3e-3
    )
    values: dict[str, Any] = {"channels": [8, 16], "regulariser": "vq", "codebook": 16, **changes}
    return AutoencoderStage(schedule=plan, **values)


def drawings(count: int = 5) -> list[Drawing]:
    rng = np.random.default_rng(0)
    return [
        Drawing(rng.integers(0, 256, (16, 16, 4), dtype=np.uint8), ("a",), "on {background}")
        for _ in range(count)
    ]


def objective(settings: AutoencoderStage, **options: Any) -> AutoencoderObjective:
    return AutoencoderObjective(settings, 16, drawings(), [], CPU, **options)


def pixels(count: int = 4, side: int = 16) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_perplexity_is_the_number_of_codes_used_alike() -> None:
    assert perplexity(torch.tensor([5, 5, 5, 5])) == pytest.approx(4)
    assert perplexity(torch.tensor([9, 0, 0])) == pytest.approx(1)
    half = torch.tensor([2, 1, 1])
    assert perplexity(half) == pytest.approx(2**1.5)


def test_the_codebooks_terms_are_those_of_the_paper_and_pull_one_side_each() -> None:
    settings = stage(restart_after=None, commitment_weight=0.25)
    vae = build_autoencoder([8, 16], 1, 4, 16, 16)
    with torch.no_grad():
        vae.quantize.embedding.weight.normal_(generator=torch.Generator().manual_seed(0))
    decoded, penalty, terms = CodebookPenalty(settings, True).reconstruct(
        vae, pixels(), torch.Generator()
    )
    latents, codes = vae.encode(pixels()).latents, vae.quantize.embedding.weight
    rows = latents.permute(0, 2, 3, 1).reshape(-1, 4)
    nearest = ((rows[:, None] - codes[None]) ** 2).sum(-1).argmin(1)
    error = float((rows.detach() - codes[nearest].detach()).square().mean())
    assert float(terms["codebook"]) == pytest.approx(error, rel=1e-4)
    assert float(penalty) == pytest.approx(1.25 * error, rel=1e-4)
    torch.testing.assert_close(decoded, vae.decode(latents).sample)

    def gradients(term: Tensor) -> tuple[bool, bool]:
        vae.zero_grad()
        term.backward(retain_graph=True)
        grads = vae.quantize.embedding.weight.grad, vae.quant_conv.weight.grad
        return tuple(bool(g is not None and g.abs().max() > 0) for g in grads)  # type: ignore

    assert gradients(terms["codebook"]) == (True, False)
    assert gradients(terms["commitment"]) == (False, True)
    # Straight through: what the decoder wants reaches the encoder past the codes.
    assert gradients(decoded.square().mean()) == (False, True)


def test_codes_that_nothing_is_near_start_anew_until_three_quarters() -> None:
    settings = stage(steps=8, restart_after=2)
    vae = build_autoencoder([8, 16], 1, 4, 16, 16)
    codebook = CodebookPenalty(settings, True)
    weights = vae.quantize.embedding.weight

    def go(seed: int) -> Tensor:
        codebook.reconstruct(vae, pixels(), torch.Generator().manual_seed(seed))
        return weights.detach().clone()

    rows = vae.encode(pixels()).latents.permute(0, 2, 3, 1).reshape(-1, 4)
    first = go(0)
    near = (first[:, None] - rows[None]).abs().amax(-1).amin(1)
    assert near.max() < 1e-5
    with torch.no_grad():
        weights[3] = 100.0
    assert go(1)[3, 0] == 100 and go(2)[3, 0] == 100
    assert go(3)[3, 0] != 100
    for seed in range(2):
        go(seed)
    with torch.no_grad():
        weights[3] = 100.0
    assert [float(go(seed)[3, 0]) for seed in range(4)] == [100.0] * 4
    trained = CodebookPenalty(settings, False)
    before = weights.detach().clone()
    trained.reconstruct(vae, pixels(), torch.Generator())
    assert torch.equal(before, weights)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], Path]:
    """Weights after six steps with every term there is, and the folder they are saved in."""
    folder = tmp_path_factory.mktemp("vq")
    made = everything()
    train(made, made.stage.schedule, folder / "run", Accelerator(cpu=True), lambda line: None)
    state = {k: v.clone() for k, v in nn.ModuleDict(made.modules).state_dict().items()}
    made.save(folder)
    return state, folder


def everything(fault: Callable[[int], None] = lambda count: None) -> AutoencoderObjective:
    settings = stage(
        restart_after=2,
        perceptual_weight=0.5,
        adversarial_weight=0.3,
        adversarial_adaptive=True,
        adversarial_start=2,
        critic="patchgan",
        critic_channels=8,
        critic_layers=1,
    )
    torch.manual_seed(5)
    seen = of_part(build_autoencoder([8, 16], 1, 4, 16))
    made = objective(settings, perceptual=seen)
    inner, count = made.loss, [0]

    def loss(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        count[0] += 1
        fault(count[0])
        return inner(batch, generator)

    made.loss = loss  # type: ignore[method-assign]
    return made


def test_a_training_with_every_term_resumes_bit_for_bit(
    trained: tuple[dict[str, Tensor], Path], tmp_path: Path
) -> None:
    def stop(count: int) -> None:
        if count == 5:
            raise KeyboardInterrupt

    silent: Callable[[str], None] = lambda line: None  # noqa: E731
    stopped = everything(stop)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, stopped.stage.schedule, tmp_path, Accelerator(cpu=True), silent)
    resumed = everything()
    train(resumed, resumed.stage.schedule, tmp_path, Accelerator(cpu=True), silent)
    after = nn.ModuleDict(resumed.modules).state_dict()
    assert after.keys() == trained[0].keys()
    assert all(torch.equal(after[key], value) for key, value in trained[0].items())
    assert int(after["codes.seen"]) == 6
    figures = (trained[1] / "run" / "log.jsonl").read_text()
    assert all(f'"{name}"' in figures for name in ("perplexity", "perceptual", "balance"))


def test_a_saved_codebook_loads_in_diffusers_and_is_continuous_until_decoded(
    trained: tuple[dict[str, Tensor], Path],
) -> None:
    from diffusers import VQModel

    ours = read_part(trained[1] / "vae")
    theirs = VQModel.from_pretrained(trained[1] / "vae", torch_dtype=torch.float32)
    with torch.no_grad():
        latents = theirs.encode(pixels()).latents
        torch.testing.assert_close(encode_mean(ours, pixels()), latents)
        codes = ours.quantize.embedding.weight
        rows = latents.permute(0, 2, 3, 1).reshape(-1, 4)
        nearest = codes[torch.cdist(rows, codes).argmin(1)]
        assert not torch.allclose(rows, nearest)
        snapped = nearest.reshape(4, 8, 8, 4).permute(0, 3, 1, 2)
        torch.testing.assert_close(ours.decode(latents).sample, ours.decode(snapped).sample)
    assert float(latents.std() * ours.config.scaling_factor) == pytest.approx(1, abs=0.5)


def test_going_on_with_another_regulariser_or_codebook_is_refused() -> None:
    vq, kl = build_autoencoder([8, 16], 1, 4, 16, 16), build_autoencoder([8, 16], 1, 4, 16)
    assert objective(stage(), module=vq).vae is vq
    with pytest.raises(UsageError, match="was trained with vq; set that"):
        objective(stage(regulariser="kl"), module=vq)
    with pytest.raises(UsageError, match="was trained with kl; set that"):
        objective(stage(), module=kl)
    with pytest.raises(UsageError, match="has 16 codes; set it to 16"):
        objective(stage(codebook=32), module=vq)


def test_the_adaptive_weight_is_the_ratio_of_gradients() -> None:
    layer = torch.tensor([1.0, 2.0], requires_grad=True)
    others = (layer * torch.tensor([3.0, 4.0])).sum()
    fooling = (layer * torch.tensor([0.0, 2.0])).sum()
    assert float(adaptive_weight(others, fooling, layer)) == pytest.approx(5 / 2, rel=1e-5)
    assert adaptive_weight(others, 0 * fooling, layer) == 1e4
    assert adaptive_weight(others, torch.zeros(()), layer) == 0
    weight = adaptive_weight(others, fooling, layer)
    assert not weight.requires_grad


def test_the_patch_critic_sees_patches_of_seventy_pixels() -> None:
    network = patch_gan(8, 3)
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Conv2d):
                layer.weight.fill_(1e-3)
    # Norms mix all of a picture; without them only a patch is seen.
    stack = nn.Sequential(*[one for one in network if isinstance(one, nn.Conv2d)])
    picture = torch.zeros(1, 3, 160, 160, requires_grad=True)
    scores = stack(picture)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert picture.grad is not None
    rows = picture.grad[0, 0].abs().amax(1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70
    full = sum(p.numel() for p in patch_gan(64, 3).parameters())
    assert full == pytest.approx(2.77e6, rel=0.01)
    assert Critic(stage(critic="patchgan", critic_channels=8)).layers[0].out_channels == 8


def test_features_are_compared_by_direction_and_gradients_reach_the_first_alone() -> None:
    class Twice(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 2, 1, bias=False)
            self.layer.weight.data = (
                factor * torch.tensor([[1.0, 0, 0], [0, 1, 0]])[..., None, None]
            )

        def forward(self, x: Tensor) -> Any:
            return self.layer(x)

    network = Twice(7.0)
    seen = Perceptual(network, [network.layer])
    a = torch.zeros(1, 3, 4, 4)
    b = a.clone()
    a[:, 0], b[:, 1] = 0.5, 0.1
    # Unit vectors at a right angle are sqrt(2) apart.
    assert float(seen.distance(a, b)) == pytest.approx(2, rel=1e-5)
    assert float(seen.distance(a, a / 3)) == pytest.approx(0, abs=1e-9)
    a.requires_grad_(), b.requires_grad_()
    a.data[:, 1] = 0.2
    seen.distance(a, b).backward()
    assert a.grad is not None and a.grad.abs().max() > 0 and b.grad is None
    assert network.layer.weight.grad is None


@pytest.mark.parametrize("part", ["vae", "clip"])
def test_the_builtin_networks_see_more_difference_in_more_blur(part: str) -> None:
    seen = perceptual(stage(perceptual_weight=1.0, perceptual_part=part), offline=True)
    assert seen is not None and len(seen.features(pixels(1, 32))) == 4
    sharp = torch.nn.functional.interpolate(pixels(2, 8), (32, 32))
    blurred = [torch.nn.functional.avg_pool2d(sharp, n, 1, n // 2) for n in (1, 3, 7)]
    same, little, much = (float(seen.distance(one, sharp)) for one in blurred)
    assert same == pytest.approx(0, abs=1e-6) and 0.01 < 2 * little < much < 4
    assert perceptual(stage(perceptual_part=part), offline=True) is None


def test_an_image_tower_can_be_the_eye_or_is_said_to_be_missing(tmp_path: Path) -> None:
    from sdcreative import ModelError

    settings = stage(perceptual_weight=1.0, perceptual_part="clip", perceptual_network="riff")
    with pytest.raises(UsageError, match="riff has no folder clip/; use vae"):
        perceptual(settings, offline=True)
    with pytest.raises(ModelError, match="no model"):
        perceptual(stage(perceptual_weight=1.0, perceptual_network="nowhere"), offline=True)
    clip = build_clip(width=32, layers=2, heads=2, vocabulary=600, context=8, size=16, patch=8)
    save_part(clip, tmp_path / "clip")
    seen = of_part(read_part(tmp_path / "clip"))
    assert [tuple(f.shape) for f in seen.features(pixels(2, 24))] == [(2, 32, 5)] * 2
    assert 0 < float(seen.distance(pixels(2, 24), -pixels(2, 24))) < 4
    with pytest.raises(ModelError, match="no features of pictures"):
        of_part(nn.Linear(1, 1))
