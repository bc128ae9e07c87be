"""DCASE Challenge Task 2 of 2020 to 2024: machines by their normal sound, to find anomalies."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import polars as pl

from tonotopy._errors import UsageError
from tonotopy.clips import ClipTable, add_machines, scan_files
from tonotopy.clips.machines import MACHINE_COLUMNS
from tonotopy.datasets._dcase_archives import archives_of
from tonotopy.datasets._dcase_layout import list_clips
from tonotopy.datasets.download import Archive
from tonotopy.datasets.public import PublicDataset

YEARS = (2020, 2021, 2022, 2023, 2024)


def load_dcase_task2(folder: Path, year: int) -> ClipTable:
    """Read `dev_data/TYPE/{train,test}` and, where it is, `eval_data/TYPE/{train,test}`.

    Names, folders and tables are those of the year: machine IDs in 2020, sections from 2021 on,
    `source_test` and `target_test` in 2021, `attributes_NN.csv` from 2022 on. `eval_data` holds the
    additional training clips and the evaluation clips; the latter have a condition only where the
    organisers' evaluator lies in the folder: `eval_data_list.csv` of 2020, or its folders
    `ground_truth_data` and `ground_truth_domain`, also within the evaluator's own folder.

    Args:
        folder: What holds `dev_data`.
        year: 2020 to 2024.

    Returns:
        The clips with the columns of `add_machines`, and `split` ("train" or "test") and `part`
        ("dev" or "eval"). The label is (machine type, section). Where the evaluator is not there,
        `condition` of the evaluation clips is null, as is their `domain` but in 2021.

    Raises:
        UsageError: Another year.
        DataError: A file is not named by the year's scheme, a table is missing or damaged, a name
            contradicts its folder, or the evaluator's files lack a clip; the message names it.
    """
    if year not in YEARS:
        raise UsageError(f"year must be {YEARS[0]} to {YEARS[-1]}, got {year}")
    listed = {clip.path: clip for clip in list_clips(folder, year)}
    table = scan_files(
        folder,
        (
            (path, (str(clip.facts.machine_type), str(clip.facts.section)), None, None)
            for path, clip in listed.items()
        ),
    )
    clips = [listed[path] for path in table.frame["path"]]
    columns = {
        name: [getattr(clip.facts, name) for clip in clips] for name in (*MACHINE_COLUMNS, "split")
    }
    columns["part"] = [clip.part for clip in clips]
    return add_machines(
        table.with_columns(
            *(pl.Series(name, values, dtype=pl.String) for name, values in columns.items())
        )
    )


def _edition(
    year: int,
    subtitle: str,
    description: str,
    size: str,
    citation: str,
    *,
    licence: str = "Creative Commons; see the conditions of use of each record at Zenodo",
    archives: tuple[Archive, ...] = (),
    records: tuple[str, str, str] | None = None,
) -> PublicDataset:
    request = ""
    if records:
        dev, training, test = (f"https://zenodo.org/records/{record}" for record in records)
        request = (
            f"Unpack the archives of {dev} into dev_data/, those of {training} (additional "
            f"training) and {test} (evaluation) into eval_data/."
        )
    return PublicDataset(
        name=f"dcase{year}-task2",
        title=f"DCASE {year} Challenge Task 2, {subtitle}",
        description=description,
        licence=licence,
        citation=citation,
        homepage=f"https://dcase.community/challenge{year}/",
        size=size,
        layout=("dev_data/",),
        loader=partial(load_dcase_task2, year=year),
        archives=archives,
        request=request,
    )


DCASE2020_TASK2 = _edition(
    2020,
    "unsupervised detection of anomalous sounds for machine condition monitoring",
    "Clips of 10 s of 6 machine types with 6 or 7 machines each; training clips are normal. The "
    "machines of dev_data and eval_data differ.",
    "about 17 GB unpacked",
    "Y. Koizumi et al., Description and Discussion on DCASE2020 Challenge Task2, DCASE Workshop "
    "2020; of ToyADMOS (Koizumi et al., WASPAA 2019) and MIMII (Purohit et al., DCASE Workshop "
    "2019)",
    licence="CC BY-NC-SA 4.0",
    archives=archives_of("dcase2020-task2"),
)
DCASE2021_TASK2 = _edition(
    2021,
    "unsupervised anomalous sound detection under domain shifted conditions",
    "Clips of 10 s of 7 machine types with 6 sections each, of a source and a target domain, which "
    "is known of test clips; 3 training clips of each section are of the target domain.",
    "about 18 GB unpacked",
    "Y. Kawaguchi et al., Description and Discussion on DCASE 2021 Challenge Task 2, DCASE "
    "Workshop 2021; of MIMII DUE (Tanabe et al., WASPAA 2021) and ToyADMOS2 (Harada et al., DCASE "
    "Workshop 2021)",
    records=("4562016", "4660992", "4884786"),
)
DCASE2022_TASK2 = _edition(
    2022,
    "unsupervised anomalous sound detection applying domain generalization techniques",
    "Clips of 10 s of 7 machine types with 6 sections each; 990 training clips of a section are of "
    "the source domain, 10 of the target domain.",
    "about 15 GB unpacked",
    "K. Dohi et al., Description and Discussion on DCASE 2022 Challenge Task 2, DCASE Workshop "
    "2022; of MIMII DG (Dohi et al., DCASE Workshop 2022) and ToyADMOS2 (Harada et al., DCASE "
    "Workshop 2021)",
    records=("6355122", "6462969", "6586456"),
)
DCASE2023_TASK2 = _edition(
    2023,
    "first-shot unsupervised anomalous sound detection",
    "14 machine types of one section, 7 of them in dev_data and 7 others in eval_data; of the "
    "training clips of each 990 are of the source domain, 10 of the target domain.",
    "about 6 GB unpacked",
    "K. Dohi et al., Description and Discussion on DCASE 2023 Challenge Task 2, DCASE Workshop "
    "2023; of MIMII DG (Dohi et al., DCASE Workshop 2022) and ToyADMOS2 (Harada et al., DCASE "
    "Workshop 2021)",
    archives=archives_of("dcase2023-task2"),
)
DCASE2024_TASK2 = _edition(
    2024,
    "first-shot unsupervised anomalous sound detection",
    "16 machine types of one section, 7 of them in dev_data and 9 others in eval_data; of 7 types "
    "the attributes are withheld. 990 training clips of each are of the source domain, 10 of the "
    "target domain.",
    "about 6 GB unpacked",
    "T. Nishida et al., Description and Discussion on DCASE 2024 Challenge Task 2, DCASE Workshop "
    "2024; of MIMII DG (Dohi et al., DCASE Workshop 2022) and ToyADMOS2 (Harada et al., DCASE "
    "Workshop 2021)",
    records=("10902294", "11259435", "11363076"),
)
