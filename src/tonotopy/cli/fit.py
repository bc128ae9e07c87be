"""`tonotopy fit`: labelled clips to a trained model, its evaluation and its report."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy._components import component_names
from tonotopy._errors import UsageError
from tonotopy.cli._output import Output
from tonotopy.cli._parse import make_parser
from tonotopy.training.config import FitConfig, register_component_type
from tonotopy.training.presets import preset_file, preset_files

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

DESCRIPTION = """\
Train a model on clips, evaluate it and write its report.

    tonotopy fit FOLDER                                 sub-folders are the labels
    tonotopy fit FOLDER --preset add                    cross-entropy + angular distance loss
    tonotopy fit FOLDER --task tree                     nested sub-folders are a taxonomy
    tonotopy fit FOLDER --preset rbl                    a taxonomy, learnt by the rank-based loss
    tonotopy fit FOLDER --task anomaly                  machines in normal condition, to be watched
    tonotopy fit FOLDER --task self-supervised          no labels at all
    tonotopy fit FOLDER --pretrained runs/OTHER         go on from the encoder of another run
    tonotopy fit FOLDER --encoder '{class_path: ResNet18, init_args: {width: 32}}'
    tonotopy fit FOLDER --preset accurate --print_config > my.yaml
    tonotopy fit --config my.yaml
    tonotopy fit --resume runs/FOLDER                   go on with an interrupted run
"""

FAMILIES = {
    "front_end": ("FrontEnd", "tonotopy.audio"),
    "encoder": ("Encoder", "tonotopy.encoders"),
    "losses": ("Loss", "tonotopy.losses"),
    "batches": ("BatchSampler", "tonotopy.clips"),
    "augmentations": ("Augmentation", "tonotopy.audio"),
    "anomaly.scorer": ("Scorer", "tonotopy.detection"),
}


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    register_component_type()
    parser = _parser(_chosen_presets(arguments))
    parsed = vars(parser.instantiate(parser.parse_args(list(arguments))))
    asked = ("json", "config", "preset", "resume", "components")
    options = {name: parsed.pop(name) for name in asked}
    parsed.pop("__default_config__", None)  # jsonargparse's note of the presets it read
    if options["components"]:
        return _list_components()
    if options["resume"] is not None:
        return resume(options["resume"])
    parsed["data"] = parsed.pop("source") or parsed["data"]
    if parsed["data"] is None:
        raise UsageError("say what to train on: tonotopy fit DATA (see tonotopy fit --help)")
    return fit(FitConfig(**parsed), command=shlex.join(["tonotopy", "fit", *arguments]))


def fit(config: FitConfig, *, command: str) -> Output:
    """Train, then evaluate and write model card and report."""
    from tonotopy.protocols import complete_run
    from tonotopy.training import fit as train

    return _output(complete_run(train(config), command=command))


def resume(run_folder: Path) -> Output:
    """Go on with an interrupted run to its end."""
    from tonotopy.protocols import complete_run
    from tonotopy.training import resume as train

    trained = train(run_folder)
    # What made the run is its configuration; `--resume` alone would make nothing.
    command = shlex.join(["tonotopy", "fit", "--config", str(run_folder / "config.yaml")])
    return _output(complete_run(trained, command=command))


def _parser(presets: list[Path]) -> ArgumentParser:
    parser = make_parser("fit", DESCRIPTION)
    parser.default_config_files = [str(path) for path in presets]
    parser.add_argument(
        "source",
        metavar="DATA",
        type=Path | None,
        nargs="?",
        help="A folder whose sub-folders are labels, a CSV or Parquet table, a saved Hugging Face "
        "data set, or clips.parquet of a scan.",
    )
    parser.add_argument("--data", type=Path | None, help="The same, for configuration files.")
    parser.add_argument("--config", action="config", help="A YAML file of these options.")
    parser.add_argument(
        "--preset",
        help="Start from a named configuration; several, as in `accurate,add`, are laid over each "
        f"other: {', '.join(preset_files())}.",
    )
    parser.add_argument("--resume", type=Path, metavar="RUN", help="Go on with this run.")
    parser.add_argument(
        "--components", action="store_true", help="List front ends, encoders, losses, ..."
    )
    parser.add_class_arguments(FitConfig, None, skip={"data"})
    return parser


def _chosen_presets(arguments: Sequence[str]) -> list[Path]:
    """Find the presets before parsing: they are the defaults of all other options."""
    names: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--preset" and position + 1 < len(arguments):
            names += arguments[position + 1].split(",")
        elif argument.startswith("--preset="):
            names += argument.removeprefix("--preset=").split(",")
    for task in ("anomaly", "self-supervised"):
        asked = f"--task={task}" in arguments or ("--task", task) in pairwise(arguments)
        if asked and not any(name.startswith(task) for name in names):
            names.insert(0, task)  # the task's own defaults, such as its augmentations
    return [preset_file(name) for name in names]


def _output(metrics: dict[str, Any]) -> Output:
    return Output(metrics, str(metrics["summary"]))


def _list_components() -> Output:
    import importlib

    listed: dict[str, list[str]] = {}
    lines: list[str] = []
    for option, (base, package) in FAMILIES.items():
        module = importlib.import_module(package)
        listed[option] = component_names(getattr(module, base), package)
        lines.append(f"--{option}")
        for name in listed[option]:
            first = (getattr(module, name).__doc__ or "").strip().splitlines()[0]
            lines.append(f"    {name}: {first}")
    return Output(listed, "\n".join(lines))
