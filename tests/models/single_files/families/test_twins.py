"""Files of SDXL, SD 3 and 3.5 give the same weights and pictures as folders, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdcreative import Studio
from sdcreative.errors import ModelError
from sdcreative.models.facts import reading_notes
from sdcreative.models.loading import Parts, load_parts
from sdcreative.models.places import ModelPlace
from sdcreative.models.single_files.checkpoint import SingleFile
from sdcreative.models.single_files.families import family_config
from sdcreative.models.sizes import native_size

CPU = torch.device("cpu")
U = "model.diffusion_model."
T5 = "text_encoders.t5xxl."
TITLES = {
    "xl": "Stable Diffusion XL",
    "xl_inpainting": "Stable Diffusion XL inpainting",
    "Stable Diffusion 3": "Stable Diffusion 3",
    "Stable Diffusion 3.5 medium": "Stable Diffusion 3.5 medium",
    "Stable Diffusion 3.5 large": "Stable Diffusion 3.5 large",
}


def load(place: Path | ModelPlace, dtype: torch.dtype = torch.float32) -> Parts:
    return load_parts(place, device=CPU, dtype=dtype)


def same_weights(ours: Any, theirs: Any) -> bool:
    one, other = ours.state_dict(), theirs.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in other)


def without(tensors: dict[str, torch.Tensor], *starts: str) -> dict[str, torch.Tensor]:
    return {name: one for name, one in tensors.items() if not name.startswith(starts)}


def config_of(module: Any) -> dict[str, Any]:
    """A configuration without what says who wrote it, or has no effect."""
    config = module.config if isinstance(module.config, dict) else module.config.to_dict()
    silent = {"_diffusers_version", "_name_or_path", "_use_default_values", "architectures"}
    silent |= {"dtype", "transformers_version", "upcast_attention", "use_cache", "force_upcast"}
    silent |= {
        "num_decoder_layers",
        "scale_decoder_outputs",
        "tie_word_embeddings",
        "pad_token_id",
        "decoder_start_token_id",
    }
    if "projection_dim" in config and type(module).__name__ == "CLIPTextModel":
        silent |= {"projection_dim"}
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dict(config).items()
        if key not in silent
    }


@pytest.mark.parametrize("twins", TITLES, indirect=True)
def test_a_file_gives_what_it_was_made_of(
    twins: Any, loaded: Any, request: pytest.FixtureRequest
) -> None:
    file = loaded(twins)
    path = twins.folder.parent / "model.safetensors"
    title = TITLES[request.node.callspec.params["twins"]]
    assert SingleFile(ModelPlace(path)).recognised.title == title
    assert file.text_encoder_3 is None
    for part, module in twins.modules.items():
        if part != "text_encoder_3":
            assert same_weights(getattr(file, part), module), part
            assert config_of(getattr(file, part)) == config_of(module), part
    assert (file.sample_size, file.downsampling, file.context) == ((512, 512), 4, 77)
    assert native_size(path) == native_size(twins.folder)
    assert (file.tokenizer.pad_token_id, file.tokenizer_2.pad_token_id) == (49407, 0)


@pytest.mark.parametrize("twins", ["xl", "Stable Diffusion 3.5 medium"], indirect=True)
def test_a_file_gives_the_pictures_of_the_folder(twins: Any, loaded: Any) -> None:
    file, folder = loaded(twins), load(twins.folder)
    assert file.family is folder.family
    for what in ("scheduler_config", "prediction_type", "zeroes_negative", "latent_channels"):
        assert getattr(file, what) == getattr(folder, what)
    # Of what shapes do not tell, everything has an effect on the picture.
    pictures = [
        np.asarray(Studio(parts).picture("A bear, 2 Äpfel!", steps=2, size=(32, 32), seed=7))
        for parts in (file, folder)
    ]
    assert np.array_equal(*pictures)
    assert pictures[0].std() > 1


@pytest.mark.parametrize("twins", TITLES, indirect=True)
def test_denoisers_are_those_of_diffusers_own_loader(twins: Any, loaded: Any) -> None:
    import diffusers

    file = loaded(twins)
    part = file.family.denoiser
    theirs = getattr(diffusers, type(file.denoiser).__name__).from_single_file(
        str(twins.folder.parent / "model.safetensors"),
        config=str(twins.folder),
        subfolder=part,
        local_files_only=True,
    )
    assert same_weights(file.denoiser, theirs)


@pytest.mark.parametrize("twins", ["xl", "Stable Diffusion 3"], indirect=True)
def test_other_parts_are_those_of_diffusers_own_loader(twins: Any, loaded: Any) -> None:
    from diffusers import DiffusionPipeline, StableDiffusion3Pipeline, StableDiffusionXLPipeline

    file = loaded(twins)
    kind: type[DiffusionPipeline] = StableDiffusionXLPipeline
    options: dict[str, Any] = {}
    if twins.version == "sd3":
        kind = StableDiffusion3Pipeline
        options = {"text_encoder_3": None, "tokenizer_3": None}
    theirs = kind.from_single_file(
        str(twins.folder.parent / "model.safetensors"),
        config=str(twins.folder),
        local_files_only=True,
        **options,
    )
    for part in ("vae", "text_encoder", "text_encoder_2"):
        assert same_weights(getattr(file, part), getattr(theirs, part)), part
    for part in ("tokenizer", "tokenizer_2"):
        ours, other = getattr(file, part), getattr(theirs, part)
        assert ours("A bear").input_ids == other("A bear").input_ids
        assert ours.pad_token_id == other.pad_token_id


def test_t5_is_read_where_its_tokenizer_is(
    sd3s: Any, sd3_texts: dict[str, Any], t5_tokenizer: Path, tmp_path: Path
) -> None:
    path = sd3s("Stable Diffusion 3").write(tmp_path / "model.safetensors")
    [note] = reading_notes(path)
    assert note.startswith("model.safetensors: Stable Diffusion 3, flow; without its T5 text enc")
    assert load(path).text_encoder_3 is None
    for where in (t5_tokenizer, t5_tokenizer.parent):
        place = ModelPlace(path, swaps=(("tokenizer_3", where),))
        file = SingleFile(place)
        assert file.notes() == "model.safetensors: Stable Diffusion 3, flow"
        module = type(sd3_texts["text_encoder_3"])(
            type(sd3_texts["text_encoder_3"].config)(**file.configs["text_encoder_3"])
        )
        state, _, _ = file.weights("text_encoder_3", module)
        theirs = sd3_texts["text_encoder_3"].state_dict()
        assert state.keys() == theirs.keys() - {"encoder.embed_tokens.weight"}
        assert all(torch.equal(state[name], theirs[name]) for name in state)
        assert config_of(module) == config_of(sd3_texts["text_encoder_3"])
        tokenizer, folder = file.tokenizer("tokenizer_3")
        assert (len(tokenizer), folder) == (43, t5_tokenizer)
    with pytest.raises(ModelError, match=r"T5's tokenizer does not come .*swap in tokenizer_3"):
        SingleFile(ModelPlace(path)).tokenizer("tokenizer_3")
    with pytest.raises(ModelError, match=r"is incomplete: no spiece\.model"):
        SingleFile(ModelPlace(path, swaps=(("tokenizer_3", tmp_path),))).tokenizer("tokenizer_3")


def test_names_of_t5s_tokens(sd3s: Any, sd3_texts: dict[str, Any], tmp_path: Path) -> None:
    tensors = dict(sd3s("Stable Diffusion 3").tensors)
    shared = f"{T5}transformer.shared.weight"
    del tensors[shared]
    path = sd3s("Stable Diffusion 3").write(tmp_path / "model.safetensors", tensors)
    file = SingleFile(ModelPlace(path, swaps=(("tokenizer_3", tmp_path),)))
    assert file.configs["text_encoder_3"]["vocab_size"] == 43
    state, _, _ = file.weights("text_encoder_3", sd3_texts["text_encoder_3"])
    assert torch.equal(state["shared.weight"], sd3_texts["text_encoder_3"].shared.weight)


def test_a_file_without_its_autoencoder(xl: Any, tmp_path: Path) -> None:
    vae = xl.write(
        tmp_path / "vae.safetensors",
        {name: one for name, one in xl.tensors.items() if name.startswith("first_stage_model.")},
    )
    path = xl.write(tmp_path / "model.safetensors", without(xl.tensors, "first_stage_model."))
    with pytest.raises(ModelError, match=r"is Stable Diffusion XL, but holds no autoencoder \("):
        load(path)
    file = load(ModelPlace(path, swaps=(("vae", vae),)))
    for part, module in xl.modules.items():
        assert same_weights(getattr(file, part), module), part


@pytest.mark.parametrize("start", [U, ""])
def test_files_of_a_transformer_alone(sd3s: Any, start: str, tmp_path: Path) -> None:
    """As ComfyUI keeps them, with the beginning of the names and without."""
    twins = sd3s("Stable Diffusion 3.5 medium")
    own = {
        start + name.removeprefix(U): one
        for name, one in twins.tensors.items()
        if name.startswith(U)
    }
    path = twins.write(tmp_path / "model.safetensors", own)
    with pytest.raises(ModelError, match=r"medium, but holds no autoencoder .* and no text enc"):
        load(path)
    parts = ("text_encoder", "text_encoder_2", "vae")
    file = SingleFile(ModelPlace(path, swaps=tuple((part, twins.folder) for part in parts)))
    assert set(file.configs) == {"transformer", *parts}
    module = twins.modules["transformer"]
    state, _, _ = file.weights("transformer", module)
    theirs = module.state_dict()
    assert state.keys() == theirs.keys()
    assert all(torch.equal(state[name], theirs[name]) for name in theirs)


def test_marks_of_v_prediction(xl: Any, tmp_path: Path) -> None:
    marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    path = xl.write(tmp_path / "noob.safetensors", xl.tensors | marks)
    parts = load(path)
    assert parts.prediction_type == "v_prediction"
    assert parts.scheduler_config["rescale_betas_zero_snr"] is True
    note = "noob.safetensors: Stable Diffusion XL, v_prediction, zero terminal SNR"
    assert reading_notes(path) == (note,)
    epsilon = SingleFile(ModelPlace(path, prediction_type="epsilon"))
    plain = family_config("xl", "scheduler") | {"prediction_type": "epsilon"}
    assert epsilon.scheduler == plain


def test_the_size_that_a_file_notes(xl: Any, tmp_path: Path) -> None:
    path = xl.write(tmp_path / "turbo.safetensors", None, **{"modelspec.resolution": "512x384"})
    assert native_size(path) == ((512, 384), 4)
    assert SingleFile(ModelPlace(path)).configs["vae"]["sample_size"] == 512


@pytest.mark.parametrize(
    ("twins", "kind"),
    [("xl", torch.float8_e4m3fn), ("Stable Diffusion 3", torch.float8_e5m2)],
    indirect=["twins"],
)
def test_weights_in_8_bits_are_cast(twins: Any, kind: torch.dtype, tmp_path: Path) -> None:
    small = {
        name: one.to(kind) if one.is_floating_point() and one.ndim > 1 else one
        for name, one in twins.tensors.items()
    }
    file = load(twins.write(tmp_path / "8.safetensors", small))
    for part in (file.family.denoiser, "text_encoder_2", "vae"):
        theirs = dict(twins.modules[part].named_parameters())
        for name, ours in getattr(file, part).named_parameters():
            cast = theirs[name].to(kind).float() if theirs[name].ndim > 1 else theirs[name]
            assert torch.equal(ours, cast), (part, name)


@pytest.mark.parametrize("twins", ["xl", "Stable Diffusion 3.5 medium"], indirect=True)
def test_nothing_is_copied_but_the_last_norms(twins: Any, loaded: Any) -> None:
    loaded(twins)
    file = SingleFile(ModelPlace(twins.folder.parent / "model.safetensors"))
    mapped = [one for one in file._opened.tensors.values() if one.dtype == torch.float32]
    first = min(one.data_ptr() for one in mapped)
    end = max(one.data_ptr() + one.nbytes for one in mapped)
    copied = {
        name
        for part in file.configs
        for name, one in file.weights(part, twins.modules[part])[0].items()
        if not first <= one.data_ptr() < end
    }
    last = "transformer_blocks.2.norm1_context.linear"
    norms = {f"{name}.{kind}" for name in ("norm_out.linear", last) for kind in ("weight", "bias")}
    # The projection of the first text encoder is not in the file.
    made = norms | {"text_projection.weight"}
    assert copied == (made if twins.version == "sd3" else set())


def test_what_merging_leaves_beside_the_weights(xl: Any, sd3s: Any, tmp_path: Path) -> None:
    odd = {
        "conditioner.embedders.0.transformer.text_projection.weight": torch.ones(64, 64),
        "conditioner.embedders.0.logit_scale": torch.zeros(()),
        "conditioner.embedders.1.model.logit_scale": torch.zeros(()),
        "conditioner.embedders.1.model.attn_mask": torch.zeros(77, 77),
        "denoiser.sigmas": torch.zeros(1000),
        "model_ema.decay": torch.zeros(()),
        "first_stage_model.loss.logvar": torch.zeros(()),
    }
    file = load(xl.write(tmp_path / "xl.safetensors", xl.tensors | odd))
    for part, module in xl.modules.items():
        assert same_weights(getattr(file, part), module), part
    # As ComfyUI does, which does not project what the first text encoder says.
    twins = sd3s("Stable Diffusion 3")
    name = "text_encoders.clip_l.transformer.text_projection.weight"
    other = twins.write(tmp_path / "sd3.safetensors", twins.tensors | {name: torch.randn(64, 64)})
    lacking = twins.write(tmp_path / "less.safetensors", without(twins.tensors, name))
    for path in (other, lacking):
        module = twins.modules["text_encoder"]
        state, _, _ = SingleFile(ModelPlace(path)).weights("text_encoder", module)
        assert torch.equal(state["text_projection.weight"], torch.eye(64))
