"""The safety checker of a checkpoint, against diffusers' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sdcreative.errors import ModelError
from sdcreative.models.safety import load_safety

CPU = torch.device("cpu")
SIDE = 24


def pictures(count: int = 6) -> list[Image.Image]:
    made = []
    for seed in range(count):
        levels = numpy.random.default_rng(seed).integers(0, 256, (4, 5, 3), numpy.uint8)
        made.append(Image.fromarray(levels).resize((50, 40 + seed), Image.Resampling.BICUBIC))
    return made


@pytest.fixture
def folder(tiny_safety: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(tiny_safety, tmp_path / "model"))


def weights(folder: Path) -> Path:
    return folder / "safety_checker" / "model.safetensors"


def scores(folder: Path) -> torch.Tensor:
    """(pictures, concepts) cosines, computed from diffusers' parts alone."""
    from diffusers.pipelines.stable_diffusion.safety_checker import (
        StableDiffusionSafetyChecker,
        cosine_distance,
    )
    from transformers import CLIPImageProcessor

    checker = StableDiffusionSafetyChecker.from_pretrained(folder / "safety_checker")
    processor = CLIPImageProcessor.from_pretrained(folder / "feature_extractor")
    pixels = processor(images=pictures(), return_tensors="pt").pixel_values
    with torch.no_grad():
        seen = checker.visual_projection(checker.vision_model(pixels)[1])
        return cosine_distance(seen, checker.concept_embeds)


def threshold(folder: Path, level: float) -> None:
    state = load_file(weights(folder))
    state["concept_embeds_weights"] = torch.full((17,), level)
    save_file(state, weights(folder))


def theirs(folder: Path) -> list[bool]:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    checker = StableDiffusionSafetyChecker.from_pretrained(folder / "safety_checker")
    processor = CLIPImageProcessor.from_pretrained(folder / "feature_extractor")
    inputs = processor(images=pictures(), return_tensors="pt").pixel_values
    found: list[bool] = checker(clip_input=inputs, images=[numpy.ones(1)] * 6)[1]
    return found


def test_pictures_are_flagged_as_diffusers_flags_them(folder: Path) -> None:
    closest = scores(folder).max(dim=1).values.sort().values
    # Half way between the pictures' own: three of them are beyond it.
    threshold(folder, float(closest[2] + closest[3]) / 2)
    safety = load_safety(folder, CPU, torch.float32)
    assert safety is not None
    given = pictures()
    found = safety.check(given)
    assert found == theirs(folder)
    assert sorted(found) == [False, False, False, True, True, True]
    assert [one.tobytes() for one in given] == [one.tobytes() for one in pictures()]


@pytest.mark.parametrize(("level", "flagged"), [(-1.0, True), (1.5, False)])
def test_thresholds_decide(folder: Path, level: float, flagged: bool) -> None:
    threshold(folder, level)
    safety = load_safety(folder, CPU, torch.float32)
    assert safety is not None
    assert safety.check(pictures()) == [flagged] * 6 == theirs(folder)


def test_many_pictures_go_through_a_few_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdcreative.models import safety as module

    safety = load_safety(folder, CPU, torch.float32)
    assert safety is not None
    whole = safety.check(pictures())
    monkeypatch.setattr(module, "AT_ONCE", 4)
    assert safety.check(pictures()) == whole
    assert safety.check([]) == []


@pytest.mark.parametrize("old", [True, False])
def test_names_of_older_and_newer_versions_are_known(folder: Path, old: bool) -> None:
    before = load_safety(folder, CPU, torch.float32)
    state = {}
    for name, tensor in load_file(weights(folder)).items():
        bare = name.replace("vision_model.vision_model.", "vision_model.")
        if old:
            bare = bare.replace("vision_model.", "vision_model.vision_model.")
        state[bare] = tensor
    if old:
        state["vision_model.vision_model.embeddings.position_ids"] = torch.arange(10)[None]
    save_file(state, weights(folder))
    after = load_safety(folder, CPU, torch.float32)
    assert before is not None
    assert after is not None
    for one, other in zip(before.checker.parameters(), after.checker.parameters(), strict=True):
        assert torch.equal(one, other)


def test_pickled_weights_are_read_and_hostile_ones_refused(folder: Path) -> None:
    state = load_file(weights(folder))
    weights(folder).unlink()
    torch.save(state, folder / "safety_checker" / "pytorch_model.bin")
    safety = load_safety(folder, CPU, torch.float32)
    assert safety is not None
    assert len(safety.check(pictures())) == 6
    torch.save({"x": print}, folder / "safety_checker" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="weights of safety_checker are a pickle that would run"):
        load_safety(folder, CPU, torch.float32)


def test_models_without_one_have_none(folder: Path) -> None:
    index = folder / "model_index.json"
    content = json.loads(index.read_text())
    for none in (None, [None, None]):
        index.write_text(json.dumps(content | {"safety_checker": none}))
        assert load_safety(folder, CPU, torch.float32) is None
    index.write_text(json.dumps(content))
    shutil.rmtree(folder / "safety_checker")
    assert load_safety(folder, CPU, torch.float32) is None


def test_without_a_description_pictures_are_prepared_as_clip_does(folder: Path) -> None:
    threshold(folder, 0.2)
    before = load_safety(folder, CPU, torch.float32)
    shutil.rmtree(folder / "feature_extractor")
    after = load_safety(folder, CPU, torch.float32)
    assert before is not None
    assert after is not None
    assert after.check(pictures()) == before.check(pictures())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["CLIPModel"]}, "holds a CLIPModel"),
        ({"projection_dim": 8}, "weights of safety_checker do not fit"),
        ({"projection_dim": "x"}, "config.json of safety_checker describes nothing"),
    ],
)
def test_broken_checkers_are_named(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / "safety_checker" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        load_safety(folder, CPU, torch.float32)


def test_missing_weights_and_senseless_preparation_are_named(folder: Path) -> None:
    path = folder / "feature_extractor" / "preprocessor_config.json"
    path.write_text(json.dumps({"size": "large"}))
    with pytest.raises(ModelError, match=r"feature_extractor in .* cannot be used"):
        load_safety(folder, CPU, torch.float32)
    path.unlink()
    weights(folder).unlink()
    with pytest.raises(ModelError, match=r"weights of safety_checker are missing: no model\.safet"):
        load_safety(folder, CPU, torch.float32)
