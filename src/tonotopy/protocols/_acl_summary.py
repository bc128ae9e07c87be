"""What was run of the angular contrastive experiment, and what was not, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tonotopy.datasets.fsdnoisy18k import COUNTS
from tonotopy.protocols._acl_options import (
    DEFECTS,
    PUBLISHED_EPOCHS,
    AclOptions,
    Stage,
)
from tonotopy.protocols._acl_published import ALPHAS, SUBSETS, TEMPERATURE

KINDS = {
    "pretrain": "Pre-training, judged by nearest neighbours among verified training clips",
    "linear": "Linear evaluation",
    "finetune-noisy": "Fine-tuning on the larger noisy set",
    "finetune-clean": "Fine-tuning on the small clean set",
    "supervised": "Supervised training",
}
"""Kind of trial to the title of its tables."""

DIFFERENCES = (
    "Patches are normalised by their own peak, not by that of their clip.",
    "Pre-training keeps the epoch with the best nearest neighbour of embeddings; the paper's votes "
    "are of 200 neighbours among projections. Alpha is chosen by 200 neighbours among embeddings.",
    "Linear classifiers and fine-tuning are judged on validation clips every fifth epoch.",
    "The last patch of a clip may be drawn as any other; the small clean set is split without "
    "leaks.",
    "Supervised training keeps the epoch with the lowest cross-entropy; test patches overlap by "
    "half.",
)


def about(
    done: Sequence[Mapping[str, Any]], options: AclOptions, counts: Mapping[str, int]
) -> dict[str, list[str]]:
    """Give `ran` and `left_out`, one sentence each.

    Args:
        done: Finished trials.
        options: Of all of them.
        counts: Clips of each part.
    """
    clips = ", ".join(f"{counts[part]:,} of {COUNTS[part]:,} {part}" for part in COUNTS)
    ran, left_out = [f"Clips: {clips}."], []
    for kind, title in KINDS.items():
        trials = [trial for trial in done if trial["kind"] == kind]
        stage = _stage(kind)
        if not trials:
            left_out.append(f"{title}: nothing.")
            continue
        epochs = options.epochs_of(stage)
        ran.append(f"{title}: {_grid(trials)}, {_network(stage, options)}, {epochs} epochs.")
        missing = _missing(kind, trials)
        if missing:
            left_out.append(f"{title}: {missing}.")
        if epochs != PUBLISHED_EPOCHS[stage]:
            left_out.append(f"{title}: {epochs} epochs, not {PUBLISHED_EPOCHS[stage]}.")
    default = AclOptions()
    if options.encoder != default.encoder:
        left_out.append(f"Encoder: {options.encoder}, not {default.encoder}.")
    if options.supervised_encoder != default.supervised_encoder:
        left_out.append(
            f"Supervised encoder: {options.supervised_encoder}, not {default.supervised_encoder}."
        )
    if dict(counts) != COUNTS:
        left_out.append("These are not the clips of the paper.")
    for name, meaning in DEFECTS.items():
        if name in options.authors:
            ran.append(f"As the authors, {name}: {meaning}.")
        else:
            left_out.append(f"The authors' {name}: {meaning}.")
    return {"ran": ran, "left_out": [*left_out, *DIFFERENCES]}


def _stage(kind: str) -> Stage:
    stages: dict[str, Stage] = {
        "pretrain": "pretrain",
        "linear": "linear",
        "supervised": "supervised",
    }
    return stages.get(kind, "finetune")


def _network(stage: Stage, options: AclOptions) -> str:
    return str(options.supervised_encoder if stage == "supervised" else options.encoder)


def _grid(trials: Sequence[Mapping[str, Any]]) -> str:
    def values(name: str) -> str:
        found = dict.fromkeys(trial[name] for trial in trials)
        return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in found)

    of = "subset" if trials[0]["temperature"] is None else "temperature"
    return f"alpha {values('alpha')}; {of} {values(of)}; seed {values('seed')}"


def _missing(kind: str, trials: Sequence[Mapping[str, Any]]) -> str:
    """Say which of the published trainings were not done."""
    done = {trial["alpha"] for trial in trials}
    wanted = [alpha for alpha in ALPHAS if alpha > 0 or kind != "supervised"]
    parts = [f"alpha {', '.join(f'{a:g}' for a in wanted if a not in done)}"]
    if not set(wanted) - done:
        parts = []
    if kind == "supervised":
        subsets = [name for name in SUBSETS if name not in {trial["subset"] for trial in trials}]
        parts += [f"subset {', '.join(subsets)}"] if subsets else []
    elif TEMPERATURE not in {trial["temperature"] for trial in trials}:
        parts.append(f"temperature {TEMPERATURE:g}")
    return f"not {'; not '.join(parts)}" if parts else ""
