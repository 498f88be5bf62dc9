"""One's own music as a training set: cut into clips, encoded once, and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np

from sdcreative import DataError
from sdcreative.spectral.params import SpectrogramParams

from .clips import ClipFacts, ClipPictures, has_shard, write_shard
from .music.encode import encode, samples_of
from .pictures import Captions
from .settings import MusicFolderData

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")
SILENCE = 1e-3
"""clips whose largest sample is below this are left out"""
TOGETHER = 16
"""clips encoded at once"""


def list_music(folder: Path) -> list[Path]:
    """Files in a folder whose ending is that of sound.

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of music with captions")
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)


def read_music_folder(
    data: MusicFolderData,
    params: SpectrogramParams,
    columns: int,
    cache: Path,
    report: Callable[[str], None],
) -> ClipPictures:
    """The clips of a folder of music; files that were not encoded yet are.

    Args:
        data: folder, captions, and how far clips are apart.
        params: how sound becomes pictures.
        columns: width of the pictures.
        cache: folder of all clips.
        report: prints one line.

    Raises:
        DataError: no music, only silence, a file that cannot be read, or one without a caption.
    """
    folder = Path(data.folder).expanduser()
    files = list_music(folder)
    captions = Captions(folder, data.captions)
    files = sorted({*files, *captions.files})
    if not files:
        raise DataError(f"{folder}: no music ({', '.join(SUFFIXES)}) in this folder")
    said = [captions.of(path) for path in files]
    length = samples_of(params, columns)
    apart = length if data.every is None else max(1, round(data.every * params.sample_rate))
    stems = []
    for path, phrasings in zip(files, said, strict=True):
        known = (path.read_bytes(), repr((astuple(params), columns, apart, phrasings)).encode())
        digest = hashlib.sha256(b"\0".join(known)).hexdigest()[:16]
        stem = cache / "music" / digest
        if not has_shard(stem):
            clips = cut(read_sound(path, params.sample_rate), length, apart)
            _encode(stem, clips, phrasings, params)
            report(f"music: {len(clips)} clips of {path.name}")
        stems.append(stem)
    pictures = ClipPictures(stems, params)
    if not len(pictures):
        raise DataError(f"{folder}: there is only silence in this music")
    return pictures


def cut(line: np.ndarray, length: int, apart: int) -> np.ndarray:
    """Clips (N, length) of samples (M,), beginning so many samples apart, without silent ones.

    What is shorter than a clip becomes one, with silence after it; so does what is left at the
    end of a longer one if it is at least half of a clip.
    """
    starts = [s for s in range(0, len(line), apart) if s == 0 or len(line) - s >= length / 2]
    clips = np.zeros((len(starts), length), np.float32)
    for clip, start in zip(clips, starts, strict=True):
        piece = line[start : start + length]
        clip[: len(piece)] = piece
    return clips[np.abs(clips).max(axis=1) >= SILENCE]


def read_sound(path: Path, sample_rate: int) -> np.ndarray:
    """All channels as one, float32 (samples,), no louder than full scale."""
    import librosa
    import soundfile

    try:
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise DataError(f"{path}: not readable as sound ({error})") from error
    line = channels.mean(axis=1)
    if not len(line) or not np.isfinite(line).all():
        raise DataError(f"{path}: holds no sound, or samples that are no numbers")
    if rate != sample_rate:
        line = librosa.resample(line, orig_sr=rate, target_sr=sample_rate)
    return line / max(1.0, float(np.abs(line).max()))


def _encode(
    stem: Path, clips: np.ndarray, captions: tuple[str, ...], params: SpectrogramParams
) -> None:
    columns = params.columns(clips.shape[1])
    pictures = [np.zeros((0, params.bands, columns), np.uint8)]
    facts = []
    for start in range(0, len(clips), TOGETHER):
        part, loudest = encode(clips[start : start + TOGETHER], params)
        pictures.append(part)
        facts += [ClipFacts(captions, loud) for loud in loudest]
    write_shard(stem, np.concatenate(pictures), facts)
