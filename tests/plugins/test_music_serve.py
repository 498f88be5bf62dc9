"""`sdcreative serve`: asked by real HTTP clients, answered by a real model of 64 bands."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from sdcreative import DataError, ModelError, RenderError, UsageError
from sdcreative.models.sources import BUILTIN
from sdcreative.spectral.params import MAX_VALUE_TAG, SpectrogramParams
from sdcreative_plugins.music.access import ORIGINS, Access, listen
from sdcreative_plugins.music.answering import LARGEST
from sdcreative_plugins.music.protocol import InferenceInput, Riff, read_request
from sdcreative_plugins.music.riffing import StudioRiffer, _shot, to_mp3
from sdcreative_plugins.music.seed_images import read_seed_images
from sdcreative_plugins.music.server import RiffServer

PARAMS = SpectrogramParams(step_ms=20, bands=64, max_hz=8000)
RIFF = "/run_inference/"


def question(**changes: Any) -> dict[str, Any]:
    """As in riffusion-hobby's README, in fewer steps."""
    asked = {
        "alpha": 0.75,
        "num_inference_steps": 2,
        "seed_image_id": "og_beat",
        "start": {
            "prompt": "church bells on sunday",
            "seed": 42,
            "denoising": 0.75,
            "guidance": 7.0,
        },
        "end": {"prompt": "jazz with piano", "seed": 123, "denoising": 0.75, "guidance": 7.0},
    }
    return {name: value for name, value in (asked | changes).items() if value is not ...}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model of pictures, as one of spectrograms."""
    folder = tmp_path_factory.mktemp("model") / "riff"
    folder.mkdir()
    for part in (BUILTIN / "emoji").iterdir():
        (folder / part.name).symlink_to(part)
    values = {"version": 1, **vars(PARAMS), "max_value": 2e6}
    (folder / "spectrogram.json").write_text(json.dumps(values))
    return folder


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with steps of 10 ms, which is half of the model's; one with its own tags."""
    folder = tmp_path_factory.mktemp("seeds")
    levels = np.random.default_rng(0).integers(0, 255, (64, 300), np.uint8)
    Image.fromarray(levels).save(folder / "long.png")
    Image.fromarray(levels[:, :100]).save(folder / "short.jpg", quality=95)
    exif = Image.Exif()
    exif.update(PARAMS.to_exif())
    Image.fromarray(levels[:, :60]).save(folder / "tagged.png", exif=exif)
    Image.new("L", (8, 64)).save(folder / "narrow.png")
    Image.new("L", (512, 512), "black").save(folder / "mask_nothing.png")
    half = Image.new("L", (128, 64), "black")
    half.paste("white", (64, 0, 128, 64))
    half.save(folder / "mask_half.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "._long.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def riffer(model: Path, seeds: Path) -> StudioRiffer:
    return StudioRiffer.load(str(model), device="cpu", offline=True, folder=seeds)


class Patient:
    """A riffer that does not come back before it is let go, or nobody wants its clip any more."""

    model, seed_images = "patient", ("og_beat",)

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.left = Event()
        self.go = Event()
        self.error: Exception | None = None

    def riff(self, request: InferenceInput, check: Callable[[], None]) -> Riff:
        self.begun.append(request.alpha)
        while not self.go.wait(0.01):
            try:
                check()
            except Exception:
                self.left.set()
                raise
        if self.error is not None:
            raise self.error
        return Riff(Image.new("RGB", (8, 8)), b"sound", request.alpha)


@contextmanager
def serving(riffer: Any, queue: int = 8, **attributes: float) -> Iterator[RiffServer]:
    lines: list[str] = []
    listener = listen("127.0.0.1", 0)
    server = RiffServer(listener, Access.of("127.0.0.1", ORIGINS), riffer, queue, lines.append)
    server.lines = lines  # type: ignore[attr-defined]
    for name, value in attributes.items():
        setattr(server, name, value)
    thread = Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def patient() -> Patient:
    return Patient()


@pytest.fixture
def server(patient: Patient) -> Iterator[RiffServer]:
    with serving(patient) as running:
        yield running


def port(server: RiffServer) -> int:
    return int(server.server_address[1])


class Answer:
    def __init__(self, response: http.client.HTTPResponse, body: bytes) -> None:
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def line(self) -> str:
        assert self.headers["Content-Type"] == "text/plain; charset=utf-8"
        [line] = self.body.decode().splitlines()
        return line


def ask(
    server: RiffServer,
    method: str = "POST",
    path: str = RIFF,
    body: Any = None,
    **headers: str,
) -> Answer:
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    client = http.client.HTTPConnection("127.0.0.1", port(server), timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client.request(method, path, content, named)
    response = client.getresponse()
    answer = Answer(response, response.read())
    client.close()
    return answer


def raw(server: RiffServer, content: bytes, finish: bool = False) -> bytes:
    """All that is answered to some bytes."""
    with socket.create_connection(("127.0.0.1", port(server)), timeout=20) as client:
        client.sendall(content)
        if finish:
            client.shutdown(socket.SHUT_WR)
        return received(client)


def received(client: socket.socket) -> bytes:
    found = b""
    while part := client.recv(1 << 16):
        found += part
    return found


def begin(server: RiffServer, **changes: Any) -> socket.socket:
    """A connection over which a clip was asked for."""
    content = json.dumps(question(**changes)).encode()
    client = socket.create_connection(("127.0.0.1", port(server)), timeout=20)
    head = f"POST {RIFF} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    client.sendall(head.encode() + content)
    return client


def begin_in_order(server: RiffServer, *alphas: float) -> list[socket.socket]:
    """The same for several, each of which waits before the next one comes."""
    clients = []
    for alpha in alphas:
        clients.append(begin(server, alpha=alpha))
        until(lambda: server.queue.counts() == (1, len(clients) - 1))
    return clients


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def content(url: str, kind: str) -> bytes:
    assert url.startswith(f"data:{kind};base64,")
    return base64.b64decode(url.partition(",")[2], validate=True)


def riff(riffer: StudioRiffer, **changes: Any) -> Riff:
    return riffer.riff(read_request(json.dumps(question(**changes)).encode()), lambda: None)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), dtype=int)


