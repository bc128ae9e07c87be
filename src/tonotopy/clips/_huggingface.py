"""List a Hugging Face data set that was saved on disk; its audio becomes files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tonotopy._errors import DataError, MissingExtraError, UsageError
from tonotopy._files import atomic_path
from tonotopy.clips._listing import Entry, Listing, Rejected, label_path

SPLIT_COLUMN = "fold"


def is_huggingface_folder(folder: Path) -> bool:
    """Tell whether `Dataset.save_to_disk` or `DatasetDict.save_to_disk` made a folder."""
    return (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file()


def list_huggingface(
    folder: Path,
    *,
    path_column: str | None,
    label_columns: Sequence[str] | None,
    fold_column: str | None,
    group_column: str | None,
) -> Listing:
    """List the rows of all splits; the name of a split is the fold unless a column is named.

    Audio that lies inside the data set is written once to `<folder>.audio/` beside it, since clips
    are files; audio that it points to stays where it is.

    Raises:
        MissingExtraError: The library `datasets` is not installed.
        UsageError: A column that was named does not exist, or none can be guessed.
        DataError: The data set cannot be read.
    """
    listing = Listing(folder.with_name(f"{folder.name}.audio"))
    for split, rows in _splits(folder).items():
        audio = _audio_column(rows, path_column)
        labels = _label_columns(rows, label_columns)
        for name in (fold_column, group_column):
            if name is not None and name not in rows.features:
                raise UsageError(
                    f"{folder} has no column {name!r}; it has {', '.join(rows.features)}"
                )
        group = group_column or ("group" if "group" in rows.features else None)
        fold = fold_column or (SPLIT_COLUMN if SPLIT_COLUMN in rows.features else None)
        for number, row in enumerate(rows):
            path = _as_file(listing, row[audio], f"{split}/{number:07d}")
            if path is not None:
                names = [_name(rows.features[column], row[column]) for column in labels]
                listing.entries.append(
                    Entry(
                        path,
                        label_path(names),
                        str(row[fold]) if fold else split,
                        str(row[group]) if group else None,
                    )
                )
    return listing


def _splits(folder: Path) -> dict[str, Any]:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(f"reading the Hugging Face data set {folder}", "hf") from error
    try:
        loaded = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the data set {folder}: {error}") from error
    splits = dict(loaded) if isinstance(loaded, Mapping) else {"data": loaded}
    for name, rows in splits.items():
        for column, feature in rows.features.items():
            if isinstance(feature, datasets.Audio):
                # Bytes or a path, not samples: decoding is done once, and by one library.
                splits[name] = splits[name].cast_column(column, datasets.Audio(decode=False))
    return splits


def _audio_column(rows: Any, named: str | None) -> str:
    found = [c for c, feature in rows.features.items() if type(feature).__name__ == "Audio"]
    if named is not None:
        if named not in rows.features:
            raise UsageError(f"no column {named!r}; there are: {', '.join(rows.features)}")
        return named
    if not found:
        raise UsageError(
            "the data set has no column of audio; name the column of paths with --path_column: "
            f"{', '.join(rows.features)}"
        )
    return str(found[0])


def _label_columns(rows: Any, named: Sequence[str] | None) -> list[str]:
    if named:
        for name in named:
            if name not in rows.features:
                raise UsageError(f"no column {name!r}; there are: {', '.join(rows.features)}")
        return list(named)
    classes = [c for c, feature in rows.features.items() if hasattr(feature, "int2str")]
    if "label" in rows.features:
        return ["label"]
    if len(classes) == 1:
        return [str(classes[0])]
    raise UsageError(
        f"name the label columns with --label_columns, coarse to fine: {', '.join(rows.features)}"
    )


def _name(feature: Any, value: Any) -> str | None:
    if value is None:
        return None
    if hasattr(feature, "int2str"):
        return str(feature.int2str(value)) if value >= 0 else None
    return str(value)


def _as_file(listing: Listing, audio: Any, name: str) -> str | None:
    """Give the path of a row's audio, writing its bytes to a file if they lie in the data set."""
    if isinstance(audio, str):
        return audio
    data, path = audio.get("bytes"), audio.get("path")
    if data is None:
        if path is None:
            listing.rejected.append(Rejected(name, "empty", "the row holds no audio"))
        return None if path is None else str(path)
    suffix = Path(path).suffix if path else ".wav"
    target = listing.root / f"{name}-{hashlib.blake2b(data, digest_size=4).hexdigest()}{suffix}"
    if not target.is_file():
        with atomic_path(target) as temporary:
            temporary.write_bytes(data)
    return target.relative_to(listing.root).as_posix()
