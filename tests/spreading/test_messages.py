from __future__ import annotations

from io import BytesIO

import pytest

from sdcreative.spreading.messages import Done, Event, Made, Order, Task, receive, send

ORDER = Order(
    "animate", {"frames": 3}, ".", False, "abc", "def", "cpu", "float32", composed=[[0, 2]]
)


@pytest.mark.parametrize(
    "message",
    [
        ORDER,
        Task(3, [[0, 4], [6, 6]], 0, 2, [(5, b"\x00\xff"), (7, b"")]),
        Made(4, bytes(range(256)), 7),
        Done(3, 2),
    ],
)
def test_a_message_comes_out_as_it_went_in(message: Order | Task | Event) -> None:
    pipe = BytesIO()
    send(pipe, message)
    send(pipe, Done(9, 1))
    pipe.seek(0)
    found = receive(pipe)
    if isinstance(found, Task):
        assert [tuple(pair) for pair in found.pictures] == [(5, b"\x00\xff"), (7, b"")]
        assert found.wanted == [[0, 4], [6, 6]]
    else:
        assert found == message
    assert receive(pipe) == Done(9, 1)
    assert receive(pipe) is None


def test_a_message_that_breaks_off_is_none() -> None:
    pipe = BytesIO()
    send(pipe, Made(4, b"picture", 1))
    for length in range(len(pipe.getvalue())):
        assert receive(BytesIO(pipe.getvalue()[:length])) is None
