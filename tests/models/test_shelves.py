"""Models folders as AUTOMATIC1111, ComfyUI and people keep them."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from sdcreative.errors import UsageError
from sdcreative.models.shelves import (
    KINDS,
    Kind,
    find_in_shelves,
    look_up,
    names_in_shelves,
    shelved,
)


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def put_folder(path: Path, said: str | None = None) -> None:
    path.mkdir(parents=True)
    if said is None:
        (path / "model_index.json").write_text("{}")
        put(path / "unet/diffusion_pytorch_model.safetensors", path / "unet/config.json")
    else:
        (path / "config.json").write_text(json.dumps({"_class_name": said}))
        put(path / "diffusion_pytorch_model.safetensors")


@pytest.fixture
def comfy(tmp_path: Path) -> Path:
    models = tmp_path / "ComfyUI/models"
    put(
        models / "checkpoints/xl/Bears.safetensors",
        models / "checkpoints/bears-v1.5.ckpt",
        models / "checkpoints/put_checkpoints_here",
        models / "vae/soft.safetensors",
        models / "loras/ink.safetensors",
        models / "embeddings/bad.pt",
        models / "diffusion_models/sd3.safetensors",
        models / "unet/other.safetensors",
        models / "clip/clip_l.safetensors",
        models / "text_encoders/t5xxl.safetensors",
        models / "clip_vision/h.safetensors",
        models / "upscale_models/4x.pth",
        models.parent / "output/output.safetensors",
        models.parent / "custom_nodes/x/models/vae/y.pt",
    )
    put_folder(models / "diffusers/owner/Tiny")
    put_folder(models / "vae/wide", "AutoencoderKL")
    return models.parent


@pytest.fixture
def a1111(tmp_path: Path) -> Path:
    home = tmp_path / "webui"
    put(
        home / "models/Stable-diffusion/bears-v1.5.safetensors",
        home / "models/Stable-diffusion/bears-v1.5.vae.safetensors",
        home / "models/Stable-diffusion/bears-v1.5.png",
        home / "models/VAE/soft.pt",
        home / "models/Lora/ink.safetensors",
        home / "models/LyCORIS/loha.safetensors",
        home / "embeddings/bad.png",
        home / "models/ESRGAN/2x.pth",
        home / "extensions/z.safetensors",
    )
    return home


@pytest.mark.parametrize(
    ("kind", "name", "inside"),
    [
        ("model", "bears", "models/checkpoints/xl/Bears.safetensors"),
        ("model", "XL\\bears.SAFETENSORS", "models/checkpoints/xl/Bears.safetensors"),
        ("model", "bears-v1.5", "models/checkpoints/bears-v1.5.ckpt"),
        ("model", "tiny", "models/diffusers/owner/Tiny"),
        ("model", "owner/Tiny", "models/diffusers/owner/Tiny"),
        ("vae", "soft", "models/vae/soft.safetensors"),
        ("vae", "wide", "models/vae/wide"),
        ("lora", "ink", "models/loras/ink.safetensors"),
        ("embedding", "bad", "models/embeddings/bad.pt"),
        ("diffusion_model", "sd3", "models/diffusion_models/sd3.safetensors"),
        ("diffusion_model", "other", "models/unet/other.safetensors"),
        ("text_encoder", "clip_l", "models/clip/clip_l.safetensors"),
        ("text_encoder", "t5xxl", "models/text_encoders/t5xxl.safetensors"),
        ("clip_vision", "h", "models/clip_vision/h.safetensors"),
        ("upscaler", "4x", "models/upscale_models/4x.pth"),
    ],
)
def test_names_in_the_folders_of_comfyui(
    comfy: Path, a1111: Path, kind: Kind, name: str, inside: str
) -> None:
    # The first folder that has one counts; so does the folder models itself.
    assert find_in_shelves(kind, name, [comfy, a1111]) == comfy / inside
    assert find_in_shelves(kind, name, [str(comfy / "models")]) == comfy / inside


@pytest.mark.parametrize(
    ("kind", "name", "inside"),
    [
        ("model", "bears-v1.5", "models/Stable-diffusion/bears-v1.5.safetensors"),
        ("vae", "soft", "models/VAE/soft.pt"),
        ("lora", "ink", "models/Lora/ink.safetensors"),
        ("lora", "loha", "models/LyCORIS/loha.safetensors"),
        ("embedding", "bad", "embeddings/bad.png"),
        ("upscaler", "2x", "models/ESRGAN/2x.pth"),
    ],
)
def test_names_in_the_folders_of_automatic1111(
    a1111: Path, kind: Kind, name: str, inside: str
) -> None:
    assert find_in_shelves(kind, name, [a1111]) == a1111 / inside


def test_what_lies_elsewhere_in_a_home_is_not_found(comfy: Path, a1111: Path) -> None:
    homes = [comfy, a1111]
    for kind in KINDS:
        for name in ("output", "y", "z", "ink.vae", "", "/", "put_checkpoints_here"):
            assert look_up(kind, name, homes) is None
    assert look_up("model", "bears-v1.5.vae", homes) is None
    assert look_up("model", "diffusion_pytorch_model", homes) is None
    assert look_up("lora", "../checkpoints/bears-v1.5", homes) is None
    assert look_up("clip_vision", "t5xxl", homes) is None


def test_everything_there_is(comfy: Path, a1111: Path) -> None:
    there = list(shelved([comfy, a1111]))
    assert len(there) == len({one.path for one in there}) == 19
    assert [one.name for one in there if one.kind == "model"] == [
        "bears-v1.5.ckpt",
        "xl/Bears.safetensors",
        "owner/Tiny",
        "bears-v1.5.safetensors",
    ]
    assert names_in_shelves("model", [comfy, a1111]) == ["Bears", "Tiny", "bears-v1.5"]
    assert {one.kind for one in there} == set(KINDS)
    # Both homes have one VAE that is called soft.
    assert [one.stem for one in shelved([comfy, a1111], "vae")] == ["soft", "wide", "soft"]


def test_a_plain_folder(tmp_path: Path) -> None:
    put(tmp_path / "a/one.safetensors", tmp_path / "two.pt", tmp_path / ".hidden/h.ckpt")
    put(tmp_path / "loras/three.safetensors", tmp_path / "notes.txt")
    put(tmp_path / "models--owner--name/snapshots/0/x.safetensors")
    put_folder(tmp_path / "b/Tiny")
    put_folder(tmp_path / "b/wide", "AutoencoderKL")
    found = {one.name: one.kind for one in shelved([tmp_path])}
    assert found == {
        "three.safetensors": "lora",
        "a/one.safetensors": None,
        "b/Tiny": "model",
        "b/wide": "vae",
        "two.pt": None,
    }
    assert look_up("model", "ONE", [tmp_path]) == tmp_path / "a/one.safetensors"
    assert look_up("model", "three", [tmp_path]) is None
    assert look_up("lora", "one", [tmp_path]) is None
    assert look_up("vae", "two", [tmp_path]) == tmp_path / "two.pt"
    assert look_up("vae", "tiny", [tmp_path]) is None
    # A diffusers folder itself is a path, not a shelf.
    assert list(shelved([tmp_path / "b/Tiny/none"])) == []


def test_paths_come_first(comfy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "soft")
    assert find_in_shelves("vae", "soft", [comfy]) == Path("soft")
    assert look_up("vae", "soft", [comfy]) == comfy / "models/vae/soft.safetensors"
    folder = comfy / "models/vae/wide"
    assert find_in_shelves("vae", str(folder), []) == folder
    with pytest.raises(UsageError, match="no LoRA"):
        find_in_shelves("lora", str(folder), [])


def test_what_is_not_there(comfy: Path) -> None:
    with pytest.raises(UsageError, match=r"no VAE 'sofd'; did you mean 'soft'\?"):
        find_in_shelves("vae", "sofd", [comfy])
    with pytest.raises(UsageError, match=r"no upscaler 'zzz'; 1 in .*ComfyUI"):
        find_in_shelves("upscaler", "zzz", [comfy])
    with pytest.raises(UsageError, match="no model 'zzz'; give its path, or the folder"):
        find_in_shelves("model", "zzz", [])
    assert list(shelved([comfy / "nowhere"])) == []


def test_one_name_of_several_things(tmp_path: Path) -> None:
    put(tmp_path / "a/one.safetensors", tmp_path / "b/one.safetensors", tmp_path / "b/one.ckpt")
    with pytest.raises(UsageError, match=r"3 files are models named 'one': .*give the path of one"):
        look_up("model", "one", [tmp_path])
    assert look_up("model", "b/one", [tmp_path]) == tmp_path / "b/one.safetensors"
    assert look_up("model", "b/one.ckpt", [tmp_path]) == tmp_path / "b/one.ckpt"
    put_folder(tmp_path / "b/two")
    put(tmp_path / "b/two.safetensors", tmp_path / "Three.ckpt", tmp_path / "three.ckpt")
    # A whole name comes before one without its ending, upper and lower case before either.
    assert look_up("model", "two", [tmp_path]) == tmp_path / "b/two"
    assert look_up("model", "two.safetensors", [tmp_path]) == tmp_path / "b/two.safetensors"
    assert look_up("model", "three", [tmp_path]) == tmp_path / "three.ckpt"
    with pytest.raises(UsageError, match="2 files"):
        look_up("model", "THREE", [tmp_path])


def test_accents_and_links(tmp_path: Path) -> None:
    put(tmp_path / unicodedata.normalize("NFD", "bär.safetensors"))
    (tmp_path / "round").symlink_to(tmp_path)
    assert look_up("model", unicodedata.normalize("NFC", "BÄR"), [tmp_path]) is not None


def test_extra_model_paths(comfy: Path, tmp_path: Path) -> None:
    put(
        tmp_path / "webui/models/Lora/extra.safetensors",
        tmp_path / "webui/more/also.pt",
        tmp_path / "elsewhere/far.ckpt",
    )
    text = f"""
