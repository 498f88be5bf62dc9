"""Models of the hub: its cache laid out by hand, and its calls answered on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest


class Hub(BaseHTTPRequestHandler):
    """Repositories in folders owner/name/revision, by the few calls that downloading needs."""

    def __init__(self, root: Path, asked: list[str], *given: object) -> None:
        self.root, self.asked = root, asked
        super().__init__(*given)  # type: ignore[arg-type]

    def log_message(self, *given: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        steps = unquote(urlsplit(self.path).path).strip("/").split("/")
        is_api = steps[:2] == ["api", "models"]
        steps = steps[2:] if is_api else steps
        owner, name, what, *rest = steps if len(steps) > 2 else [*steps, "revision", "main"]
        repository = self.root / owner / name
        by_name = {one.name: one for one in repository.glob("*")}
        by_name |= {digest(str(one)): one for one in by_name.values()}
        folder = by_name.get(rest[0])
        if folder is None:
            missing = "RevisionNotFound" if repository.is_dir() else "RepoNotFound"
            return self._send(404, **{"X-Error-Code": missing})
        if (folder / "gated").exists():
            return self._send(403, **{"X-Error-Code": "GatedRepo"})
        commit = digest(str(folder))
        files = {
            one.relative_to(folder).as_posix(): one for one in folder.rglob("*") if one.is_file()
        }
        if what == "revision":
            listed = [{"rfilename": one} for one in files]
            return self._send(200, {"id": f"{owner}/{name}", "sha": commit, "siblings": listed})
        if what == "tree":
            tree = [
                {"path": one, "type": "file", "size": path.stat().st_size, "oid": digest(str(path))}
                for one, path in files.items()
            ]
            return self._send(200, tree)
        wanted = "/".join(rest[1:])
        if wanted not in files:
            return self._send(404, **{"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        if self.command == "GET":
            self.asked.append(wanted)
        headers = {"ETag": f'"{digest(str(files[wanted]))}"', "X-Repo-Commit": commit}
        return self._send(200, files[wanted].read_bytes(), **headers)

    def _send(self, code: int, content: object = b"", **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def digest(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


class Served:
    """A hub on this machine, and what was downloaded from it."""

    def __init__(self, root: Path, endpoint: str, asked: list[str]) -> None:
        self.root, self.endpoint, self.asked = root, endpoint, asked

    def add(self, repository: str, files: Mapping[str, str], revision: str = "main") -> None:
        write(self.root / repository / revision, files)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Served]:
    asked: list[str] = []
    root = tmp_path / "served"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, root, asked))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Served(root, f"http://127.0.0.1:{server.server_address[1]}", asked)
    server.shutdown()
    thread.join()
    server.server_close()


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def in_fresh_python(code: str, cache: Path, hub: Served | None = None, **more: str) -> str:
    """The hub's library reads the environment when it is imported, so each case has its own."""
    prologue = (
        "from sdcreative.errors import ModelError\n"
        "from sdcreative.models.hub import fetch_part\n"
        "from sdcreative.models.sources import *\n"
        "import sys\n"
        "def get(name, **how):\n"
        "    try: print(fetch(resolve(name), **how).relative_to(sys.argv[1]))\n"
        "    except ModelError as error: print('ModelError:', error)\n"
        "def part(name, part, **how):\n"
        "    try: print(fetch_part(read_hub_name(name), part, **how).relative_to(sys.argv[1]))\n"
        "    except ModelError as error: print('ModelError:', error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE"))}
    environment |= {"HF_HOME": str(cache), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **more}
    environment["HF_ENDPOINT"] = hub.endpoint if hub else "http://127.0.0.1:9"
    epilogue = "\nassert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", prologue + code + epilogue, str(cache / "hub")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def cached(cache: Path, files: Mapping[str, str], revision: str = "main") -> str:
    """A model owner/name in the layout of the hub's cache; its folder, from there on."""
    model = cache / "hub/models--owner--name"
    commit = digest(revision)
    write(model / "refs", {revision: commit})
    write(model / "snapshots" / commit, files)
    return f"models--owner--name/snapshots/{commit}"