def test_a_clip(riffer: StudioRiffer) -> None:
    with serving(riffer) as server:
        answer = ask(server, body=question())
        again = ask(server, path="/run_inference", body=question())
        other = ask(server, body=question(alpha=0.5))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert again.body == answer.body != other.body
    found = json.loads(answer.body)
    assert sorted(found) == ["audio", "duration_s", "image"]
    assert found["duration_s"] == 63 * 882 / 44_100
    with Image.open(io.BytesIO(content(found["image"], "image/jpeg"))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 64))
        exif = picture.getexif()
        assert SpectrogramParams.from_exif(exif) == PARAMS
        assert exif[MAX_VALUE_TAG] == 2e6
    sound = io.BytesIO(content(found["audio"], "audio/mpeg"))
    assert soundfile.info(sound).format == "MP3"
    samples, rate = soundfile.read(io.BytesIO(sound.getvalue()))
    assert rate == 44_100
    assert len(samples) / rate == pytest.approx(found["duration_s"], abs=0.06)
    assert 20 * np.log10(abs(samples).max()) == pytest.approx(-1, abs=1)
    assert server.lines[0].startswith(f"POST {RIFF}: 200 in ")  # type: ignore[attr-defined]


def test_a_clip_is_the_picture_that_the_studio_makes(riffer: StudioRiffer) -> None:
    made = riff(riffer, alpha=0.0, end={"prompt": "no part in it", "seed": 9, "denoising": 0.1})
    plain = riffer.studio.picture(
        "church bells on sunday",
        seed=42,
        guidance_scale=7.0,
        steps=2,
        image=riffer.pictures["og_beat"],
        strength=0.75,
    )
    assert np.abs(pixels(made.image) - pixels(plain)).max() <= 1


def test_between_two_ends() -> None:
    seed = Image.new("RGB", (8, 8))
    asked = question(
        alpha=0.25,
        start={"prompt": "a", "seed": 1, "denoising": 0.4, "guidance": 4, "negative_prompt": "n"},
        end={"prompt": "b", "seed": 2, "denoising": 0.8, "guidance": 8.0},
    )
    shot = _shot(read_request(json.dumps(asked).encode()), seed, None)
    prompt, noise, negative = shot.prompt, shot.noise, shot.negative
    assert (prompt.start, prompt.end, prompt.t, prompt.method) == ("a", "b", 0.25, "lerp")
    assert (negative.start, negative.end, negative.t, negative.method) == ("n", "", 0.25, "lerp")
    assert (noise.start, noise.end, noise.t) == (1, 2, 0.25)
    assert (shot.guidance_scale, shot.strength) == pytest.approx((5.0, 0.5))


