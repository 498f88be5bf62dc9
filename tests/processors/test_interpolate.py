"""More pictures a second, with small weights of the published shape."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from sdcreative.errors import ModelError, UsageError
from sdcreative.processors import apply_steps, plan_steps, read_processors
from sdcreative.processors.rife import Interpolator, check_weights, read_weights
from sdcreative.tools import Film

WIDTHS = (16, 12, 8, 4)
SIZE = (45, 35)


class Block(nn.Module):
    """A stage's layers under the names that they have in the published file."""

    def __init__(self, seen: int, width: int, last: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(
            nn.Sequential(nn.Conv2d(seen, width // 2, 3, 2, 1), nn.LeakyReLU(0.2)),
            nn.Sequential(nn.Conv2d(width // 2, width, 3, 2, 1), nn.LeakyReLU(0.2)),
        )
        self.convblock = nn.Sequential(*(Residual(width) for _ in range(8)))
        self.lastconv = nn.Sequential(nn.ConvTranspose2d(width, last, 4, 2, 1), nn.PixelShuffle(2))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1)
        self.beta = nn.Parameter(torch.ones(1, width, 1, 1))


def weights(last: int = 24) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Module()
    for number, width in enumerate(WIDTHS):
        net.add_module(f"block{number}", Block(12 if number else 7, width, last))
    return {key: value.detach() for key, value in net.state_dict().items()}


def still(**biases: float) -> dict[str, torch.Tensor]:
    """Weights whose last layers give constants: ``flow0`` to ``flow3`` in pixels, ``mask``.

    Only the last stage, which sees the pictures in full size, is given any.
    """
    state = weights()
    for key in state:
        if ".lastconv." in key:
            state[key] = torch.zeros_like(state[key])
    for name, value in biases.items():
        channel = 4 if name == "mask" else int(name.removeprefix("flow"))
        state["block3.lastconv.0.bias"][4 * channel : 4 * channel + 4] = value
    return state


def saved(folder: Path, state: Any, name: str = "flownet.pkl") -> Path:
    torch.save(state, folder / name)
    return folder / name


def noise(seed: int, step: int = 1) -> Image.Image:
    pixels = numpy.random.default_rng(seed).integers(0, 255 // step, (SIZE[1], SIZE[0], 3)) * step
    return Image.fromarray(pixels.astype(numpy.uint8))


def array(picture: Image.Image) -> numpy.ndarray:
    return numpy.asarray(picture).astype(int)


def run(
    path: Path, pictures: list[Image.Image], factor: int = 2, closed: bool = False
) -> tuple[Film, list[Image.Image]]:
    settings = {"weights": str(path), "factor": factor, "device": "cpu"}
    steps = read_processors([{"interpolate": settings}])
    film = Film(SIZE, len(pictures), 12.0, closed)
    return plan_steps(steps, film), list(apply_steps(steps, film, pictures))


def test_where_nothing_flows_the_middle_is_the_mean(tmp_path: Path) -> None:
    a, b = noise(1, step=2), noise(2, step=2)
    _, [first, middle, last] = run(saved(tmp_path, still()), [a, b])
    assert first is a
    assert last is b
    assert (array(middle) == (array(a) + array(b)) // 2).all()


def test_the_mask_chooses_and_the_flow_says_from_where(tmp_path: Path) -> None:
    a, b = noise(3), noise(4)
    left = saved(tmp_path, still(mask=50.0, flow0=3.0, flow1=-2.0), "a.pkl")
    _, [_, middle, _] = run(left, [a, b])
    assert (array(middle)[2:, :-3] == array(a)[:-2, 3:]).all()
    right = saved(tmp_path, still(mask=-50.0, flow2=-4.0, flow3=1.0), "b.pkl")
    _, [_, middle, _] = run(right, [a, b])
    assert (array(middle)[:-1, 4:] == array(b)[1:, :-4]).all()


def test_nothing_dark_moves_in_from_the_rim(tmp_path: Path) -> None:
    white = Image.new("RGB", SIZE, "white")
    path = saved(tmp_path, still(flow0=5.0, flow1=5.0, flow2=-5.0, flow3=-5.0))
    assert all(p.tobytes() == white.tobytes() for p in run(path, [white, white])[1])


def test_each_stage_counts_flow_in_pixels_of_the_whole_picture(tmp_path: Path) -> None:
    a, b = noise(5), noise(6)
    for number, shrink in enumerate((8, 4, 2, 1)):
        state = still(mask=50.0)
        state[f"block{number}.lastconv.0.bias"][0:4] = 4.0 / shrink
        _, [_, middle, _] = run(saved(tmp_path, state), [a, b])
        assert (array(middle)[:, :-4] == array(a)[:, 4:]).all()


class Reference(nn.Module):
    """The network as the paper's figure draws it, of torch's own layers."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for number, width in enumerate(WIDTHS):
            block = Block(12 if number else 7, width, 24)
            prefix = f"block{number}."
            part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            block.load_state_dict(part)
            self.blocks.append(block)

    def forward(self, a: torch.Tensor, b: torch.Tensor, place: float) -> torch.Tensor:
        flow = mask = None
        wa, wb = a, b
        for block, shrink in zip(self.blocks, (8, 4, 2, 1), strict=True):
            parts = [wa, wb, torch.full_like(a[:, :1], place)]
            if mask is not None:
                parts.append(mask)
            x = nn.functional.interpolate(
                torch.cat(parts, 1), scale_factor=1 / shrink, mode="bilinear"
            )
            if flow is not None:
                small = nn.functional.interpolate(flow, scale_factor=1 / shrink, mode="bilinear")
                x = torch.cat([x, small / shrink], 1)
            x = block.conv0(x)
            for residual in block.convblock:
                x = nn.functional.leaky_relu(residual.conv(x) * residual.beta + x, 0.2)
            x = nn.functional.interpolate(block.lastconv(x), scale_factor=shrink, mode="bilinear")
            flow = x[:, :4] * shrink + (0 if flow is None else flow)
            mask = x[:, 4:5] + (0 if mask is None else mask)
            wa, wb = self.warp(a, flow[:, :2]), self.warp(b, flow[:, 2:4])
        share = mask.sigmoid()
        return wa * share + wb * (1 - share)

    @staticmethod
    def warp(picture: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        height, width = picture.shape[-2:]
        theta = torch.eye(2, 3)[None]
        base = nn.functional.affine_grid(theta, list(picture.shape), align_corners=True)
        unit = torch.tensor([2 / (width - 1), 2 / (height - 1)])
        grid = base + flow.permute(0, 2, 3, 1) * unit
        return nn.functional.grid_sample(picture, grid, padding_mode="border", align_corners=True)


def test_random_weights_against_a_network_of_torchs_layers(tmp_path: Path) -> None:
    state = weights()
    for key in state:
        if key.endswith("lastconv.0.bias"):
            state[key] = torch.randn(state[key].shape) * 0.5
        elif key.endswith("beta"):
            state[key] = torch.rand(state[key].shape)
    size = (64, 32)
    a, b = (
        Image.fromarray(numpy.random.default_rng(s).integers(0, 256, (32, 64, 3)).astype("u1"))
        for s in (8, 9)
    )
    ours = Interpolator(saved(tmp_path, state), "cpu").between(a, b, [0.25, 0.75])
    pixels = [torch.from_numpy(array(p)).permute(2, 0, 1)[None] / 255 for p in (a, b)]
    with torch.no_grad():
        wanted = [Reference(state)(*pixels, place)[0] for place in (0.25, 0.75)]
    for found, due in zip(ours, wanted, strict=True):
        assert found.size == size
        assert numpy.abs(array(found) - (due * 255).permute(1, 2, 0).numpy()).max() < 0.51
    assert (wanted[0] - wanted[1]).abs().max() > 2 / 255


@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("closed", [False, True])
def test_counts_rate_and_own_pictures(tmp_path: Path, factor: int, closed: bool) -> None:
    pictures = [noise(i) for i in range(3)]
    planned, after = run(saved(tmp_path, weights()), pictures, factor, closed)
    assert planned == Film(SIZE, 3 * factor if closed else 2 * factor + 1, 12.0 * factor, closed)
    assert len(after) == planned.length
    assert after[::factor] == pictures


def test_a_loop_leads_back_to_its_beginning(tmp_path: Path) -> None:
    a, b = noise(1, step=2), noise(2, step=2)
    _, after = run(saved(tmp_path, still()), [a, b], closed=True)
    assert after[3].tobytes() == after[1].tobytes()


def test_the_same_twice(tmp_path: Path) -> None:
    path = saved(tmp_path, weights())
    first, second = (run(path, [noise(1), noise(2)], 3)[1] for _ in range(2))
    assert [p.tobytes() for p in first] == [p.tobytes() for p in second]


def test_files_as_they_are_published(tmp_path: Path) -> None:
    state = weights()
    parallel = {f"module.{key}": value.half() for key, value in state.items()}
    parallel["module.block_tea.conv0.0.0.weight"] = torch.zeros(2)
    found = check_weights(read_weights(saved(tmp_path, parallel)), tmp_path)
    assert set(found) == set(state)
    assert all(value.dtype == torch.float32 for value in found.values())
    save_file(state, tmp_path / "flownet.safetensors")
    again = check_weights(read_weights(tmp_path / "flownet.safetensors"), tmp_path)
    assert all(torch.equal(again[key], state[key]) for key in state)
    assert check_weights(weights(last=20), tmp_path)


def older(state: dict[str, torch.Tensor]) -> None:
    state["block0.convblock.0.0.weight"] = torch.zeros(2)


def newer(state: dict[str, torch.Tensor]) -> None:
    state["encode.0.weight"] = torch.zeros(2)


def newest(state: dict[str, torch.Tensor]) -> None:
    state["block4.conv0.0.0.weight"] = torch.zeros(2)


def another(state: dict[str, torch.Tensor]) -> None:
    del state["block2.convblock.7.beta"]


def wider(state: dict[str, torch.Tensor]) -> None:
    state["block1.conv0.0.0.weight"] = torch.zeros(6, 28, 3, 3)


def foreign(state: dict[str, torch.Tensor]) -> None:
    state.clear()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (older, "it is of 4.4 or earlier"),
        (newer, "it has parts that came with 4.7 or later"),
        (newest, "it has parts that came with 4.7 or later"),
        (another, r"block2.convblock.7.beta is missing, expected \(1, 8, 1, 1\)"),
        (wider, r"block1.conv0.0.0.weight is \(6, 28, 3, 3\), expected \(6, 12, 3, 3\)"),
        (foreign, "it lacks block0 to block3"),
    ],
)
def test_other_versions_are_told_apart(tmp_path: Path, change: Any, message: str) -> None:
    state = weights()
    change(state)
    with pytest.raises(ModelError, match=f"is not RIFE 4.5 or 4.6: {message}; get flownet.pkl"):
        Interpolator(saved(tmp_path, state), "cpu")


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / "flownet.pkl"
    path.write_bytes(pickle.dumps({"block0": Evil(mark)}, protocol=2))
    with pytest.raises(ModelError, match="would run code; refused"):
        read_weights(path)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film_net.pt"
    torch.jit.script(nn.Conv2d(3, 3, 3)).save(str(path))
    with pytest.raises(ModelError, match="is a TorchScript program, and programs from files are"):
        read_weights(path)


@pytest.mark.parametrize("name", ["flownet.pkl", "flownet.safetensors"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<html>not found</html>")
    with pytest.raises(ModelError, match=rf"interpolate: .*{name} is "):
        read_weights(tmp_path / name)
    whole = saved(tmp_path, weights(), "whole.pkl").read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=rf"interpolate: .*{name} is "):
        read_weights(tmp_path / name)
    torch.save([1, 2], tmp_path / "flownet.pkl")
    with pytest.raises(ModelError, match="is not a table of tensors"):
        read_weights(tmp_path / "flownet.pkl")


def test_what_is_missing_is_said_before_rendering() -> None:
    with pytest.raises(UsageError, match=r"missing key 'weights'.*'inbetween:' of animate"):
        read_processors(["interpolate"])
    steps = read_processors([{"interpolate": {"weights": "nowhere.pkl"}}])
    with pytest.raises(ModelError, match=r"there is no file nowhere\.pkl; get flownet\.pkl"):
        plan_steps(steps, Film(SIZE, 2, 12.0))
    with pytest.raises(UsageError, match="there is nothing between 1 picture"):
        plan_steps(steps, Film(SIZE, 1, 12.0))