def index(pipeline: str, parts: Mapping[str, Sequence[str | None]]) -> dict[str, str]:
    return {"model_index.json": json.dumps({"_class_name": pipeline, **parts})}


SD_PARTS = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
}
SMALL = {
    **index("StableDiffusionPipeline", SD_PARTS),
    "unet/config.json": "{}",
    "vae/config.json": "{}",
    "text_encoder/config.json": "{}",
    "tokenizer/vocab.json": "{}",
    "tokenizer/merges.txt": "x",
    "scheduler/scheduler_config.json": "{}",
}
UNET, VAE = "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"
COMPLETE = {
    **SMALL,
    f"{UNET}.safetensors": "x",
    f"{VAE}.safetensors": "x",
    "text_encoder/model.fp16.safetensors": "x",
}


@pytest.mark.parametrize("way", ["offline=True", "HF_HUB_OFFLINE", "unreachable"])
def test_a_cached_model_needs_no_network(tmp_path: Path, way: str) -> None:
    folder = cached(tmp_path, COMPLETE)
    if way == "offline=True":
        code = "print(resolve('owner/name', offline=True).folder.relative_to(sys.argv[1]))"
        assert in_fresh_python(code, tmp_path) == folder
    environment = {"HF_HUB_OFFLINE": "1"} if way == "HF_HUB_OFFLINE" else {}
    how = "offline=True" if way == "offline=True" else "offline=False"
    assert in_fresh_python(f"get('owner/name', {how})", tmp_path, **environment) == folder


def test_a_model_that_is_not_cached(tmp_path: Path) -> None:
    cached(tmp_path, COMPLETE, "other")
    out = in_fresh_python(
        "get('owner/name', offline=True)\n"
        "get('owner/name:x.ckpt', offline=True)\n"
        "get('owner/name')\n",
        tmp_path,
    )
    whole, file, unreachable = out.splitlines()
    assert whole.startswith("ModelError: model owner/name is not in the cache")
    assert str(tmp_path / "hub") in whole
    assert whole.endswith("run `sdcreative models fetch owner/name`")
    assert file.startswith("ModelError: model owner/name:x.ckpt is not in the cache")
    assert "could not be fetched" in unreachable and "models fetch owner/name" in unreachable


def test_a_model_that_is_cached_in_part(tmp_path: Path) -> None:
    cached(tmp_path, {k: v for k, v in COMPLETE.items() if "vae" not in k})
    out = in_fresh_python("get('owner/name', offline=True)", tmp_path)
    assert out.startswith("ModelError: model owner/name has no weights of vae")
    assert "`sdcreative models fetch owner/name`" in out


def test_what_is_in_the_cache_already(tmp_path: Path) -> None:
    shards = {
        f"{UNET}.safetensors.index.json": json.dumps(
            {"weight_map": {"a": "d-00001-of-00002.bin", "b": "d-00002-of-00002.bin"}}
        ),
        "unet/d-00001-of-00002.bin": "x",
    }
    split = {name: text for name, text in COMPLETE.items() if UNET not in name} | shards
    folder = cached(tmp_path, {f"sub/{name}": text for name, text in split.items()}, "v1")
    get = "get('owner/name@v1:sub', offline=True)"
    assert "has no weights of unet" in in_fresh_python(get, tmp_path)
    write(tmp_path / "hub" / folder, {"sub/unet/d-00002-of-00002.bin": "x", "x/y.ckpt": "x"})
    assert in_fresh_python(
        f"{get}\nget('owner/name@v1:x/y.ckpt', offline=True)", tmp_path
    ).splitlines() == [f"{folder}/sub", f"{folder}/x/y.ckpt"]