def test_what_is_left_out_is_riffusions_default() -> None:
    asked = {"alpha": 1, "start": {"prompt": "a", "seed": 1}, "end": {"prompt": "b", "seed": 2}}
    found = read_request(json.dumps(asked).encode())
    assert (found.start.denoising, found.end.guidance) == (0.75, 7.0)
    assert (found.start.negative_prompt, found.mask_image_id) == (None, None)
    assert (found.num_inference_steps, found.seed_image_id) == (50, "og_beat")


def test_seed_images_keep_their_time(riffer: StudioRiffer, seeds: Path) -> None:
    sizes = {name: riffer.pictures[name].width for name in ("long", "short", "tagged", "narrow")}
    assert sizes == {"long": 64, "short": 50, "tagged": 60, "narrow": 4}
    assert {"og_beat", "mask_half", "four_on_the_floor"} <= set(riffer.seed_images)
    assert not {"notes", "._long"} & set(riffer.seed_images)
    still = {"prompt": "a", "seed": 1, "denoising": 0.0}
    short = riff(riffer, seed_image_id="short", start=still, end=still)
    assert short.image.size == (48, 64)
    assert short.seconds == pytest.approx(47 * 0.02)
    assert (pixels(short.image) == pixels(riffer.pictures["short"])[:, :48]).all()
    with pytest.raises(UsageError, match="Invalid seed image: narrow: is 4 columns wide"):
        riff(riffer, seed_image_id="narrow")


def test_what_a_mask_keeps_is_kept(riffer: StudioRiffer) -> None:
    seed = pixels(riffer.pictures["og_beat"])
    assert (pixels(riff(riffer, mask_image_id="mask_nothing").image) == seed).all()
    half = pixels(riff(riffer, mask_image_id="mask_half").image)
    # The mask was scaled: a few columns around its edge are grey.
    assert (half[:, :28] == seed[:, :28]).all()
    assert np.abs(half[:, 36:] - seed[:, 36:]).max() > 30
    assert (pixels(riff(riffer, mask_image_id="").image) != seed).any()


def test_built_in_seed_images_are_heard_at_their_tempo(riffer: StudioRiffer) -> None:
    """1.28 s hold two beats: the metronome's clicks are 32 columns apart."""
    loud = 255 - pixels(riffer.pictures["metronome"])[..., 0].mean(0)
    assert set(np.flatnonzero(loud > 0.8 * loud.max())) <= {0, 1, 31, 32, 33}
    assert loud[0] > 100 and loud[32] > 100
    assert {"og_beat", "agile", "marim", "motorway", "vibes"} <= set(riffer.seed_images)


def test_a_clip_that_nobody_wants_is_given_up(riffer: StudioRiffer) -> None:
    class EnoughError(Exception):
        pass

    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise EnoughError

    with pytest.raises(EnoughError):
        riffer.riff(read_request(json.dumps(question(num_inference_steps=50)).encode()), check)
    assert len(calls) == 3


def test_sounds_at_any_rate_become_mp3() -> None:
    tone = 0.01 * np.sin(np.arange(96_000) * 2 * np.pi * 440 / 96_000, dtype=np.float32)
    samples, rate = soundfile.read(io.BytesIO(to_mp3(tone[None], 96_000)))
    assert rate == 44_100 and len(samples) / rate == pytest.approx(1, abs=0.06)
    silence, _ = soundfile.read(io.BytesIO(to_mp3(np.zeros((2, 44_100), np.float32), 44_100)))
    assert not silence.any() and silence.shape[1] == 2


