"""A model with another autoencoder: of a file of its own, of a whole checkpoint, or of a folder."""

from __future__ import annotations

from ...errors import ModelError
from ..folders import Folder
from ..opening import Source
from ..places import ModelPlace
from ..single_files.checkpoint import SingleFile
from ..swapping import Swapped

_SCALING = {"scaling_factor": 0.18215, "shift_factor": None}
"""what latents are multiplied by and moved by -> diffusers' own, for configurations without"""


def open_source(place: ModelPlace) -> Source:
    """A model, perhaps with another autoencoder, whose latents have to be of the same kind.

    Args:
        place: of the model. Of its swaps, ``vae`` is a folder of an autoencoder or of a model that
            has one, or a file with one; ``tokenizer_3`` T5's, for a single file with T5.

    Raises:
        ModelError: the model is missing or broken; there is no autoencoder, or its configuration
            says that its latents are of another scale.
    """
    own: Source = SingleFile(place) if place.path.is_file() else Folder(place)
    swaps = dict(place.swaps)
    if "tokenizer_3" in swaps and (place.path.is_dir() or own.family.name != "sd3"):
        raise ModelError(
            f"{place.path} needs no tokenizer of T5: only single files of Stable Diffusion 3 do; "
            "leave it out"
        )
    vae = swaps.get("vae")
    if vae is None:
        return own
    if not vae.exists():
        raise ModelError(f"vae: there is no file or folder {vae}")
    other = Swapped(own, {"vae": vae})
    for key, usual in _SCALING.items():
        before, after = (one.configs["vae"].get(key, usual) for one in (own, other))
        if before != after:
            raise ModelError(
                f"vae: {key} of {vae} is {after}, of {place.path} {before}; it is for models of "
                "another family"
            )
    return other