def test_only_what_is_loaded_is_downloaded(hub: Served, tmp_path: Path) -> None:
    others = [
        "README.md",
        "big.ckpt",
        "preview.png",
        f"{UNET}.fp16.safetensors",
        f"{UNET}.bin",
        "unet/openvino_model.xml",
        "text_encoder/pytorch_model.bin",
        "text_encoder/model.bin",
        f"{VAE}.non_ema.safetensors",
        "safety_checker/config.json",
        "safety_checker/model.safetensors",
        "feature_extractor/preprocessor_config.json",
        "image_encoder/model.safetensors",
    ]
    hub.add("owner/name", COMPLETE | dict.fromkeys(others, "x"))
    out = in_fresh_python("get('owner/name')", tmp_path, hub)
    assert out == f"models--owner--name/snapshots/{digest(str(hub.root / 'owner/name/main'))}"
    assert sorted(hub.asked) == sorted(COMPLETE)
    hub.asked.clear()
    more = "get('owner/name', also=['safety_checker', 'feature_extractor'])"
    assert in_fresh_python(f"get('owner/name')\n{more}", tmp_path, hub) == f"{out}\n{out}"
    assert sorted(hub.asked) == [
        "feature_extractor/preprocessor_config.json",
        "safety_checker/config.json",
        "safety_checker/model.safetensors",
    ]
    assert in_fresh_python("get('owner/name')", tmp_path) == out


