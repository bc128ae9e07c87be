"""List a Hugging Face data set that was saved on disk; its audio becomes files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from tonotopy._errors import DataError, MissingExtraError, UsageError
from tonotopy._files import atomic_path
from tonotopy._progress import track
from tonotopy.audio import default_cache
from tonotopy.clips._columns import ColumnOptions, Columns, choose_columns, further_columns
from tonotopy.clips._listing import Entry, Listing, Rejected, label_path

if TYPE_CHECKING:
    from datasets import Dataset


def is_hugging_face_folder(folder: Path) -> bool:
    """Tell whether `save_to_disk` of the `datasets` library wrote this folder."""
    single = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return single or (folder / "dataset_dict.json").is_file()


def list_hugging_face(data: Path, options: ColumnOptions, extract_to: Path | None) -> Listing:
    """List the rows of a saved data set, and write audio that lies inside it to files.

    Args:
        data: What `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote. The names of the
            splits of the latter become folds, unless there is a fold column.
        options: Columns as told by the user.
        extract_to: Where audio files go that the data set holds as bytes. Files that are there
            already are not written again. Default: a folder for this data set in `$TONOTOPY_CACHE`
            or `~/.cache/tonotopy`.

    Raises:
        MissingExtraError: The library `datasets` is not installed.
        UsageError: There is no audio column, or a column cannot be guessed.
        DataError: The data set is damaged, or the disk refuses.
    """
    splits = _load(data)
    listing = Listing((extract_to or _default_folder(data)).absolute())
    for split, dataset in splits.items():
        columns = _choose(dataset, options, data)
        facts = _facts(dataset, columns)
        audio = _audio(dataset, columns.path)
        rows = track(zip(audio, facts, strict=True), label="Extracting", total=len(dataset))
        for number, (sound, (label, fold, group, further)) in enumerate(rows):
            missing = _why_missing(sound)
            if sound is None or missing:
                name = f"{data.name}, {split + ' ' if split else ''}row {number}"
                listing.rejected.append(Rejected(name, "unreadable", missing))
            else:
                prefix = f"{split}/{number:06d}" if split else f"{number:06d}"
                place = _place(sound, prefix, listing.root)
                listing.entries.append(Entry(place, label, fold or split or None, group, further))
    return listing


def _load(data: Path) -> Mapping[str, Dataset]:
    """Load the splits by name; a data set without splits has the name ""."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("reading a Hugging Face data set", "hf") from error
    try:
        loaded = datasets.load_from_disk(str(data))
    except Exception as error:  # the library raises whatever its JSON and Arrow readers do
        raise DataError(f"{data} cannot be read as a Hugging Face data set: {error}") from error
    return loaded if isinstance(loaded, datasets.DatasetDict) else {"": loaded}


def _choose(dataset: Dataset, options: ColumnOptions, data: Path) -> Columns:
    from datasets import Audio, ClassLabel

    names = dataset.column_names
    sounds = [name for name in names if isinstance(dataset.features[name], Audio)]
    if not sounds or (options.path and options.path not in sounds):
        raise UsageError(
            f"{data} has no audio column{f' {options.path!r}' if options.path else ''}: expected "
            f"one of type Audio; its columns are: {', '.join(names)}"
        )
    classes = [name for name in names if isinstance(dataset.features[name], ClassLabel)]
    labels = options.labels
    if labels is None and len(classes) == 1:
        labels = classes
    told = ColumnOptions(options.path or sounds[0], labels, options.fold, options.group)
    return choose_columns(names, told, str(data))


def _facts(
    dataset: Dataset, columns: Columns
) -> Iterator[tuple[tuple[str, ...], str | None, str | None, dict[str, str | None]]]:
    """Give label, fold, group and further columns of every row, without touching the audio."""
    names = [*columns.labels, columns.fold, columns.group]
    further = _further(dataset, columns)
    wanted = dataset.select_columns(sorted({name for name in (*names, *further) if name}))
    for row in wanted if wanted.column_names else ({} for _ in range(len(dataset))):
        texts = [_text(dataset, name, row.get(name)) for name in names]
        others = {kept: _text(dataset, name, row[name]) for name, kept in further.items()}
        yield label_path(texts[:-2]), texts[-2], texts[-1], others


def _further(dataset: Dataset, columns: Columns) -> dict[str, str]:
    """Give the names of the other columns that hold a text, a number or a class in every row."""
    from datasets import ClassLabel, Value

    def has_text(name: str) -> bool:
        feature = dataset.features[name]
        is_value = isinstance(feature, Value) and feature.dtype not in ("binary", "large_binary")
        return is_value or isinstance(feature, ClassLabel)

    kept = further_columns(dataset.column_names, columns)
    return {name: kept_as for name, kept_as in kept.items() if has_text(name)}


def _text(dataset: Dataset, column: str | None, value: Any) -> str | None:
    if column is None or value is None:
        return None
    names = getattr(dataset.features[column], "names", None)
    if names is None:
        return str(value).strip() or None
    # A test split without labels holds -1 in a ClassLabel column.
    return str(names[value]) if value >= 0 else None


def _audio(dataset: Dataset, column: str) -> Iterator[dict[str, Any] | None]:
    from datasets import Audio

    undecoded = dataset.select_columns([column]).cast_column(column, Audio(decode=False))
    return (row[column] for row in undecoded)


def _why_missing(sound: dict[str, Any] | None) -> str:
    if sound is None or (sound["bytes"] is None and not sound["path"]):
        return "the row has no audio"
    if sound["bytes"] is None and "://" in sound["path"]:
        return f"its audio is not in the data set but at {sound['path']}"
    return ""


def _place(sound: dict[str, Any], prefix: str, root: Path) -> str:
    """Give the path of a row's audio, which is written to a file if the row holds its bytes."""
    if sound["bytes"] is None:
        return Path(sound["path"]).absolute().as_posix()
    # The hash in the name keeps a file of an earlier state of the data set from being taken.
    digest = hashlib.blake2b(sound["bytes"], digest_size=6).hexdigest()
    name = f"{prefix}-{digest}{PurePath(sound['path'] or '').suffix.lower()}"
    if not (root / name).is_file():
        with atomic_path(root / name) as temporary:
            temporary.write_bytes(sound["bytes"])
    return name


def _default_folder(data: Path) -> Path:
    key = hashlib.blake2b(str(data.resolve()).encode(), digest_size=4).hexdigest()
    return default_cache() / "extracted" / f"{data.resolve().name}-{key}"
