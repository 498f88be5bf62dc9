"""A run's addons as a whole: found, known by their contents, put in and taken out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdcreative.errors import UsageError
from sdcreative.models.addons.embedding_installing import words_of
from sdcreative.models.addons.wanted import Addons, WantedEmbedding, WantedLora, add_to, find_addons
from sdcreative.models.loading import Parts
from sdcreative.models.text import encode


@pytest.fixture
def home(tmp_path: Path, kohya: Path) -> Path:
    for folder in ("loras", "embeddings"):
        (tmp_path / "models" / folder).mkdir(parents=True)
    table = load_file(kohya) | {"bundle_emb.sks.string_to_param.*": torch.ones(1, 32)}
    save_file(table, tmp_path / "models/loras/detail.safetensors")
    save_file({"emb_params": torch.zeros(2, 32)}, tmp_path / "models/embeddings/calm.safetensors")
    save_file({"<cat>": torch.ones(32)}, tmp_path / "models/embeddings/learned.safetensors")
    return tmp_path


def test_all_are_put_in_and_taken_out(parts: Parts, home: Path) -> None:
    wanted = find_addons(
        [("detail", 0.5, 0.0)], [("calm", None), ("learned", None), ("learned", "kitty")], [home]
    )
    prompt = "a <cat>, calm kitty of sks"
    states = {root: getattr(parts, root).state_dict() for root in ("unet", "text_encoder")}
    before = {root: {key: one.clone() for key, one in states[root].items()} for root in states}
    encoded = encode(parts, [prompt])[0].embeddings
    with add_to(parts, wanted):
        ids = parts.tokenizer(prompt, add_special_tokens=False).input_ids
        assert words_of(parts.tokenizer) == {517: 2, 519: 1, 520: 1, 521: 1}
        assert {517, 518, 519, 520, 521} <= set(ids)
        assert not torch.equal(encode(parts, [prompt])[0].embeddings, encoded)
        key = "mid_block.resnets.0.conv1.weight"
        assert not torch.equal(parts.unet.state_dict()[key], before["unet"][key])
    for root, table in before.items():
        after = getattr(parts, root).state_dict()
        assert all(torch.equal(after[key], one) for key, one in table.items())
    assert torch.equal(encode(parts, [prompt])[0].embeddings, encoded)
    with pytest.raises(UsageError, match="two embeddings have the token '<cat>'"):
        add_to(parts, Addons((), wanted.embeddings[1:2] * 2))
    with add_to(parts, Addons()):
        assert torch.equal(encode(parts, [prompt])[0].embeddings, encoded)


def test_a_failure_leaves_nothing_behind(parts: Parts, home: Path) -> None:
    wanted = find_addons([("detail", 1.0, 1.0)], [("calm", "bear")], [home])
    before = {key: one.clone() for key, one in parts.unet.state_dict().items()}
    with pytest.raises(UsageError, match="has the token 'bear' already"):
        add_to(parts, wanted)
    assert all(torch.equal(one, before[key]) for key, one in parts.unet.state_dict().items())


def test_a_digest_tells_contents_scales_and_words_apart(home: Path) -> None:
    lora = home / "models/loras/detail.safetensors"
    word = home / "models/embeddings/calm.safetensors"
    different = [
        Addons(),
        Addons((WantedLora(lora),)),
        Addons((WantedLora(lora, 0.5),)),
        Addons((WantedLora(lora, 1.0, 0.5),)),
        Addons((WantedLora(word),)),
        Addons((), (WantedEmbedding(word),)),
        Addons((), (WantedEmbedding(word, "calm"),)),
        Addons((WantedLora(lora),), (WantedEmbedding(word),)),
    ]
    assert len({one.digest() for one in different}) == len(different)
    assert Addons().digest() == Addons((WantedLora(lora, 0.0, 0.0),)).digest() == ""
    before = different[1].digest()
    assert len(before) == 16
    copy = home / "elsewhere.safetensors"
    lora.rename(copy)
    assert Addons((WantedLora(copy),)).digest() == before


def test_asking_imports_no_torch() -> None:
    code = "import sys, sdcreative.models.addons.wanted as _; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
