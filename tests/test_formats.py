"""What is proven of every format: a test for each cell of the table in ``docs/formats.md``.

    python tests/test_formats.py > docs/formats.md

writes the table again.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "formats.md"
OPERATIONS = ("loads", "equals the reference", "says what is broken", "is written")

HEAD = """# Formats

Which test proves what of each format. Models are small ones of the real build, with the real
names of tensors, written by the tests. The reference is diffusers, or the program named in the
test; "is written" is `sdcreative models convert`, or what `finetune` and `train` save.

"""

LOADING = "models/test_loading.py"
FAMILIES = "models/test_families.py"
SD3 = "models/test_sd3.py"
FILES = "models/single_files/test_single_files.py"
BROKEN_FILES = "models/single_files/test_bad_checkpoints.py"
TWINS = "models/single_files/families/test_twins.py"
BROKEN_TWINS = "models/single_files/families/test_broken_files.py"
LONE = "models/single_files/families/test_lone_parts.py"
WRITING = "models/writing/test_conversion.py"
NAMES = "models/writing/test_names.py"
ADDONS = "models/addons"
FAULTS = f"{ADDONS}/test_addon_faults.py"
SETTINGS = "models/test_model_settings.py"

ROUND_TRIP = f"{WRITING}::test_there_and_back_bit_for_bit"
BOTH_READ = f"{NAMES}::test_diffusers_reads_what_is_written"

TABLE: dict[str, tuple[str, str, str, str]] = {
    "SD 1 folder": (
        f"{LOADING}::test_a_good_checkpoint",
        "test_against_diffusers.py::test_picture_is_that_of_the_pipeline",
        f"{LOADING}::test_every_fault_has_its_own_line",
        ROUND_TRIP,
    ),
    "SD 1 and 2 file, safetensors": (
        f"{FILES}::test_a_file_is_the_folder_bit_for_bit",
        f"{FILES}::test_weights_are_those_of_diffusers_own_loader",
        f"{BROKEN_FILES}::test_every_fault_has_its_own_line",
        BOTH_READ,
    ),
    "SD 1 and 2 file, pickle": (
        f"{FILES}::test_pickles_and_wrong_endings",
        f"{FILES}::test_what_training_scripts_leave_in_a_pickle_is_left_out",
        f"{BROKEN_FILES}::test_nothing_in_a_pickle_is_run",
        f"{WRITING}::test_pickles_become_safetensors",
    ),
    "SD 1 inpainting folder": (
        f"{FAMILIES}::test_an_inpainting_checkpoint_also_makes_whole_pictures",
        f"{FAMILIES}::test_an_inpainted_picture_is_that_of_the_pipeline",
        f"{LOADING}::test_every_fault_has_its_own_line",
        ROUND_TRIP,
    ),
    "SD 1 and 2 inpainting file": (
        f"{FILES}::test_inpainting_checkpoints_convert",
        f"{FAMILIES}::test_an_inpainted_picture_is_that_of_the_pipeline",
        f"{BROKEN_FILES}::test_every_fault_has_its_own_line",
        ROUND_TRIP,
    ),
    "SDXL folder": (
        f"{FAMILIES}::test_batches_of_sdxl_give_the_same_pictures",
        f"{FAMILIES}::test_a_picture_of_sdxl_is_that_of_the_pipeline",
        f"{FAMILIES}::test_what_is_wrong_with_sdxl_is_said",
        ROUND_TRIP,
    ),
    "SDXL file, inpainting too": (
        f"{TWINS}::test_a_file_gives_what_it_was_made_of",
        f"{TWINS}::test_denoisers_are_those_of_diffusers_own_loader",
        f"{BROKEN_TWINS}::test_every_fault_of_an_sdxl_file_has_its_line",
        BOTH_READ,
    ),
    "SD 3 and 3.5 folder": (
        f"{SETTINGS}::test_what_a_transformer_cannot_do_is_said_first",
        f"{SD3}::test_pictures_are_those_of_the_pipeline",
        f"{SD3}::test_sizes_that_the_transformer_takes",
        f"{WRITING}::test_stable_diffusion_35_with_t5",
    ),
    "SD 3 and 3.5 file": (
        f"{TWINS}::test_a_file_gives_the_pictures_of_the_folder",
        f"{TWINS}::test_denoisers_are_those_of_diffusers_own_loader",
        f"{BROKEN_TWINS}::test_every_fault_of_an_sd3_file_has_its_line",
        BOTH_READ,
    ),
    "split and half-precision weights": (
        f"{LOADING}::test_weights_in_several_files",
        f"{LOADING}::test_the_half_precision_variant_is_taken_where_there_is_no_other",
        f"{LOADING}::test_every_fault_has_its_own_line",
        f"{WRITING}::test_weights_in_another_type",
    ),
    "hub id, revision, folder or file": (
        "models/test_hub.py::test_revisions_folders_and_files",
        "models/test_hub.py::test_only_what_is_loaded_is_downloaded",
        "models/test_hub.py::test_what_the_hub_refuses_is_said_in_a_line",
        "cli/test_models_command.py::test_fetch_says_where",
    ),
    "autoencoder alone": (
        f"{SETTINGS}::test_another_autoencoder",
        f"{LONE}::test_an_autoencoder_in_any_names",
        f"{LONE}::test_what_is_not_there_is_said",
        f"{WRITING}::test_another_autoencoder",
    ),
    "text encoder alone": (
        f"{LONE}::test_the_first_text_encoder_in_any_names",
        f"{LONE}::test_t5_in_any_names",
        f"{LONE}::test_what_is_not_there_is_said",
        f"{WRITING}::test_stable_diffusion_35_with_t5",
    ),
    "LoRA: kohya, peft": (
        f"{ADDONS}/test_in_use.py::test_a_lora_of_the_settings_changes_pictures_and_the_digest",
        f"{ADDONS}/test_lora_reference.py::test_weights_equal_those_that_diffusers_merges",
        f"{FAULTS}::test_faults_inside_a_lora",
        "plugins/finetune/test_finetune_lora.py::test_diffusers_reads_the_same_out_of_either_file",
    ),
    "LyCORIS, DoRA": (
        f"{ADDONS}/test_lora_forms.py::test_lokr",
        f"{ADDONS}/test_lora_reference.py::test_dora_equals_that_of_peft",
        f"{ADDONS}/test_lora_forms.py::test_forms_that_cannot_be_merged_are_named",
        "plugins/finetune/test_finetune_lora.py::test_the_runtime_reads_a_file_back",
    ),
    "embedding of textual inversion": (
        f"{ADDONS}/test_in_use.py::test_an_embedding_of_the_settings_is_a_word",
        f"{ADDONS}/test_embedding_files.py::test_automatic1111",
        f"{FAULTS}::test_mutations_of_an_embedding_and_of_a_picture",
        "",
    ),
    "safety checker": (
        "models/test_safety.py::test_many_pictures_go_through_a_few_at_a_time",
        "models/test_safety.py::test_pictures_are_flagged_as_diffusers_flags_them",
        "models/test_safety.py::test_broken_checkers_are_named",
        "",
    ),
    "x4 upscaler folder": (
        "processors/test_diffusion_upscale.py::test_large_pictures_go_through_in_windows",
        "processors/test_diffusion_upscale.py::test_the_picture_is_that_of_diffusers",
        "processors/test_diffusion_upscale.py::test_broken_upscalers_are_named",
        "",
    ),
}


def named(test: str) -> bool:
    """Whether there is such a test: file::function, the file in this folder."""
    file, _, function = test.partition("::")
    path = TESTS / file
    if not path.is_file():
        return False
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(one, ast.FunctionDef) and one.name == function for one in tree.body)


def page() -> str:
    """The whole of ``docs/formats.md``."""
    lines = ["| format | " + " | ".join(OPERATIONS) + " |", "|---" * (1 + len(OPERATIONS)) + "|"]
    for form, tests in TABLE.items():
        cells = [_cell(test) for test in tests]
        lines.append(f"| {form} | " + " | ".join(cells) + " |")
    return HEAD + "\n".join(lines) + "\n"


def _cell(test: str) -> str:
    file, _, function = test.partition("::")
    words = function.removeprefix("test_").replace("_", " ")
    return f"[{words}](../tests/{file})" if test else "no"


@pytest.mark.parametrize("form", TABLE)
def test_every_cell_is_a_test(form: str) -> None:
    assert [test for test in TABLE[form] if test and not named(test)] == []


def test_the_page_is_that_of_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "python tests/test_formats.py > docs/formats.md"
    )


if __name__ == "__main__":
    print(page(), end="")
