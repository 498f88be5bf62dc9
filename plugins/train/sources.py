"""Where drawings come from: the source that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sdcreative import DataError
from sdcreative.spectral.params import SpectrogramParams

from .clips import ClipPictures
from .emoji import read_emoji
from .music.encode import check_same_spectrogram, write_spectrogram
from .music.render import find_sound_font
from .music_folder import list_music, read_music_folder
from .pictures import Drawing, list_pictures, read_folder
from .riff import read_riff
from .settings import EmojiData, FolderData, MusicFolderData, RiffData, TrainSettings


def read_data(settings: TrainSettings, report: Callable[[str], None]) -> Sequence[Drawing]:
    """Drawings with captions.

    Raises:
        DataError: what is needed to make them is missing, or one of them is broken.
        UsageError: a spectrogram that cannot be.
    """
    data = settings.data
    if isinstance(data, FolderData):
        return read_folder(
            Path(data.folder).expanduser(),
            settings.shape,
            data.captions,
            captioned=settings.needs_captions,
            grouped=grouped(settings),
        )
    cache = _cache(data.cache)
    if isinstance(data, EmojiData):
        return read_emoji(cache, settings.shape[0], data.groups, data.hold_out_pairs)
    params, columns = spectrogram_params(settings), settings.shape[0]
    if isinstance(data, RiffData):
        return read_riff(data, params, columns, cache, report)
    return read_music_folder(data, params, columns, cache, report)


def grouped(settings: TrainSettings) -> bool:
    """Whether pictures are told apart by the folders that they are in."""
    return settings.unet is not None and settings.unet.condition == "class"


def describe_data(settings: TrainSettings, report: Callable[[str], None]) -> None:
    """Say what there is to train on, without making any of it.

    Raises:
        DataError: a folder or the sound font is missing.
        UsageError: a spectrogram that cannot be.
    """
    data = settings.data
    if isinstance(data, FolderData):
        folder = Path(data.folder).expanduser()
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give a folder of pictures with captions")
        report(f"{len(list_pictures(folder, deep=grouped(settings)))} pictures in {folder}")
    elif isinstance(data, RiffData):
        seconds = spectrogram_params(settings).seconds(settings.shape[0])
        font = find_sound_font(data.soundfont)
        report(f"{data.clips} composed clips of {seconds:.2f} s, played by {font}")
    elif isinstance(data, MusicFolderData):
        seconds = spectrogram_params(settings).seconds(settings.shape[0])
        folder = Path(data.folder).expanduser()
        report(f"{len(list_music(folder))} files in {folder}, cut into clips of {seconds:.2f} s")


def check_base(settings: TrainSettings, base: Path | None) -> None:
    """Whether the model to go on from makes pictures of the same form as the data.

    Raises:
        UsageError: it makes spectrograms of another form.
    """
    if base is not None and isinstance(settings.data, RiffData | MusicFolderData):
        check_same_spectrogram(base, spectrogram_params(settings))


def describe_model(output: Path, drawings: Sequence[Drawing]) -> None:
    """Write into the model's folder how its pictures become sound, if they do."""
    if isinstance(drawings, ClipPictures):
        write_spectrogram(output, drawings.params, drawings.loudest)


def spectrogram_params(settings: TrainSettings) -> SpectrogramParams:
    """How sound becomes the pictures of a source of music.

    Raises:
        UsageError: a form that cannot be.
    """
    data = settings.data
    if not isinstance(data, RiffData | MusicFolderData):
        raise DataError(f"{data.source} is no music")
    return SpectrogramParams(bands=settings.shape[1], **data.spectrogram.model_dump())


def _cache(given: str | None) -> Path:
    from platformdirs import user_cache_path

    return (Path(given) if given else user_cache_path("sdcreative")).expanduser()
