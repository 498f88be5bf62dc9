"""Addons by name, as ComfyUI and AUTOMATIC1111 keep them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sdcreative.errors import ModelError, UsageError
from sdcreative.models.addons.finding import addon_digest, find_addon


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Path, Path]:
    comfy, a1111 = tmp_path / "ComfyUI", tmp_path / "webui"
    for path in (
        comfy / "models/loras/styles/Ink Drawing.safetensors",
        comfy / "models/loras/detail.safetensors",
        comfy / "models/embeddings/easynegative.pt",
        comfy / "models/checkpoints/detail.ckpt",
        a1111 / "models/Lora/detail.safetensors",
        a1111 / "models/Lora/add.v1.5.safetensors",
        a1111 / "models/LyCORIS/hands.pt",
        a1111 / "embeddings/easynegative.png",
        a1111 / "embeddings/easynegative.safetensors",
        a1111 / "embeddings/shared.PNG",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.as_posix().encode())
    return comfy, a1111


@pytest.mark.parametrize(
    ("name", "kind", "home", "inside"),
    [
        ("detail", "lora", 0, "models/loras/detail.safetensors"),
        ("detail.safetensors", "lora", 0, "models/loras/detail.safetensors"),
        ("Ink Drawing", "lora", 0, "models/loras/styles/Ink Drawing.safetensors"),
        ("styles/ink drawing", "lora", 0, "models/loras/styles/Ink Drawing.safetensors"),
        (
            "styles\\Ink Drawing.safetensors",
            "lora",
            0,
            "models/loras/styles/Ink Drawing.safetensors",
        ),
        ("add.v1.5", "lora", 1, "models/Lora/add.v1.5.safetensors"),
        ("hands", "lora", 1, "models/LyCORIS/hands.pt"),
        ("EasyNegative", "embedding", 0, "models/embeddings/easynegative.pt"),
        ("shared", "embedding", 1, "embeddings/shared.PNG"),
    ],
)
def test_names(homes: tuple[Path, Path], name: str, kind: str, home: int, inside: str) -> None:
    assert find_addon(name, homes, kind) == homes[home] / inside  # type: ignore[arg-type]


def test_a_picture_beside_an_embedding_is_not_it(homes: tuple[Path, Path]) -> None:
    found = find_addon("easynegative", [homes[1]], "embedding")
    assert found == homes[1] / "embeddings/easynegative.safetensors"


def test_paths_and_plain_folders(homes: tuple[Path, Path]) -> None:
    path = homes[0] / "models/loras/detail.safetensors"
    assert find_addon(str(path), [], "lora") == path
    assert find_addon("detail", [path.parent], "lora") == path


def test_names_do_not_leave_the_folders(homes: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="no LoRA"):
        find_addon("../checkpoints/detail", homes, "lora")


def test_what_is_not_there(homes: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="no LoRA 'detial'; did you mean 'detail'"):
        find_addon("detial", homes, "lora")
    with pytest.raises(UsageError, match=r"no embedding 'zzz'; 2 in .*ComfyUI, .*webui"):
        find_addon("zzz", homes, "embedding")
    with pytest.raises(UsageError, match="give its path, or the folder"):
        find_addon("detail", [], "lora")
    with pytest.raises(UsageError, match="no LoRA ''"):
        find_addon("", homes, "lora")


def test_one_name_of_two_files(homes: tuple[Path, Path]) -> None:
    folder = homes[1] / "models/Lora/other"
    folder.mkdir()
    (folder / "detail.safetensors").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"2 files are LoRAs named 'detail': .*; give the path"):
        find_addon("detail", [homes[1]], "lora")
    assert find_addon("other/detail", [homes[1]], "lora") == folder / "detail.safetensors"


def test_case_tells_two_files_apart(tmp_path: Path) -> None:
    for name in ("ink.pt", "Ink.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    assert find_addon("ink", [tmp_path], "lora").name == "ink.pt"
    assert find_addon("Ink", [tmp_path], "lora").name == "Ink.safetensors"


def test_links_that_go_round(homes: tuple[Path, Path]) -> None:
    (homes[0] / "models/loras/round").symlink_to(homes[0] / "models/loras")
    assert find_addon("hands", homes, "lora").name == "hands.pt"


def test_a_digest_is_of_the_content(tmp_path: Path) -> None:
    for name, content in (("a", b"1" * 3_000_000), ("b", b"1" * 3_000_000), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (addon_digest(tmp_path / name) for name in "abc")
    assert a == b != c == "d4735e3a265e16ee"
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        addon_digest(tmp_path / "d")


def test_finding_imports_no_torch() -> None:
    code = "import sys, sdcreative.models.addons.finding as _; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
