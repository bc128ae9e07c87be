"""Vectors of frog calls for `tonotopy reproduce rbl`, with recordings kept apart.

    python examples/frogs.py frogs.parquet frogs-1 --turn 1
    tonotopy reproduce rbl --data frogs-1 --out runs/frogs-1

The table has a row for each syllable, as the UCI data set "Anuran Calls (MFCCs)" has it: family,
species, record (or RecordID) and the columns mfcc...; upper and lower case make no difference.
Species are the fine classes, families the coarse ones.

Syllables of one record are nearly alike, so a record lies in one split. The records of a species
are dealt into thirds, the largest first, each to the third that has fewest syllables; one third
trains, one validates and one is tested. The three turns test every record once. Species are of very
different size: each gives as many syllables as the others, if it has them, its records in turn, so
that a plain mean over tested syllables is one over species.

Writes embeddings.parquet (name, split, fine, coarse, e000, ...), standardised on the training
syllables, and normalisation.json, the mean and deviation it was done with.
"""

import argparse
import json
from pathlib import Path

import polars as pl

SPLITS = ("train", "test", "val")
STD_FLOOR = 1e-4


def read_syllables(table: Path) -> pl.DataFrame:
    """Give the rows with names in lower case and a column `name`."""
    frame = pl.read_parquet(table).rename(str.lower).rename({"recordid": "record"}, strict=False)
    missing = {"family", "species", "record"} - set(frame.columns)
    if missing:
        raise SystemExit(f"{table} has no column {', '.join(sorted(missing))}")
    number = pl.int_range(pl.len()).cast(str).str.zfill(5)
    return frame.with_columns(name=pl.col("record").cast(str) + "_" + number)


def deal_records(frame: pl.DataFrame, turn: int) -> dict[int, str]:
    """Give the split of every record; every species has one in each."""
    split: dict[int, str] = {}
    sizes = frame.group_by("species", "record").len().sort("len", "record", descending=True)
    for (species,), records in sizes.group_by("species"):
        if len(records) < len(SPLITS):
            raise SystemExit(f"{species} has {len(records)} records; a split takes one at least")
        thirds = [0] * len(SPLITS)
        for _, record, syllables in records.iter_rows():
            third = thirds.index(min(thirds))
            thirds[third] += syllables
            split[record] = SPLITS[(third + turn - 1) % len(SPLITS)]
    return split


def take_equally(frame: pl.DataFrame, most: dict[str, int]) -> pl.DataFrame:
    """Take as many syllables of every species, its records in turn, in the order of the table."""
    turn = pl.int_range(pl.len()).over("record")
    rank = turn.rank("ordinal").over("species", "split")
    return frame.filter(rank <= pl.col("split").replace_strict(most))


def main() -> None:
    """Read, split, standardise and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path, help="Parquet file of syllables.")
    parser.add_argument("out", type=Path, help="Folder to make.")
    parser.add_argument(
        "--turn", type=int, choices=(1, 2, 3), default=1, help="Which third is tested."
    )
    parser.add_argument("--train", type=int, default=40, help="Training syllables of a species.")
    parser.add_argument("--tested", type=int, default=11, help="The same for test and validation.")
    options = parser.parse_args()

    frame = read_syllables(options.table)
    splits = deal_records(frame, options.turn)
    frame = frame.with_columns(split=pl.col("record").replace_strict(splits))
    most = {"train": options.train, "val": options.tested, "test": options.tested}
    frame = take_equally(frame, most)

    columns = [name for name in frame.columns if name.startswith("mfcc")]
    training = frame.filter(pl.col("split") == "train").select(columns).to_numpy().astype(float)
    mean, std = training.mean(axis=0), training.std(axis=0) + STD_FLOOR
    vectors = (frame.select(columns).to_numpy().astype(float) - mean) / std

    options.out.mkdir(parents=True, exist_ok=True)
    about = frame.select("name", "split", fine="species", coarse="family")
    numbered = {f"e{place:03}": column for place, column in enumerate(vectors.T)}
    about.with_columns(**numbered).write_parquet(options.out / "embeddings.parquet")
    applied = {"columns": columns, "mean": mean.tolist(), "std": std.tolist()}
    (options.out / "normalisation.json").write_text(json.dumps(applied, indent=1) + "\n")
    print(about.group_by("coarse", "fine", "split").len().pivot("split", values="len"))


if __name__ == "__main__":
    main()