def test_one_form_of_every_parts_weights(hub: Served, tmp_path: Path) -> None:
    clip = ["transformers", "CLIPTextModelWithProjection"]
    parts: dict[str, Sequence[str | None]] = {
        **{key: SD_PARTS[key] for key in ("vae", "tokenizer", "scheduler")},
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "text_encoder": clip,
        "text_encoder_2": clip,
        "tokenizer_2": SD_PARTS["tokenizer"],
        "text_encoder_3": ["transformers", "T5EncoderModel"],
        "tokenizer_3": ["transformers", "T5TokenizerFast"],
    }
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    halves = [f"model.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]

    def table(names: Sequence[str]) -> str:
        return json.dumps({"weight_map": {str(n): name for n, name in enumerate(names)}})

    wanted = {
        **index("StableDiffusion3Pipeline", parts),
        "transformer/diffusion_pytorch_model.safetensors": "x",
        f"{VAE}.fp16.safetensors": "x",
        "text_encoder/model.bin": "x",
        "text_encoder_2/model.fp16.bin": "x",
        "text_encoder_3/model.safetensors.index.json": table(shards),
        "text_encoder_3/model.safetensors.index.fp16.json": table(halves),
        **{f"text_encoder_3/{name}": "x" for name in shards},
        "tokenizer_2/vocab.json": "{}",
        "tokenizer_3/spiece.model": "x",
        "tokenizer_3/tokenizer.json": "{}",
    }
    others = [
        f"{VAE}.bin",
        *(f"text_encoder_3/{name}" for name in halves),
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
    ]
    split = {"transformer/diffusion_pytorch_model.safetensors.index.json": table(["x"])}
    hub.add("owner/name", wanted | dict.fromkeys(others, "x") | split)
    assert "models--owner--name" in in_fresh_python("get('owner/name')", tmp_path, hub)
    assert sorted(hub.asked) == sorted(wanted | split)
    # Without the large text encoder, as some have it.
    hub.asked.clear()
    parts |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    hub.add("owner/name", {**wanted, **index("StableDiffusion3Pipeline", parts)}, "small")
    in_fresh_python("get('owner/name@small')", tmp_path, hub)
    assert "text_encoder_2/model.fp16.bin" in hub.asked
    assert not any("_3" in name for name in hub.asked)


def test_revisions_folders_and_files(hub: Served, tmp_path: Path) -> None:
    hub.add("owner/name", {f"a [b]/c/{name}": text for name, text in COMPLETE.items()}, "v1")
    hub.add("owner/name", {"a/one.safetensors": "x", "two.ckpt": "x"})
    out = in_fresh_python(
        "get('owner/name@v1:a [b]/c')\n"
        "get('owner/name:a/one.safetensors')\n"
        "get('https://huggingface.co/owner/name/blob/main/two.ckpt?download=true')",
        tmp_path,
        hub,
    )
    at = {one: f"snapshots/{digest(str(hub.root / 'owner/name' / one))}" for one in ("v1", "main")}
    assert [line.removeprefix("models--owner--name/") for line in out.splitlines()] == [
        f"{at['v1']}/a [b]/c",
        f"{at['main']}/a/one.safetensors",
        f"{at['main']}/two.ckpt",
    ]
    assert len(hub.asked) == len(COMPLETE) + 2


def test_what_the_hub_refuses_is_said_in_a_line(hub: Served, tmp_path: Path) -> None:
    hub.add("owner/name", {"gated": ""})
    hub.add("owner/files", {"a.safetensors": "x", "sub/model_index.json": "{}", "b.bin": "x"})
    hub.add("owner/flux", {**index("FluxPipeline", {}), "transformer/model.safetensors": "x"})
    hub.add("owner/half", {name: text for name, text in COMPLETE.items() if UNET not in name})
    outside = json.dumps({"weight_map": {"a": "../../x.bin"}})
    hub.add("owner/split", {**SMALL, f"{UNET}.safetensors.index.json": outside})
    names = ["name", "none", "files@v9", "files", "files:c.ckpt", "flux", "half", "split", "a--b"]
    code = "\n".join(f"get('owner/{name}')" for name in names)
    lines = in_fresh_python(code, tmp_path, hub).splitlines()
    assert all(line.startswith("ModelError: ") for line in lines)
    for line, said in zip(
        lines,
        [
            "owner/name asks for its licence to be accepted",
            "no model 'owner/none': neither a folder here nor a (public) model on the hub",
            "owner/files on the hub has no revision 'v9'",
            "no model_index.json; name what is inside, such as owner/files:sub, "
            "owner/files:a.safetensors",
            "owner/files on the hub has no file 'c.ckpt'",
            "is a FluxPipeline, which this version cannot run",
            "model owner/half has no weights of unet",
            "names '../../x.bin', outside of its folder",
            "no model 'owner/a--b': the hub has no such names",
        ],
        strict=True,
    ):
        assert said in line
    assert not any(name.endswith((".safetensors", ".bin")) for name in hub.asked if "flux" in name)


def test_a_part_of_a_model(hub: Served, tmp_path: Path) -> None:
    config = {"config.json": "{}"}
    alone = {**config, "diffusion_pytorch_model.safetensors": "x"}
    hub.add("owner/vae", alone | {"diffusion_pytorch_model.bin": "x", "README.md": "x"})
    hub.add("owner/whole", COMPLETE)
    hub.add("owner/plan", {"scheduler_config.json": "{}"})
    wanted = [("vae", "vae"), ("whole", "vae"), ("whole", "scheduler"), ("plan", "scheduler")]
    wanted.append(("whole", "text_encoder"))
    code = "\n".join(f"part('owner/{name}', {part!r}, offline=OFF)" for name, part in wanted)
    out = in_fresh_python(code.replace("OFF", "False"), tmp_path, hub)
    assert [line.split("/")[0] for line in out.splitlines()] == [
        f"models--owner--{name}" for name, _ in wanted
    ]
    text = ["text_encoder/config.json", "text_encoder/model.fp16.safetensors"]
    tokenizer = ["tokenizer/merges.txt", "tokenizer/vocab.json"]
    whole = ["vae/config.json", f"{VAE}.safetensors", "scheduler/scheduler_config.json"]
    assert sorted(hub.asked) == sorted([*alone, *whole, "scheduler_config.json", *text, *tokenizer])
    assert in_fresh_python(code.replace("OFF", "True"), tmp_path) == out
    code = "part('owner/plan', 'vae')\npart('owner/vae', 'vae', offline=True)"
    lacking, unreached = in_fresh_python(code, tmp_path / "other", hub).splitlines()
    assert "owner/plan on the hub has no vae: no vae/config.json, no config.json" in lacking
    assert "owner/vae is not in the cache" in unreached
