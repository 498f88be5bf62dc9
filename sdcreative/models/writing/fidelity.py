"""What a single file cannot say: it holds no configuration, its readers have their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ..families import tokenizer_of
from ..fitting import prediction_of
from ..opening import Source
from ..single_files.families import clip_vocabulary
from .whole import Whole, empty_modules

# Of a text encoder, what its output depends on; the rest is about training and reading.
_TEXT = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "max_position_embeddings", "hidden_act", "layer_norm_eps", "d_model", "d_kv", "d_ff",
    "num_layers", "num_heads", "feed_forward_proj", "relative_attention_num_buckets",
    "relative_attention_max_distance", "layer_norm_epsilon",
)  # fmt: skip
# Of the others, what it does not depend on, or what a reader chooses.
_SILENT = ("sample_size", "upcast_attention", "force_upcast")
_PER_LEVEL = (
    "attention_head_dim", "num_attention_heads", "transformer_layers_per_block",
    "layers_per_block", "cross_attention_dim", "only_cross_attention",
)  # fmt: skip
_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "rescale_betas_zero_snr": False,
}
"""key of a scheduler's configuration -> what schedulers of diffusers take without it"""
_FLOW = {"num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": False}
_MOST = 3


def check_words(model: Source) -> None:
    """Refuse tokenizers other than CLIP's, of which single files hold none.

    Raises:
        ModelError: another vocabulary.
    """
    vocabulary, _ = clip_vocabulary()
    for encoder in model.family.text_encoders[:2]:
        tokenizer, where = model.tokenizer(tokenizer_of(encoder))
        words = tokenizer.get_vocab()
        if words != vocabulary:
            raise ModelError(
                f"{where} is not CLIP's tokenizer ({len(words)} tokens, CLIP has "
                f"{len(vocabulary)}); a single file holds no tokenizer, so this model has to stay "
                "a folder"
            )


def check_fidelity(whole: Whole, theirs: Source, path: Path) -> None:
    """Refuse a single file that would be read as another model than the one it is made from.

    Args:
        whole: the model.
        theirs: the file, as this project reads it.
        path: of the model, for the message.

    Raises:
        ModelError: with the first few differences.
    """
    found = [*_of_parts(whole, theirs), *_of_schedules(whole.model.scheduler, theirs.scheduler)]
    if found:
        more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
        raise ModelError(
            f"{path} cannot be a single file, which holds no configuration: "
            f"{'; '.join(found[:_MOST])}{more}; keep it as a folder"
        )


def _of_parts(whole: Whole, theirs: Source) -> Iterator[str]:
    if whole.model.family.name != theirs.family.name:
        yield f"it would be read as {theirs.family.title}"
        return
    read = empty_modules(theirs)
    for part, module in whole.modules.items():
        if part not in read:
            yield f"its {part} would not be found"
            continue
        own, other = _settings(module.config), _settings(read[part].config)
        for key in own:
            if own[key] != other.get(key):
                yield f"{key} of its {part} is {own[key]}, read as {other.get(key)}"


def _settings(config: Any) -> dict[str, Any]:
    """What a part's output depends on, in one spelling."""
    if not isinstance(config, Mapping):
        named = config.to_dict()
        return {key: named[key] for key in _TEXT if key in named}
    levels = len(config.get("block_out_channels") or ())
    return {
        key: _spelt(key, value, levels)
        for key, value in config.items()
        if not key.startswith("_") and key not in _SILENT
    }


def _spelt(key: str, value: Any, levels: int) -> Any:
    if key in _PER_LEVEL and levels and isinstance(value, int):
        return [value] * levels
    return list(value) if isinstance(value, list | tuple) else value


def _of_schedules(own: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    said, read = prediction_of(own), prediction_of(other)
    if said != read:
        yield f"prediction_type of its scheduler is {said}, read as {read}"
        return
    for key, usual in (_FLOW if said == "flow" else _SCHEDULE).items():
        first, second = own.get(key, usual), other.get(key, usual)
        if first != second:
            yield f"{key} of its scheduler is {_short(first)}, read as {_short(second)}"


def _short(value: Any) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else str(value)
