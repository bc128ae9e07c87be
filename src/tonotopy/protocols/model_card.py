"""The model card that a run writes about itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl

from tonotopy.clips import ClipTable
from tonotopy.training import FitConfig
from tonotopy.training.config import read_config

CARD = """\
---
library_name: tonotopy
tags: [audio, embeddings, audio-classification]
---

# {name}

An embedding of audio made by tonotopy {version}: {front_end} → {encoder}, trained with {losses}.

```python
from tonotopy import AudioEmbedder

embedder = AudioEmbedder.from_pretrained("{run}")
embeddings = embedder.embed(["a.wav", "b.flac"])  # (2, {dim})
```

## Data

{clips} clips, {hours:.2f} hours, {classes}, from `{data}`.

| split | clips |
| --- | --- |
{splits}

{quarantined} files could not be used and are listed in `clips.parquet`.

## Results

On the {split} clips ({num_clips}), by the weights of the {kept}; seed {seed}.

| measure | value |
| --- | --- |
{results}
{structure}
## Made by

```
{command}
```

All options are in `config.yaml`; the same file makes the same weights on the same machine.

## Limits

{knows}
Figures hold for recordings like these; clips of one source in several splits make them too good
(`--split.by group` keeps a source together).
"""

STRUCTURE = """
Angular structure (cosine distance, mean over classes; Almudévar et al. 2024):

| property | value | best |
| --- | --- | --- |
{rows}
"""

KNOWS_CLASSES = "The model knows the classes above and no others."
KNOWS_NONE = (
    "The model names no classes: it was trained without labels, and those of the data, where\n"
    "there are any, only judge it. `tonotopy probe` says what a classifier on top can learn."
)

FEATURES = {
    "uniformity": "uniformity (low is even, 0 is collapse)",
    "alignment": "alignment of two views (0 is best)",
    "tolerance": "tolerance (mean cosine inside a class)",
    "effective_rank": "effective rank (dimensions in use)",
    "hubness": "hubness (0 is best)",
}

PROPERTIES = {
    "compactness": ("mean distance inside a class", "0"),
    "separation": ("mean distance between classes", "1 or more"),
    "intra_cv": ("unevenness inside classes", "0"),
    "inter_cv": ("unevenness between classes", "0"),
}


def model_card(run: Path, metrics: dict[str, Any]) -> str:
    """Write down what a run was trained on, how, and what came out, as Markdown."""
    config = read_config(run / "config.yaml")
    clips = ClipTable.read(run / "clips.parquet")
    splits = clips.frame.group_by("split").len().sort("split", descending=True)
    return CARD.format(
        name=run.name,
        version=metrics["tonotopy"],
        front_end=config.front_end.class_path,
        encoder=config.encoder.class_path,
        losses=_losses(config) + _origin(config),
        run=run.name,
        dim=metrics["embedding_dim"],
        clips=len(clips),
        hours=_hours(clips.frame),
        classes=f"{metrics['num_classes']} classes" if metrics["classes"] else "without labels",
        data=config.data,
        splits="\n".join(f"| {split} | {count} |" for split, count in splits.iter_rows()),
        quarantined=len(clips.quarantine),
        split=metrics["split"],
        num_clips=metrics["num_clips"],
        kept=_kept(config, metrics["split"], splits["split"].to_list()),
        seed=config.seed,
        results="\n".join(f"| {name} | {value} |" for name, value in _results(metrics).items()),
        structure=_structure(metrics),
        knows=KNOWS_NONE if config.task == "self-supervised" else KNOWS_CLASSES,
        command=metrics["command"],
    )


def _losses(config: FitConfig) -> str:
    inner = config.intermediate
    parts = [(name, part.class_path) for name, part in config.losses.items()]
    parts += [(name, f"{part.class_path} on {inner.layer}") for name, part in inner.losses.items()]
    return " + ".join(f"{config.loss_weights.get(name, 1.0):g} × {what}" for name, what in parts)


def _origin(config: FitConfig) -> str:
    if config.pretrained is None:
        return ""
    frozen = ", which stayed as it was" if config.freeze_encoder else ""
    return f", from the encoder of `{config.pretrained}`{frozen}"


def _kept(config: FitConfig, judged: str, splits: list[str]) -> str:
    if config.keep == "last" or "val" not in splits:
        return "last epoch"
    measure = "" if config.monitor == "auto" else f" (`{config.monitor}`)"
    chosen = ", which these clips chose, so that figures are too good" if judged == "val" else ""
    return f"best epoch{measure}{chosen}"


def _hours(frame: pl.DataFrame) -> float:
    return float(frame["seconds"].sum()) / 3600


def _results(metrics: dict[str, Any]) -> dict[str, str]:
    values: dict[str, float] = {}
    if metrics["classification"] is not None:
        values |= {
            "accuracy": metrics["classification"]["accuracy"],
            "macro F1": metrics["classification"]["macro_f1"],
            "expected calibration error": metrics["classification"]["ece"],
        }
    if metrics["knn"] is not None:
        values |= {
            f"kNN accuracy (k = {metrics['knn']['k']})": metrics["knn"]["accuracy"],
            "mean average precision": metrics["retrieval"]["map"],
            "R-precision": metrics["retrieval"]["r_precision"],
        }
    features = metrics.get("features") or {}
    values |= {name: features[key] for key, name in FEATURES.items() if key in features}
    if "anomaly" in metrics:
        values |= _anomaly_results(metrics["anomaly"])
    if "tree" in metrics:
        values |= _tree_results(metrics["tree"])
    return {name: _number(value) for name, value in values.items()}


def _anomaly_results(found: dict[str, Any]) -> dict[str, float]:
    machines = found["machines"].values()
    normals = sum(machine["test_normals"] for machine in machines)
    alarms = sum(machine["false_alarms"] for machine in machines)
    promised = f"promised share of false alarms, {len(machines)} machines"
    values = {promised: found["false_alarm_rate"]}
    if normals:
        values[f"share of {normals} normal test windows that alarm"] = alarms / normals
    if found["hmean"] is not None:
        values |= {
            "AUC of anomalies, harmonic mean over machines": found["hmean"]["auc"],
            "pAUC up to 10 % false alarms": found["hmean"]["pauc"],
        }
    return values


def _tree_results(tree: dict[str, Any]) -> dict[str, float]:
    by_level = {
        f"accuracy, level {level['level']} ({level['classes']} classes)": level["accuracy"]
        for level in tree["levels"]
    }
    unseen = tree["unseen"]["lvp"]["centroid"] if tree["unseen"] else None
    others = {
        "NDCG over the tree": tree["ndcg"],
        "mistake severity": tree["mistakes"]["severity"] if tree["mistakes"] else None,
        "unseen classes put under their parent, by centroid": unseen,
    }
    return {name: value for name, value in {**by_level, **others}.items() if value is not None}


def _structure(metrics: dict[str, Any]) -> str:
    if metrics["structure"] is None:
        return ""
    macro = metrics["structure"]["cosine"]["macro"]
    rows = [
        f"| {name} ({meaning}) | {_number(macro[name])} | {best} |"
        for name, (meaning, best) in PROPERTIES.items()
    ]
    return STRUCTURE.format(rows="\n".join(rows))


def _number(value: float | None) -> str:
    return "not defined" if value is None or math.isnan(value) else f"{value:.3f}"
