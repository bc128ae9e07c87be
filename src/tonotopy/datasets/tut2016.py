"""TUT Acoustic Scenes 2016: places by their sound."""

from __future__ import annotations

from pathlib import Path

from tonotopy._errors import DataError
from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset

META = "meta.txt"
FOLDS = ("1", "2", "3", "4")

PLACES = {
    "indoor": ("cafe/restaurant", "grocery_store", "home", "library", "metro_station", "office"),
    "outdoor": ("beach", "city_center", "forest_path", "park", "residential_area"),
    "vehicle": ("bus", "car", "train", "tram"),
}
"""The scenes by the kind of place that the challenge's description gives each."""

_PLACE_OF = {scene: place for place, scenes in PLACES.items() for scene in scenes}

NAME = "TUT-acoustic-scenes-2016-development"


def load_tut2016(folder: Path) -> ClipTable:
    """Read `meta.txt`, `evaluation_setup/foldN_evaluate.txt` and `audio/` of the development set.

    Labels are (indoor, outdoor or vehicle; scene); the fold is the official one of four that tests
    the segment; the group is the place of recording (`b020` of `b020_90_120.wav`), whose segments
    of 30 s are cut from one recording.
    """
    folds = _folds(folder)
    rows = []
    for path, scene in _read_list(folder / META):
        if scene not in _PLACE_OF:
            raise DataError(
                f"{folder / META} is not the official table: {scene!r} is none of the 15 scenes "
                f"({', '.join(_PLACE_OF)})"
            )
        place = path.rsplit("/", 1)[-1].split("_", 1)[0]
        rows.append((path, (_PLACE_OF[scene], scene), folds.pop(path, None), place))
    if folds:
        raise DataError(f"{folder / META} is damaged: it lacks {min(folds)}, which a fold tests")
    return scan_files(folder, rows)


def _folds(folder: Path) -> dict[str, str]:
    """Path to the fold that tests it."""
    folds: dict[str, str] = {}
    for fold in FOLDS:
        file = folder / _fold_list(fold)
        for path, _ in _read_list(file):
            if folds.setdefault(path, fold) != fold:
                raise DataError(f"{file} is damaged: fold {folds[path]} tests {path} too")
    return folds


def _fold_list(fold: str) -> str:
    return f"evaluation_setup/fold{fold}_evaluate.txt"


def _read_list(file: Path) -> list[tuple[str, str]]:
    """Read an official list: a path and a scene in a line, with a tab between them."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is damaged: it is not UTF-8 ({error})") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path, tab, scene = line.partition("\t")
        if not tab:
            raise DataError(f"{file} is damaged: line {number} has no tab between path and scene")
        pairs.append((path.strip(), scene.strip()))
    return pairs


def _archive(part: str, md5: str) -> Archive:
    return Archive(f"https://zenodo.org/records/45739/files/{NAME}.{part}.zip", NAME, md5=md5)


TUT2016 = PublicDataset(
    name="tut-acoustic-scenes-2016",
    title="TUT Acoustic Scenes 2016, development dataset",
    description=(
        "1,170 segments of 30 s, 15 scenes in 3 kinds of place, 78 segments of each scene, in 4 "
        "folds. Use the folds as they are: segments of one place lie in one fold."
    ),
    licence="Free for non-commercial use (EULA in the archive)",
    citation=(
        "A. Mesaros, T. Heittola, T. Virtanen, TUT Database for Acoustic Scene Classification and "
        "Sound Event Detection, EUSIPCO 2016"
    ),
    homepage="https://zenodo.org/records/45739",
    size="8.0 GB",
    layout=(META, "audio/", *(_fold_list(fold) for fold in FOLDS)),
    loader=load_tut2016,
    archives=(
        # MD5 as dcase_util, of the same owners, states them for Zenodo's record 45739.
        _archive("meta", "779b33da2ebbf8bde494b3c981827251"),
        _archive("doc", "f94ad46eb36325d9fbce5d60f7fc9926"),
        _archive("error", "a0d3e0d81b0a36ece87d0f3a9124a386"),
        _archive("audio.1", "e39546e65f2e72517b6335aaf0c8323d"),
        _archive("audio.2", "d36cf3253e2c041f68e937a3fe804807"),
        _archive("audio.3", "0393a9620ab882b1c26d884eccdcffdd"),
        _archive("audio.4", "fb3e4e0cd7ea82120ec07031dee558ce"),
        _archive("audio.5", "a19cf600b33c8f88f6ad607bafd74057"),
        _archive("audio.6", "591aad3219d1155342572cc1f6af5680"),
        _archive("audio.7", "9e6c1897789e6bce13ac69c6caedb7ab"),
        _archive("audio.8", "c4718354f48fcc9dfc7305f6cd8325c8"),
    ),
)
