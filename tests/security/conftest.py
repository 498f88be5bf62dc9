"""Files of strangers that want to run code, hang, or take all memory; and a watch over them."""

from __future__ import annotations

import importlib.util
import json
import resource
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sdcreative.errors import SdcreativeError

Act = Callable[[], object]
SECONDS = 60
"""that a file may take to be refused, on a machine that does other things too"""
MEMORY = 1 << 30
CANARY = "sdcreative_canary"
_EVENTS = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect",
    "webbrowser.open",
)  # fmt: skip

_spec = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).parents[1] / "models" / "conftest.py"
)
assert _spec is not None and _spec.loader is not None
_models = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_models)
tiny_checkpoint = _models.tiny_checkpoint
tiny_safety = _models.tiny_safety
checkpoint = _models.checkpoint

_seen: list[str] = []
_watching = threading.Event()


def _audit(event: str, given: tuple[Any, ...]) -> None:
    if _watching.is_set() and (event in _EVENTS or (event == "import" and given[0] == CANARY)):
        _seen.append(f"{event} {given!r:.100}")


sys.addaudithook(_audit)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """What any code that is run would make."""
    return tmp_path / "canary"


@pytest.fixture(autouse=True)
def _nothing_runs(tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that files name can be imported, and says so; no program is started."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / f"{CANARY}.py").write_text(
        f"open({str(canary)!r}, 'w').close()\nrun = Model = print\n"
    )
    monkeypatch.syspath_prepend(modules)
    _seen.clear()
    _watching.set()
    yield
    _watching.clear()
    assert _seen == []
    assert not canary.exists()
    assert CANARY not in sys.modules


def _outcome(act: Act) -> BaseException | None:
    """What an act raises; it has to end in time, and without taking much memory."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - told by the caller's thread
            raised.append(error)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "it hangs"
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < MEMORY, f"{grown} bytes of memory"
    return raised[0] if raised else None


def _one_line(error: BaseException | None, *names: object) -> str:
    assert isinstance(error, SdcreativeError), repr(error)
    message = str(error)
    assert message.isprintable(), message
    assert len(message) < 800, message
    for name in names:
        assert str(name) in message, message
    return message


@pytest.fixture(scope="session")
def harmless() -> Callable[[Act], BaseException | None]:
    """Runs what may succeed or be refused, and nothing else; returns what was raised."""

    def check(act: Act) -> BaseException | None:
        error = _outcome(act)
        if error is not None:
            _one_line(error)
        return error

    return check


@pytest.fixture(scope="session")
def refused() -> Callable[..., str]:
    """Runs what must be refused, in one line that names all that is given; returns the line."""
    return lambda act, *names: _one_line(_outcome(act), *names)


@pytest.fixture(scope="session")
def parts(tiny_checkpoint: Path) -> Any:
    """The tiny model, loaded."""
    import torch

    from sdcreative.models.loading import load_parts

    return load_parts(tiny_checkpoint, device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="session")
def load() -> Callable[[Path], object]:
    """Loads a model as a render does, and makes its samplers."""

    def whole(folder: Path) -> object:
        import torch

        from sdcreative.models.loading import load_parts
        from sdcreative.models.samplers import build_sampler

        found = load_parts(folder, device=torch.device("cpu"), dtype=torch.float32)
        if found.prediction_type == "flow":
            return build_sampler("Euler", found.scheduler_config, 4, 64)
        names = ("DDIM", "Euler a", "DPM++ 2M Karras", "UniPC", "LMS")
        return [build_sampler(name, found.scheduler_config, 4) for name in names]

    return whole


@pytest.fixture
def readers(tiny_checkpoint: Path, parts: Any, tmp_path: Path) -> dict[str, Any]:
    """All that reads a file of weights: name -> function of a path."""
    from sdcreative.models.addons.embedding_files import read_embedding
    from sdcreative.models.addons.lora_reading import read_lora
    from sdcreative.models.catalogue.addons import describe_addon
    from sdcreative.models.folders import read_weights
    from sdcreative.models.opening import open_model
    from sdcreative.models.places import ModelPlace

    def in_folder(path: Path) -> object:
        folder = tmp_path / "unet"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / "diffusion_pytorch_model.bin")
        return read_weights(folder, "unet")

    def swapped(part: str) -> Callable[[Path], object]:
        return lambda path: open_model(ModelPlace(tiny_checkpoint, swaps=((part, path),)))

    return {
        "checkpoint": lambda path: open_model(ModelPlace(path)),
        "part": in_folder,
        "vae": swapped("vae"),
        "text_encoder": swapped("text_encoder"),
        "lora": lambda path: read_lora(path, parts),
        "embedding": read_embedding,
        "any": describe_addon,
    }


@pytest.fixture(scope="session")
def edit() -> Any:
    """``edit.json(path, key=value)`` and ``edit.text(path, text)``."""

    def change(path: Path, **values: object) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return SimpleNamespace(json=change, text=lambda path, text: path.write_text(text))
