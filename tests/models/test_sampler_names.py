from __future__ import annotations

import subprocess
import sys

import pytest

from sdcreative.errors import UsageError
from sdcreative.models.sampler_names import (
    NAMES,
    PLUGIN_SAMPLERS,
    SAMPLERS,
    canonical,
    check_steps,
    describe,
)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_its_own_canonical_form_in_any_spelling(name: str) -> None:
    assert canonical(name) == name
    assert canonical(name.lower().replace(" ", "_")) == name
    assert canonical(name.upper().replace(" ", "-").replace("+", "p")) == name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("dpmpp_2m_karras", "DPM++ 2M Karras"),
        ("sample_dpmpp_sde", "DPM++ SDE"),
        ("euler_a", "Euler a"),
        ("k_euler", "Euler"),
        ("k_euler_ancestral", "Euler a"),
        ("Euler ancestral", "Euler a"),
        ("uni_pc", "UniPC"),
    ],
)
def test_names_of_other_programs(spelling: str, name: str) -> None:
    assert canonical(spelling) == name


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("Eulr", "did you mean 'Euler'"),
        ("DPM++ 2N Karras", "did you mean 'DPM++ 2M Karras'"),
        ("Euler a Karras", "did you mean"),
        ("xyzzy", "choose from Euler, "),
        ("", "choose from"),
    ],
)
def test_unknown_names_come_with_a_suggestion(wrong: str, hint: str) -> None:
    with pytest.raises(UsageError, match="no sampler is named") as caught:
        canonical(wrong)
    assert hint in str(caught.value)


def test_noise_levels_of_karras_are_only_offered_where_the_solver_has_them() -> None:
    assert {name for name in SAMPLERS if not name.endswith(" Karras")} - {
        name.removesuffix(" Karras") for name in SAMPLERS if name.endswith(" Karras")
    } == {"Euler a", "DDIM", "LCM", "TCD"}


def test_properties() -> None:
    assert describe("heun").unet_calls(20) == 39
    assert describe("Euler").unet_calls(20) == 20
    assert {name for name, one in SAMPLERS.items() if one.stochastic} == {
        "Euler a",
        "DPM++ 2M SDE",
        "DPM++ 2M SDE Karras",
        "DPM++ SDE",
        "DPM++ SDE Karras",
        "LCM",
        "TCD",
    }


def test_steps_out_of_range() -> None:
    check_steps("LCM", 50)
    with pytest.raises(UsageError, match="LCM takes 1 to 50 steps, not 51"):
        check_steps("lcm", 51)
    with pytest.raises(UsageError, match="not 0"):
        check_steps("Euler", 0)


def test_samplers_of_plugins_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLUGIN_SAMPLERS, "Zig Zag", lambda config: config)
    assert canonical("zig_zag") == "Zig Zag"
    assert describe("zigzag").stochastic


@pytest.mark.parametrize("module", ["sampler_names", "sources", "checks", "flow"])
def test_no_torch_is_imported(module: str) -> None:
    code = (
        f"import sys, sdcreative.models.{module}; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
