"""Autoencoders and text encoders in files of their own, as they are passed around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sdcreative.errors import ModelError
from sdcreative.models.single_files.families import family_config
from sdcreative.models.single_files.lone import LonePart, read_text_encoder, read_vae

Tensors = dict[str, torch.Tensor]
FIRST = "conditioner.embedders.0.transformer."
SECOND = "conditioner.embedders.1.model."
VAE = "first_stage_model."


def save(path: Path, tensors: Tensors) -> Path:
    save_file({name: one.clone() for name, one in tensors.items()}, path)
    return path


def under(tensors: Tensors, start: str, instead: str = "") -> Tensors:
    """The tensors whose names begin so, under another beginning."""
    return {
        instead + name.removeprefix(start): one
        for name, one in tensors.items()
        if name.startswith(start)
    }


def filled(lone: LonePart, kind: Any) -> Any:
    """A module of the part's configuration, with its weights and no others."""
    if lone.part == "vae":
        module = kind.from_config(lone.config)
    else:
        module = kind(kind.config_class.from_dict(dict(lone.config)))
    state, path, release = lone.weights(module)
    assert path == lone.path
    # transformers 5 has no text_model before some names, and two names for T5's tokens.
    names = {name.removeprefix("text_model."): name for name in module.state_dict()}
    state = {names[name.removeprefix("text_model.")]: one.clone() for name, one in state.items()}
    left = module.load_state_dict(state, strict=False)
    assert left.missing_keys in ([], ["encoder.embed_tokens.weight"])
    release()
    return module


def same(ours: Any, theirs: Any) -> bool:
    one, other = ours.state_dict(), theirs.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in other)


@pytest.mark.parametrize("start", [VAE, "", "vae.", "diffusers", "whole"])
@pytest.mark.parametrize("twins", ["xl", "Stable Diffusion 3"], indirect=True)
def test_an_autoencoder_in_any_names(twins: Any, start: str, tmp_path: Path) -> None:
    vae = twins.modules["vae"]
    tensors = under(twins.tensors, VAE, start) | {"loss.logvar": torch.zeros(())}
    if start == "diffusers":
        tensors = vae.state_dict()
    path = save(tmp_path / "vae.safetensors", twins.tensors if start == "whole" else tensors)
    for family in ("v1", twins.version):
        lone = read_vae(path, family_config(family, "vae"))
        assert lone.config["latent_channels"] == vae.config.latent_channels
        assert lone.config["block_out_channels"] == [32, 32, 64]
        # The scale is that of the model in which it is put.
        assert (
            lone.config["scaling_factor"] == {"v1": 0.18215, "xl": 0.13025, "sd3": 1.5305}[family]
        )
        assert same(filled(lone, type(vae)), vae)
    assert lone.described == f"the shape of vae in {path}"


def test_an_autoencoder_with_convolutions_in_place_of_one_without(xl: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "vae.safetensors", under(xl.tensors, VAE))
    lone = read_vae(path, family_config("sd3", "vae"))
    assert lone.config["use_quant_conv"] is lone.config["use_post_quant_conv"] is True


def test_a_pickled_autoencoder(xl: Any, tmp_path: Path) -> None:
    path = tmp_path / "vae.ckpt"
    torch.save({"state_dict": under(xl.tensors, VAE), "epoch": 3}, path)
    lone = read_vae(path, family_config("v1", "vae"))
    assert same(filled(lone, type(xl.modules["vae"])), xl.modules["vae"])


@pytest.mark.parametrize("form", ["transformers", "bare", "whole", "with vision", "clip_l"])
def test_the_first_text_encoder_in_any_names(xl: Any, form: str, tmp_path: Path) -> None:
    module = xl.modules["text_encoder"]
    own = under(xl.tensors, FIRST)
    tensors = {
        "transformers": own | {"text_projection.weight": torch.ones(64, 64)},
        "bare": {name.removeprefix("text_model."): one for name, one in own.items()},
        "whole": xl.tensors,
        "with vision": own
        | {
            "vision_model.encoder.layers.0.mlp.fc1.weight": torch.ones(2, 2),
            "visual_projection.weight": torch.ones(2, 2),
            "logit_scale": torch.ones(()),
        },
        "clip_l": {f"clip_l.transformer.{name}": one for name, one in own.items()},
    }[form]
    path = save(tmp_path / "clip_l.safetensors", tensors)
    lone = read_text_encoder(path, "text_encoder", family_config("v1", "text_encoder"))
    assert lone.config["hidden_act"] == "quick_gelu"
    assert (lone.config["hidden_size"], lone.config["num_hidden_layers"]) == (64, 2)
    assert same(filled(lone, type(module)), module)


def test_a_first_text_encoder_is_not_projected_in_stable_diffusion_3(
    sd3_texts: dict[str, Any], tmp_path: Path
) -> None:
    module = sd3_texts["text_encoder"]
    state = module.state_dict() | {"text_projection.weight": torch.randn(64, 64)}
    path = save(tmp_path / "clip_l.safetensors", state)
    lone = read_text_encoder(path, "text_encoder", family_config("sd3", "text_encoder"))
    assert same(filled(lone, type(module)), module)


