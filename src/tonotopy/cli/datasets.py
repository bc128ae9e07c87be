"""`tonotopy datasets`: public data sets, listed, described, fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy.cli._output import Output
from tonotopy.cli._parse import call

if TYPE_CHECKING:
    from rich.console import Console

    from tonotopy.datasets import PublicDataset


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    return call("datasets", datasets, arguments)


def datasets(
    name: str | None = None,
    *,
    get: Path | None = None,
    load: Path | None = None,
    subsets: list[str] | None = None,
    out: Path | None = None,
) -> Output:
    """List public data sets; describe one; fetch it; turn it into a table of clips.

    Args:
        name: Name of one data set. Default: list all.
        get: Fetch it into this folder; an interrupted download goes on.
        load: Read it from this folder, in its official layout, and write its table of clips.
        subsets: With --load, take only the clips of these official subsets, as in
            `[noisy, test]`. Default: all clips.
        out: The table to write with --load. Default: NAME.parquet in the current folder.
    """
    from tonotopy.datasets import DATASETS, find_dataset

    if name is None:
        listed = [_describe(dataset) for dataset in DATASETS]
        return Output({"datasets": listed}, f"{len(DATASETS)} data sets", _show)
    dataset = find_dataset(name)
    if get is not None:
        folder = dataset.get(get)
        summary = f"{dataset.name} lies in {folder}; next: tonotopy datasets {name} --load {folder}"
        return Output({"name": dataset.name, "folder": str(folder)}, summary)
    if load is not None:
        clips = dataset.load(load, subsets or ())
        table = out or Path(f"{dataset.name}.parquet")
        clips.write(table)
        aside = f", {len(clips.quarantine)} files set aside" if len(clips.quarantine) else ""
        summary = f"{len(clips)} clips in {table}{aside}; next: tonotopy fit {table}"
        data = {"name": dataset.name, "clips": len(clips), "table": str(table)}
        return Output({**data, "quarantined": clips.quarantine.to_dicts()}, summary)
    lines = "\n".join(f"{key}: {value}" for key, value in _describe(dataset).items())
    return Output(_describe(dataset), lines)


def _describe(dataset: PublicDataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "title": dataset.title,
        "description": dataset.description,
        "size": dataset.size,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "homepage": dataset.homepage,
        "layout": ", ".join(dataset.layout),
        "subsets": ", ".join(dataset.subsets) or "none",
        "get": dataset.request or ", ".join(archive.url for archive in dataset.archives),
        "checksum": _checksum(dataset),
    }


def _checksum(dataset: PublicDataset) -> str:
    sums = [f"md5 {a.md5}" if a.md5 else f"sha256 {a.sha256}" for a in dataset.archives]
    published = [text for text in sums if text.split()[1:]]
    return ", ".join(published) or "none published"


def _show(console: Console) -> None:
    from rich.table import Table

    from tonotopy.datasets import DATASETS

    table = Table("name", "what", "licence")
    for dataset in DATASETS:
        table.add_row(dataset.name, dataset.description, dataset.licence)
    console.print(table)
