"""What several test folders share."""

from __future__ import annotations

import pytest

from sdcreative import Studio


@pytest.fixture(scope="session")
def studio() -> Studio:
    """The built-in model on the CPU, in float32."""
    return Studio.load("emoji", device="cpu")
