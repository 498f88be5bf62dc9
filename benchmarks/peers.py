"""What the peers have, by feature, and the tests that show what sdcreative has.

Read in the peers' own sources and documentation; "partly" is less than the feature's name says, and
"?" was not found out. sdcreative's column holds nothing but names of tests: what no test shows is
"no".
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
PEERS = (
    "stable-diffusion-videos",
    "cog-stable-diffusion, animate",
    "Deforum",
    "dgenerate",
    "AUTOMATIC1111 travel extensions",
    "latentblending",
    "diffusers alone",
)
WORDS = {"y": "yes", "p": "partly", "n": "no", "?": "?"}


@dataclass(frozen=True)
class Feature:
    """One row.

    Attributes:
        peers: a word for each of ``PEERS``: y, p, n, ?, or what it is.
        test: "file::name", below the folder of tests; empty where there is none.
        extent: where sdcreative has less or other than the name says: what.
    """

    name: str
    peers: str
    test: str = ""
    extent: str = ""


ANIMATE = "plugins/test_animate"
FEATURES = (
    Feature("more than 2 keyframes", "y y y n y p y",
        f"{ANIMATE}_render.py::test_each_keyframe_is_the_plain_picture_of_its_own_settings"),
    Feature("length per segment", "y n y n y p p",
        f"{ANIMATE}_settings.py::test_forms_of_timing"),
    Feature("easing", "n n p n y n p",
        "core/test_easing.py::test_close_to_the_curves_of_css"),
    Feature("embedding interpolation", "lerp slerp both n choice lerp choice",
        f"{ANIMATE}_timeline.py::test_centre_and_interpolation_are_those_of_every_path", "choice"),
    Feature("noise interpolation", "slerp n subseed n subseed_slerp slerp slerp",
        "core/test_noise.py::test_variance_stays_where_a_straight_line_loses_it", "slerp"),
    Feature("seed sequence", "y n y p y y y",
        "plugins/test_seed_walk.py::test_a_list_walk_shows_every_seed_at_its_frame"),
    Feature("loop without a duplicate frame", "p p p n y n n",
        "core/test_timing.py::test_a_loop_is_half_open"),
    Feature("circular noise", "n n n n n n n",
        f"{ANIMATE}_render.py::test_one_prompt_in_a_circle_of_noise_closes"),
    Feature("timing by a sound", "y n p n p n n",
        f"{ANIMATE}_sound.py::test_pictures_change_when_something_is_heard"),
    Feature("start pictures, inpainting", "n n y y p p y",
        f"{ANIMATE}_pictures.py::test_inverted_pictures_are_met_and_left_again"),
    Feature("camera in 2D or 3D", "n n y n n n p",
        "plugins/test_feedback.py::test_a_frame_is_image_to_image_of_the_one_before", "2D"),
    Feature("negative prompt per keyframe", "n n y n y y y",
        f"{ANIMATE}_timeline.py::test_two_keyframes_have_no_curve_and_negatives_have_their_own"),
    Feature("guidance schedule", "n n y n p p p",
        f"{ANIMATE}_timeline.py::test_a_keyframes_own_guidance_comes_before_the_schedule"),
    Feature("choice of samplers", "y n y y y p y",
        "test_against_diffusers.py::test_picture_is_that_of_the_pipeline"),
    Feature("LoRA, textual inversion", "p n y y y p y"),
    Feature("prompt weighting", "n n y y y n p"),
    Feature("frame interpolation by a network", "n FILM both n RIFE n n",
        "processors/test_interpolate.py::test_files_as_they_are_published", "RIFE"),
    Feature("upscaling", "p n y y y n p",
        "processors/test_upscale.py::test_realesrgan_gives_the_same_picture_in_more_detail"),
    Feature("resume", "flawed n flawed p n n n",
        "test_survival.py::test_killed_twenty_times_is_as_good_as_never", "bit for bit"),
    Feature("batches over frames", "y n ? n n ? y",
        f"{ANIMATE}_render.py::test_both_ends_are_the_plain_pictures_of_their_prompts"),
    Feature("several GPUs on one animation", "p n ? ? n n p"),
    Feature("formats", "mp4 gif,mp4 mp4,gif,png mp4,gif,webp,apng,png mp4,gif mp4 gif,mp4",
        f"{ANIMATE}_render.py::test_every_format_holds_every_frame",
        "mp4, mov, mkv, gif, webp, apng, png"),
    Feature("settings inside the output", "sidecar n subtitles PNG_only PNG n n",
        "provenance/test_provenance.py::test_a_film_gives_its_settings_back", "every format"),
    Feature("equal visual steps", "n n n n p p n",
        "test_retime.py::test_the_built_in_models_film_becomes_more_even"),
    Feature("deflicker", "n n p n n n n",
        "processors/test_deflicker.py::test_flicker_falls_by_four_fifths"),
    Feature("plugins", "n n n y host n p",
        "test_third_party.py::test_its_preset_runs_with_its_sampler_beside_the_crasher"),
)  # fmt: skip


@cache
def known_tests() -> frozenset[str]:
    """All tests in the folder of tests, as "file::name"."""
    return frozenset(
        f"{path.relative_to(TESTS).as_posix()}::{node.name}"
        for path in TESTS.rglob("test_*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def table() -> list[str]:
    """Lines of Markdown: features as rows; of tests that are not there, "no"."""
    known = known_tests()
    lines = [f"| | {' | '.join(PEERS)} | sdcreative |", "|---" * (len(PEERS) + 2) + "|"]
    for feature in FEATURES:
        cells = [WORDS.get(word, _spaced(word)) for word in feature.peers.split()]
        ours = "no"
        if feature.test in known:
            ours = f"{feature.extent or 'yes'}: `{feature.test.rpartition('::')[2]}`"
        lines.append(f"| {feature.name} | {' | '.join(cells)} | {ours} |")
    return lines


def _spaced(word: str) -> str:
    return word.replace(",", ", ").replace("_", " ")