def test_models_and_folders_that_do_not_fit(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"64 pixels high, .* 512 bands"):
        StudioRiffer.load("emoji", device="cpu")
    with pytest.raises(UsageError, match=r"no \.png, \.jpg, \.jpeg in this folder"):
        read_seed_images(tmp_path, PARAMS, 64)
    (tmp_path / "a.png").write_text("<html>")
    with pytest.raises(DataError, match=r"a\.png: is no picture"):
        read_seed_images(tmp_path, PARAMS, 64)
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (64, 64)).save(tmp_path / name)
    with pytest.raises(UsageError, match="two pictures are named 'a'"):
        read_seed_images(tmp_path, PARAMS, 64)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (question(alpha=...), "missing field alpha"),
        (question(start={"seed": 1}), "missing field start.prompt"),
        (question(start={"prompt": "a"}), "missing field start.seed"),
        (question(alpha=1.5), "field alpha is 1.5: it should be less than or equal to 1"),
        (question(alpha="0"), 'field alpha is "0": it should be a valid number'),
        (question(alpha=True), "field alpha is true: it should be a valid number"),
        (question(num_inference_steps=0), "field num_inference_steps is 0: it should be greater"),
        (question(num_inference_steps=2.5), "field num_inference_steps is 2.5: it should be"),
        (question(start=[1]), "field start is a list: it should be an object"),
        (question(seed_image_id=None), "field seed_image_id is null: it should be a valid string"),
        (question(seed_image=1), "unknown field seed_image; did you mean seed_image_id?"),
        (
            question(start={"prompt": "a", "seed": 1, "x": 2}),
            "unknown field start.x; there are: prompt, seed, negative_prompt, denoising, guidance",
        ),
        (question(start={"prompt": "a", "seed": -1}), "field start.seed is -1: it should be"),
        (question(start={"prompt": "a", "seed": 2**32}), "field start.seed is 4294967296: it"),
        (question(start={"prompt": "a", "seed": 10**99}), "field start.seed is a very large num"),
        (question(start={"prompt": "a" * 4001, "seed": 1}), 'field start.prompt is "aaaaa'),
        (b'{"alpha": NaN}', "the body is no JSON: NaN is no number there"),
        (b'{"alpha": 1e999, "start": 1, "end": 1}', "field start is 1: it should be an object"),
        (b'{"alpha": 1, "alpha": 1}', 'field "alpha" is there twice'),
        (b"[]", "the body is no JSON object"),
        (b"", "the body is no JSON: "),
        (b'{"alpha": ', "the body is no JSON: "),
        (b"\xff", "the body is no UTF-8: byte 0"),
        (b"1" * 10_000, "the body is no JSON: "),
        (b"[" * 100_000, "the body is nested too deep"),
        (b'{"alpha":' * 100_000, "the body is nested too deep"),
    ],
)
def test_bodies_that_are_refused(server: RiffServer, body: Any, line: str) -> None:
    answer = ask(server, body=body)
    assert answer.status == 400
    assert answer.line.startswith(line)


def test_half_of_a_letter_is_no_text(server: RiffServer) -> None:
    body = json.dumps(question()).replace("church", "\\ud800").encode()
    answer = ask(server, body=body)
    assert answer.status == 400 and answer.line.startswith("field start.prompt is ")


@pytest.mark.parametrize(
    "name", ["../model", "/etc/passwd", "og_beat.png", "OG_BEAT", "", "a\n\x1b["]
)
def test_only_known_pictures_are_read(riffer: StudioRiffer, name: str) -> None:
    with serving(riffer) as server:
        seed = ask(server, body=question(seed_image_id=name))
        mask = ask(server, body=question(mask_image_id=name or "no"))
    assert (seed.status, mask.status) == (400, 400)
    assert seed.line.startswith("Invalid seed image: ")
    assert mask.line.startswith("Invalid mask image: ")
    assert all(line.isprintable() for line in server.lines)  # type: ignore[attr-defined]


def test_the_state(server: RiffServer, patient: Patient) -> None:
    answer = ask(server, "GET", "/")
    state = {"model": "patient", "making": 0, "waiting": 0, "queue": 8, "seed_images": ["og_beat"]}
    assert (answer.status, json.loads(answer.body)) == (200, state)
    clients = [begin(server) for _ in range(3)]
    until(lambda: json.loads(ask(server, "GET", "/?x").body)["waiting"] == 2)
    assert json.loads(ask(server, "GET", "/").body)["making"] == 1
    patient.go.set()
    for client in clients:
        client.close()
    head = ask(server, "HEAD", "/")
    assert (head.status, head.body, int(head.headers["Content-Length"]) > 10) == (200, b"", True)