@pytest.mark.parametrize("form", ["open_clip", "with vision", "whole", "transformers"])
def test_the_second_text_encoder_in_any_names(xl: Any, form: str, tmp_path: Path) -> None:
    module = xl.modules["text_encoder_2"]
    own = under(xl.tensors, SECOND)
    vision = {"visual.transformer.resblocks.0.mlp.c_fc.weight": torch.ones(2, 2)}
    tensors = {
        "open_clip": own,
        "with vision": own | vision | {"logit_scale": torch.ones(())},
        "whole": xl.tensors,
        "transformers": module.state_dict(),
    }[form]
    path = save(tmp_path / "clip_g.safetensors", tensors)
    lone = read_text_encoder(path, "text_encoder_2", family_config("xl", "text_encoder_2"))
    assert lone.config["hidden_act"] == "gelu"
    assert lone.config["projection_dim"] == 64
    assert same(filled(lone, type(module)), module)


def test_the_layer_that_version_2_does_not_use(xl: Any, tmp_path: Path) -> None:
    """It is told by the layers of the model in which the text encoder is put."""
    path = save(tmp_path / "clip_h.safetensors", under(xl.tensors, SECOND))
    base = family_config("v2", "text_encoder")
    for layers, used in ((10, 10), (11, 11), (12, 11)):
        lone = read_text_encoder(path, "text_encoder", base | {"num_hidden_layers": layers})
        assert lone.config["num_hidden_layers"] == used
        with torch.device("meta"):
            module = type(xl.modules["text_encoder"])(
                type(xl.modules["text_encoder"].config)(**lone.config)
            )
        state, _, _ = lone.weights(module)
        assert state.keys() == {
            name if name.startswith("text_model.") else f"text_model.{name}"
            for name in module.state_dict()
        }


@pytest.mark.parametrize("form", ["alone", "with a decoder", "whole"])
def test_t5_in_any_names(sd3s: Any, form: str, tmp_path: Path) -> None:
    twins = sd3s("Stable Diffusion 3")
    module = twins.modules["text_encoder_3"]
    state = module.state_dict()
    decoder = {"decoder.final_layer_norm.weight": torch.ones(2), "lm_head.weight": torch.ones(2, 2)}
    tensors = {"alone": state, "with a decoder": state | decoder, "whole": twins.tensors}[form]
    path = save(tmp_path / "t5xxl.safetensors", tensors)
    lone = read_text_encoder(path, "text_encoder_3", family_config("sd3", "text_encoder_3"))
    assert (lone.config["d_model"], lone.config["num_heads"], lone.config["d_kv"]) == (192, 3, 32)
    assert same(filled(lone, type(module)), module)


def test_t5_without_gates() -> None:
    from transformers import T5Config, T5EncoderModel

    from sdcreative.models.single_files.layouts import Text
    from sdcreative.models.single_files.text_shapes import text_config

    said = {"vocab_size": 9, "d_model": 8, "d_kv": 4, "d_ff": 6, "num_layers": 1, "num_heads": 2}
    module = T5EncoderModel(T5Config(feed_forward_proj="relu", **said))
    shapes = {name: tuple(one.shape) for name, one in module.state_dict().items()}
    base = family_config("sd3", "text_encoder_3")
    config = text_config(shapes, Text("", "t5"), base, "text_encoder_3")
    assert {key: config[key] for key in said} == said
    again = T5EncoderModel(T5Config(**config))
    assert {name: tuple(one.shape) for name, one in again.state_dict().items()} == shapes


def test_what_is_not_there_is_said(xl: Any, sd3_texts: dict[str, Any], tmp_path: Path) -> None:
    vae, base = under(xl.tensors, VAE), family_config("xl", "vae")
    text = family_config("xl", "text_encoder")
    lora = save(tmp_path / "lora.safetensors", {"lora_unet_a.lora_up.weight": torch.ones(1)})
    alone = save(tmp_path / "vae.safetensors", vae)
    t5 = save(tmp_path / "t5.safetensors", sd3_texts["text_encoder_3"].state_dict())
    clip = save(tmp_path / "clip.safetensors", under(xl.tensors, FIRST))
    part = save(
        tmp_path / "part.safetensors",
        {name: one for name, one in vae.items() if "post_quant_conv" not in name},
    )
    short = save(tmp_path / "short.safetensors", {"token_embedding.weight": torch.ones(4, 4)})
    packed = save(tmp_path / "8.safetensors", vae | {"scaled_fp8": torch.ones(1)})
    third = family_config("sd3", "text_encoder_3")
    for read, message in (
        (lambda: read_vae(lora, base), r"^swap: .*lora.* holds no autoencoder; it is a LoRA"),
        (lambda: read_vae(clip, base), "holds no autoencoder; it is a text encoder alone"),
        (lambda: read_vae(part, base), "holds a vae, but a broken one: .*such as post_quant_conv"),
        (
            lambda: read_vae(packed, base),
            r"\(vae\) has weights in 8-bit numbers with scales, which",
        ),
        (lambda: read_text_encoder(alone, "text_encoder", text), "it is an autoencoder"),
        (lambda: read_text_encoder(t5, "text_encoder", text), "a T5 .* text_encoder is a CLIP one"),
        (lambda: read_text_encoder(clip, "text_encoder_3", third), "a CLIP .*_3 is a T5 one"),
        (lambda: read_text_encoder(short, "text_encoder", text), "text_encoder, but a broken one"),
        (lambda: read_vae(tmp_path / "none", base), "cannot be read"),
    ):
        with pytest.raises(ModelError, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)