a111:
    base_path: ../webui
    checkpoints: models/Stable-diffusion
    loras: |
        models/Lora
        more
    configs: models
    is_default: true
other:
    checkpoints: {tmp_path / "elsewhere"}
nothing: 3
"""
    (comfy / "extra_model_paths.yaml").write_text(text)
    webui = tmp_path / "webui"
    for folders in ([comfy], [comfy / "extra_model_paths.yaml"]):
        found = find_in_shelves("lora", "extra", folders)
        assert found.resolve() == webui / "models/Lora/extra.safetensors"
        assert find_in_shelves("lora", "also", folders).resolve() == webui / "more/also.pt"
        assert find_in_shelves("model", "far", folders) == tmp_path / "elsewhere/far.ckpt"
    assert look_up("lora", "ink", [comfy]) == comfy / "models/loras/ink.safetensors"
    assert look_up("lora", "ink", [comfy / "extra_model_paths.yaml"]) is None
    for broken in ("a: [", "a: !!python/object:os.system x", "#" * 70_000):
        (comfy / "extra_model_paths.yaml").write_text(broken)
        with pytest.raises(UsageError, match=r"extra_model_paths.yaml: (cannot be read|has more)"):
            look_up("lora", "ink", [comfy])


def test_shelves_import_no_torch() -> None:
    code = (
        "import sys, sdcreative.models.shelves as _;"
        "print({'torch', 'numpy', 'yaml', 'diffusers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
