"""Feature caching where both ways of a U-Net are compiled whole, on a GPU."""

from __future__ import annotations

import pytest
import torch

from sdcreative import Studio
from sdcreative.models.shallow import full_and_shallow

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@torch.inference_mode()
def test_both_compiled_whole_give_what_they_give_as_they_are() -> None:
    parts = Studio.load("emoji", device="cuda", dtype="float32").parts
    latents, words = torch.randn(4, 4, 16, 16).cuda(), torch.randn(4, 77, 192).cuda()
    time = torch.tensor([500.0]).cuda()
    full, shallow = full_and_shallow(parts.unet, 2)
    expected, features = full(latents, time, words, None)
    compiled = [torch.compile(one, fullgraph=True, dynamic=False) for one in (full, shallow)]
    output, found = compiled[0](latents, time, words, None)
    torch.testing.assert_close(output, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found, features, rtol=1e-3, atol=1e-3)
    again = compiled[1](latents, time, words, None, features)
    torch.testing.assert_close(again, expected, rtol=1e-3, atol=1e-3)
