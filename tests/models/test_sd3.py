"""Stable Diffusion 3 in a small size: text, transformer and pictures against diffusers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sdcreative.core.conditioning import Conditioning, align, stack
from sdcreative.core.inversion import FlowPath, invert
from sdcreative.core.prompt_syntax import read_prompt
from sdcreative.core.prompt_words import Wording
from sdcreative.core.sampling import Guidance, denoise, initial_latents
from sdcreative.errors import UsageError
from sdcreative.models.loading import Parts, load_parts
from sdcreative.models.samplers import build_sampler
from sdcreative.models.text import encode
from sdcreative.models.transformer import (
    check_wrapping,
    image_tokens,
    longest_side,
    transformer_predictor,
)
from sdcreative.models.triple_text import T5_TOKENS, encode_triple, t5_chunks
from sdcreative.models.vae import decode_latents, encode_pictures, to_pictures
from sdcreative.models.weighted_text import reweigh

CPU = torch.device("cpu")
CONTEXT = 16
CHUNK = CONTEXT + T5_TOKENS
STEPS = 4


@pytest.fixture(scope="session")
def loaded(tiny_sd3: Path) -> Parts:
    return load_parts(tiny_sd3, device=CPU, dtype=torch.float32)


@pytest.fixture(params=[True, False], ids=["T5", "without T5"])
def parts(request: pytest.FixtureRequest, loaded: Parts) -> Parts:
    return loaded if request.param else replace(loaded, text_encoder_3=None, tokenizer_3=None)


def pipeline_of(parts: Parts, kind: str = "StableDiffusion3Pipeline") -> Any:
    import diffusers

    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(parts.scheduler_config)
    names = ("vae", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
    names += ("tokenizer", "tokenizer_2", "tokenizer_3")
    made = getattr(diffusers, kind)(
        scheduler=scheduler, **{name: getattr(parts, name) for name in names}
    )
    made.set_progress_bar_config(disable=True)
    return made


def weighted(text: str) -> Wording:
    return read_prompt(text, "weighted").terms[0].at(0, 1)


@pytest.mark.parametrize(("clip_skip", "theirs"), [(1, None), (2, 0), (3, 1)])
@pytest.mark.parametrize("prompt", ["a bear", "", "red"])
def test_embeddings_are_those_of_the_pipeline(
    parts: Parts, prompt: str, clip_skip: int, theirs: int | None
) -> None:
    embeddings, _, pooled, _ = pipeline_of(parts).encode_prompt(
        prompt, None, None, do_classifier_free_guidance=False, clip_skip=theirs
    )
    found = encode_triple(parts, prompt, clip_skip)
    assert found.embeddings.shape == (1, CHUNK, 64)
    assert found.pooled is not None
    assert found.pooled.shape == (1, 40)
    torch.testing.assert_close(found.embeddings, embeddings, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.pooled, pooled, rtol=1e-5, atol=1e-6)
    if parts.text_encoder_3 is None:
        assert not found.embeddings[:, CONTEXT:].any()


def test_the_family_chooses_three_encoders(loaded: Parts) -> None:
    [found] = encode(loaded, ["a bear"])
    assert torch.equal(found.embeddings, encode_triple(loaded, "a bear").embeddings)


def test_a_long_prompt_is_chunks_for_clip_and_one_text_for_t5(parts: Parts) -> None:
    """Twenty words are two chunks of fourteen tokens to CLIP, and nothing much to T5."""
    long = " ".join(["bear"] * 20)
    found, empty = encode_triple(parts, long), encode_triple(parts, "")
    assert found.embeddings.shape == (1, 2 * CHUNK, 64)
    first, second = found.embeddings.split(CHUNK, dim=1)
    begins = encode_triple(parts, " ".join(["bear"] * 14))
    torch.testing.assert_close(first[:, :CONTEXT], begins.embeddings[:, :CONTEXT])
    torch.testing.assert_close(found.pooled, begins.pooled)
    rest = encode_triple(parts, " ".join(["bear"] * 6))
    torch.testing.assert_close(second[:, :CONTEXT], rest.embeddings[:, :CONTEXT])
    # Diffusers cuts the prompt off for CLIP only.
    theirs, *_ = pipeline_of(parts).encode_prompt(
        long, None, None, do_classifier_free_guidance=False
    )
    torch.testing.assert_close(first[:, CONTEXT:], theirs[:, CONTEXT:], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(second[:, CONTEXT:], empty.embeddings[:, CONTEXT:])
    a, b = align(found, encode_triple(parts, "a bear"), empty)
    assert a.embeddings.shape == b.embeddings.shape


def test_break_begins_a_chunk_for_clip_and_not_for_t5(loaded: Parts) -> None:
    found = encode_triple(loaded, weighted("a bear BREAK red"))
    assert found.embeddings.shape == (1, 2 * CHUNK, 64)
    together = encode_triple(loaded, "a bear red").embeddings
    torch.testing.assert_close(found.embeddings[:, CONTEXT:CHUNK], together[:, CONTEXT:])
    one = encode_triple(loaded, "red").embeddings
    torch.testing.assert_close(found.embeddings[:, CHUNK:][:, :CONTEXT], one[:, :CONTEXT])


def test_t5_is_cut_between_words(loaded: Parts) -> None:
    tokenizer = loaded.tokenizer_3
    text = " ".join(["a bear xyz"] * 70)
    chunks = t5_chunks(tokenizer, Wording.of(text))
    # Six tokens each time, four of them the last word's: 42 times are 252 of 255.
    assert [len(chunk.tokens) for chunk in chunks] == [254, 166]
    whole = tokenizer(text, add_special_tokens=False).input_ids
    assert [token for chunk in chunks for token in chunk.tokens] == whole
    assert tokenizer.convert_ids_to_tokens(chunks[1].tokens[0]).startswith("\u2581")
    endless = t5_chunks(tokenizer, Wording.of("x" * 600))
    assert [len(chunk.tokens) for chunk in endless] == [255, 255, 91]
    assert [chunk.tokens for chunk in t5_chunks(tokenizer, Wording.of(""))] == [()]
    assert encode_triple(loaded, text).embeddings.shape[1] % CHUNK == 0
    # CLIP needs more chunks than T5; where T5 needs more, CLIP's are empty.
    assert encode_triple(loaded, "x" * 600).embeddings.shape[1] >= 3 * CHUNK


def test_weights_are_of_clip_and_of_t5_tokens(loaded: Parts) -> None:
    """In "a (bear:1.5)" CLIP has one token for each word, T5 too."""
    plain = encode_triple(loaded, "a bear").embeddings
    heavy = encode_triple(loaded, weighted("a (bear:1.5)")).embeddings
    for start, width in ((0, 16), (16, 32)):
        states = plain[:, :CONTEXT, start : start + width]
        expected = reweigh(states, (1.0, 1.0, 1.5))
        torch.testing.assert_close(heavy[:, :CONTEXT, start : start + width], expected)
    factors = torch.ones(T5_TOKENS)
    factors[1] = 1.5
    torch.testing.assert_close(heavy[:, CONTEXT:], plain[:, CONTEXT:] * factors[:, None])
    same = encode_triple(loaded, weighted("a (bear:1)")).embeddings
    assert torch.equal(same, plain)


def test_the_transformer_is_asked_as_the_pipeline_asks_it(loaded: Parts) -> None:
    predict = transformer_predictor(loaded.transformer)
    latents = torch.randn(2, 16, 8, 12, generator=torch.Generator().manual_seed(0))
    both = stack([encode_triple(loaded, "a bear"), encode_triple(loaded, "red")])
    with torch.no_grad():
        output = predict(latents, torch.tensor(500.5), both)
        expected = loaded.transformer(
            latents, both.embeddings, both.pooled, torch.tensor([500.5, 500.5])
        ).sample
        assert torch.equal(output, expected)
        assert not torch.equal(output, predict(latents, torch.tensor(500.0), both))
    with pytest.raises(UsageError, match="pooled"):
        predict(latents, torch.tensor(1.0), Conditioning(both.embeddings))


def test_sizes_that_the_transformer_takes(loaded: Parts) -> None:
    assert longest_side(loaded.transformer) == 16
    assert image_tokens(loaded.transformer, 8, 12) == 24
    assert image_tokens(loaded.vae, 8, 12) is None
    check_wrapping(loaded.transformer, "")
    check_wrapping(loaded.vae, "xy")
    with pytest.raises(UsageError, match="seamless 'x' does not work with Stable Diffusion 3"):
        check_wrapping(loaded.transformer, "x")


def draw(seed: int) -> Tensor:
    return torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(seed))


def denoised(
    parts: Parts, sampler: Any, latents: Tensor, *, start: int = 0, stop: int = STEPS,
    scale: float = 5.0,
) -> Tensor:  # fmt: skip
    guidance = Guidance(
        encode_triple(parts, "a bear"), encode_triple(parts, "red"), torch.tensor([scale])
    )
    with torch.no_grad():
        return denoise(
            transformer_predictor(parts.transformer), sampler, latents, guidance,
            start=start, stop=stop, generators=[torch.Generator().manual_seed(9)],
        )  # fmt: skip


def ask(pipeline: Any, **more: Any) -> Any:
    return pipeline(
        "a bear", negative_prompt="red", num_inference_steps=STEPS, guidance_scale=5.0, **more
    ).images


def test_pictures_are_those_of_the_pipeline(parts: Parts) -> None:
    sampler = build_sampler("Euler", parts.scheduler_config, STEPS)
    [ours] = to_pictures(decode_latents(parts, denoised(parts, sampler, draw(1))))
    [theirs] = ask(pipeline_of(parts), latents=draw(1))
    a, b = (np.asarray(one).astype(int) for one in (ours, theirs))
    assert a.shape == (32, 32, 3)
    assert np.ptp(b) > 100
    assert abs(a - b).max() <= 1


def test_t5_has_a_say_in_the_picture(loaded: Parts) -> None:
    without = replace(loaded, text_encoder_3=None, tokenizer_3=None)
    with_it, without_it = (
        denoised(one, build_sampler("Euler", one.scheduler_config, STEPS), draw(1))
        for one in (loaded, without)
    )
    assert (with_it - without_it).abs().max() > 0.05


@pytest.mark.parametrize("name", ["Euler", "Heun", "DPM++ 2M", "UniPC", "LCM"])
def test_samplers_are_those_of_the_pipeline(loaded: Parts, name: str) -> None:
    import diffusers

    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    pipeline = pipeline_of(loaded)
    config = pipeline.scheduler.config
    if name == "Heun":
        pipeline.scheduler = diffusers.FlowMatchHeunDiscreteScheduler.from_config(config)
    elif name == "LCM":
        pipeline.scheduler = diffusers.FlowMatchLCMScheduler.from_config(config)
    elif name == "DPM++ 2M":
        pipeline.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(config, **flow)
    elif name == "UniPC":
        pipeline.scheduler = diffusers.UniPCMultistepScheduler.from_config(config, **flow)
    # The pipeline passes no generator on to LCM; one step needs none.
    steps = 1 if name == "LCM" else STEPS
    theirs = pipeline(
        "a bear", negative_prompt="red", num_inference_steps=steps, guidance_scale=5.0,
        latents=draw(2), output_type="latent",
    ).images  # fmt: skip
    sampler = build_sampler(name, loaded.scheduler_config, steps)
    ours = denoised(loaded, sampler, draw(2), stop=steps)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_pictures_from_pictures_are_those_of_the_pipeline(loaded: Parts) -> None:
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4)) * 2 - 1
    clean = encode_pictures(loaded, pixels)
    sampler = build_sampler("Euler", loaded.scheduler_config, STEPS)
    grain = torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))
    latents = initial_latents(sampler, grain, clean, 1)
    [ours] = to_pictures(decode_latents(loaded, denoised(loaded, sampler, latents, start=1)))
    [theirs] = ask(
        pipeline_of(loaded, "StableDiffusion3Img2ImgPipeline"),
        image=clean,
        strength=0.75,
        height=32,
        width=32,
        generator=torch.Generator().manual_seed(5),
    )
    difference = abs(np.asarray(ours).astype(int) - np.asarray(theirs).astype(int))
    assert difference.max() <= 1


def test_a_picture_comes_back_from_its_noise(loaded: Parts) -> None:
    sampler = build_sampler("Euler", loaded.scheduler_config, 20)
    picture = denoised(loaded, sampler, draw(6), stop=20, scale=1.0)
    guidance = Guidance(encode_triple(loaded, "a bear"), None, torch.ones(1))
    with torch.no_grad():
        noise = invert(
            transformer_predictor(loaded.transformer),
            picture,
            guidance,
            FlowPath(sampler.timesteps, sampler.sigmas),
        )
    again = denoised(
        loaded, build_sampler("Euler", loaded.scheduler_config, 20), noise, stop=20, scale=1.0
    )
    assert ((again - picture) ** 2).mean().sqrt() < 0.03 * picture.std()
    assert ((noise - draw(6)) ** 2).mean().sqrt() < 0.03