def test_paths_and_methods(server: RiffServer) -> None:
    assert ask(server, "GET", "/seed_images/og_beat.png").status == 404
    assert ask(server, "POST", "/run_inference/../", b"{}").status == 404
    for method, path, allowed in [
        ("GET", RIFF, "POST, OPTIONS"),
        ("PUT", RIFF, "POST, OPTIONS"),
        ("DELETE", "/", "GET, HEAD, OPTIONS"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
    ]:
        answer = ask(server, method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)
    assert ask(server, "BREW", "/").status == 501


def test_bodies_without_a_length(server: RiffServer) -> None:
    head = f"POST {RIFF} HTTP/1.1\r\nHost: localhost\r\n".encode()
    assert raw(server, head + b"\r\n").startswith(b"HTTP/1.1 411 ")
    chunked = b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert raw(server, head + chunked).startswith(b"HTTP/1.1 411 ")
    for length in (b"-1", b"1_0", b"x", b"2\r\nContent-Length: 3"):
        answered = raw(server, head + b"Content-Length: " + length + b"\r\n\r\n{}")
        assert answered.startswith(b"HTTP/1.1 400 "), length
    answered = raw(server, head + b"Content-Length: 9\r\n\r\n{}", finish=True)
    assert answered.endswith(b"the body ends after 2 of 9 bytes\n")
    assert raw(server, b"nonsense\r\n\r\n").endswith(b"Bad request syntax ('nonsense')\n")


def test_large_bodies_are_refused_before_they_are_read(server: RiffServer) -> None:
    assert ask(server, body=b" " * (10 * LARGEST)).status == 413
    answer = ask(server, body=b" " * (LARGEST + 1))
    assert answer.status == 413
    assert answer.line == f"the body has {LARGEST + 1} bytes; up to {LARGEST} are read"
    assert ask(server, body=b" " * LARGEST).status == 400
    head = (
        f"POST {RIFF} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        "Content-Length: {}\r\n\r\n"
    )
    began = time.monotonic()
    assert raw(server, head.format(10**12).encode()).startswith(b"HTTP/1.1 413 ")
    asked = raw(server, head.format(2).encode() + b"{}")
    assert asked.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 ")
    assert time.monotonic() - began < 1.5


def test_slow_clients_are_not_waited_for(patient: Patient) -> None:
    head = f"POST {RIFF} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n".encode()
    with serving(patient, request_seconds=0.5) as server:
        began = time.monotonic()
        assert raw(server, head + b"{").startswith(b"HTTP/1.1 408 ")
        assert raw(server, b"POST / HT") == b""
        with socket.create_connection(("127.0.0.1", port(server)), timeout=20) as client:
            for _ in range(30):  # a byte at a time is no way to stay
                try:
                    client.sendall(b"X")
                except ConnectionError:
                    break
                time.sleep(0.1)
            else:
                pytest.fail("still there after 3 s")
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("LOCALHOST:3013", 200),
        ("[::1]:3013", 200),
        ("evil.example", 403),
        ("evil.example:3013", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.168.1.5", 403),
        ("127.0.0.1@evil.example", 403),
        ("", 403),
    ],
)
def test_only_its_own_names_are_answered(server: RiffServer, host: str, status: int) -> None:
    answered = raw(server, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answered.startswith(f"HTTP/1.1 {status} ".encode())


def test_one_host_is_named(server: RiffServer) -> None:
    assert raw(server, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403 ")
    both = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert raw(server, both).startswith(b"HTTP/1.1 403 ")


def test_a_server_for_other_machines_is_known_by_any_address() -> None:
    everywhere = Access.of("0.0.0.0", ORIGINS)
    assert everywhere.knows_host(["192.168.1.5:3013"])
    assert not everywhere.knows_host(["evil.example"])
    named = Access.of("Studio.local", ORIGINS)
    assert named.knows_host(["studio.local:3013"]) and not named.knows_host(["192.168.1.5"])
    assert [Access.of(h, ()).is_local for h in ("127.0.0.2", "[::1]", "0.0.0.0", "studio")] == [
        True,
        True,
        False,
        False,
    ]


def test_pages_of_known_origins_may_ask(server: RiffServer, patient: Patient) -> None:
    patient.go.set()
    page = ORIGINS[0]
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "x"}
    before = ask(server, "OPTIONS", Origin=page, **asked)
    assert (before.status, before.body) == (204, b"")
    assert before.headers["Access-Control-Allow-Origin"] == page
    assert "POST" in before.headers["Access-Control-Allow-Methods"]
    assert before.headers["Access-Control-Allow-Headers"] == "*"
    answer = ask(server, body=question(), Origin=page)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, page)
    assert answer.headers["Vary"] == "Origin"
    wrong = ask(server, body=b"{}", Origin=page)
    assert (wrong.status, wrong.headers["Access-Control-Allow-Origin"]) == (400, page)
    for other in ("http://evil.example", "null", "http://localhost:3000.evil.example"):
        for method in ("OPTIONS", "POST"):
            refused = ask(server, method, body=question(), Origin=other)
            assert refused.status == 403
            assert refused.headers["Access-Control-Allow-Origin"] is None
    assert patient.begun == [0.75]


@pytest.mark.parametrize("origin", ["*", "localhost:3000", "http://", "http://a/b", "ftp://a"])
def test_origins_that_are_none(origin: str) -> None:
    with pytest.raises(UsageError, match="is no origin"):
        Access.of("localhost", (origin,))


def test_a_full_queue_says_when_to_come_again(patient: Patient) -> None:
    with serving(patient, queue=1) as server:
        first, second = begin_in_order(server, 0.1, 0.2)
        full = ask(server, body=question())
        assert full.status == 503 and int(full.headers["Retry-After"]) >= 1
        assert "1 requests wait" in full.line
        patient.go.set()
        for client in (first, second):
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
            client.close()
        assert ask(server, body=question(alpha=0.3)).status == 200
    assert patient.begun == [0.1, 0.2, 0.3]


def test_without_a_queue_there_is_one_at_a_time(patient: Patient) -> None:
    with serving(patient, queue=0) as server:
        with begin(server):
            until(lambda: server.queue.counts() == (1, 0))
            assert ask(server, body=question()).status == 503
            patient.go.set()
            until(lambda: server.queue.counts() == (0, 0))
        assert ask(server, body=question()).status == 200


def test_clients_that_go_away_are_forgotten(server: RiffServer, patient: Patient) -> None:
    first, second, third = begin_in_order(server, 0.1, 0.2, 0.3)
    second.close()
    until(lambda: server.queue.counts() == (1, 1))
    assert not patient.left.is_set()
    first.close()
    assert patient.left.wait(10)
    patient.go.set()
    assert third.recv(100).startswith(b"HTTP/1.1 200 OK")
    third.close()
    assert sorted(patient.begun) == [0.1, 0.3]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("such a size"), 400, "such a size"),
        (RenderError("not a number"), 500, "not a number"),
        (ZeroDivisionError("by zero\nmore"), 500, "unexpected ZeroDivisionError: by zero"),
    ],
)
def test_what_fails_is_told_and_the_server_goes_on(
    server: RiffServer, patient: Patient, error: Exception, status: int, line: str
) -> None:
    patient.go.set()
    patient.error = error
    answer = ask(server, body=question())
    assert (answer.status, answer.line) == (status, line)
    patient.error = None
    assert ask(server, body=question()).status == 200


def test_who_waits_at_the_end_is_told(patient: Patient) -> None:
    with serving(patient) as server:
        clients = [begin(server) for _ in range(2)]
        until(lambda: server.queue.counts() == (1, 1))
    for client in clients:
        answered = received(client)
        assert answered.startswith(b"HTTP/1.1 503 ")
        assert answered.endswith(b"the server is being stopped\n")
        client.close()
    assert patient.left.is_set() and len(patient.begun) == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port(server)))


def test_places_that_cannot_be_listened_on() -> None:
    taken = listen("127.0.0.1", 0)
    taken.listen()
    with pytest.raises(UsageError, match=r"--port \d+: cannot be listened on .*another --port"):
        listen("127.0.0.1", taken.getsockname()[1])
    taken.close()
    with pytest.raises(UsageError, match=r"--host no\.such\.host\.invalid: is no address"):
        listen("no.such.host.invalid", 0)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_the_command_until_ctrl_c(model: Path, seeds: Path) -> None:
    words = ["serve", "--model", str(model), "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sdcreative", *words, "--seed-images", str(seeds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said.startswith(f"{model} answers on http://127.0.0.1:"), process.communicate()
        at = int(said.partition("127.0.0.1:")[2].partition("/")[0])
        client = http.client.HTTPConnection("127.0.0.1", at, timeout=60)
        client.request("POST", RIFF, json.dumps(question(num_inference_steps=1000)))

        def is_making() -> bool:
            asking = http.client.HTTPConnection("127.0.0.1", at, timeout=60)
            asking.request("GET", "/")
            return bool(json.load(asking.getresponse())["making"])

        until(is_making, 60)
        process.send_signal(signal.SIGINT)
        assert client.getresponse().status == 503
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, errors.strip()) == (130, "error: stopped by Ctrl-C")
