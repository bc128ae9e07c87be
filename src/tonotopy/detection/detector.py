"""A model with what is normal for each machine: the part of a run that raises alarms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import polars as pl
import torch
from torch import Tensor

from tonotopy._components import Component
from tonotopy._errors import DataError, UsageError
from tonotopy._files import write_text
from tonotopy.detection.machine_fitting import DetectorOptions, fit_machine, make_scorer
from tonotopy.detection.machine_model import ANY_MACHINE, MachineModel
from tonotopy.detection.references import References
from tonotopy.detection.thresholds import Threshold
from tonotopy.embedder import AudioEmbedder

FOLDER = "detector"
DETECTOR_FILE = "detector.json"
REFERENCES_FILE = "references.parquet"
HELD_OUT_FILE = "held_out.parquet"
FORMAT = 1


class Detector:
    """Scores, p-values and decisions for windows of audio from known machines.

    Make one with `Detector.fit`, keep it with `save`, get it back with `Detector.load`.

    Args:
        embedder: The model.
        options: How it scores and alarms.
        references: Normal clips of all machines.
        held_out: Normal clips that neither trained nor are references; may be empty.
        machines: What is normal for each machine; with several machines also `"any"`, for clips
            of which the machine is not known.
    """

    def __init__(
        self,
        embedder: AudioEmbedder,
        options: DetectorOptions,
        references: References,
        held_out: References,
        machines: Mapping[str, MachineModel],
    ) -> None:
        self.embedder = embedder
        self.options = options
        self.references = references
        self.held_out = held_out
        self.machines = dict(machines)

    @classmethod
    def fit(
        cls,
        embedder: AudioEmbedder,
        references: References,
        held_out: References,
        options: DetectorOptions,
        classes: Mapping[str, Sequence[str]] | None = None,
    ) -> Self:
        """Fit scorers to references and calibrate their thresholds; nothing is trained.

        Args:
            embedder: The model that made the embeddings.
            references: Normal clips of all machines.
            held_out: Other normal clips; machines without any are calibrated by leaving references
                out.
            options: How to score and alarm.
            classes: Machine to the auxiliary classes that its training clips are of, where they
                are known: what `other_machine` and sub-centres go by.

        Raises:
            UsageError: There is no reference, or the scorer does not go with the model.
            DataError: The embeddings are of another model.
        """
        if not len(references):
            raise UsageError("a detector needs normal clips as references, got none")
        for table in (references, held_out):
            table.check_model(embedder)
        classes = classes or {}
        names = sorted(set(references.machines))
        scopes: dict[str, tuple[References, References]] = {
            name: (references.of_machine(name), held_out.of_machine(name)) for name in names
        }
        if len(names) > 1:
            scopes[ANY_MACHINE] = (references, held_out)
            every = sorted({name for own in classes.values() for name in own})
            classes = {**classes, ANY_MACHINE: every}
        machines = {
            name: fit_machine(name, embedder, known, others, options, classes.get(name, ()))
            for name, (known, others) in scopes.items()
        }
        return cls(embedder, options, references, held_out, machines)

    @property
    def window_seconds(self) -> float:
        """Length of the windows that are scored."""
        return self.options.window_seconds

    @property
    def classes(self) -> dict[str, Sequence[str]]:
        """Machine to the auxiliary classes that its training clips are of."""
        return {name: self.machines[name].classes for name in self.names}

    @property
    def names(self) -> list[str]:
        """The machines, without `"any"`."""
        return [name for name in self.machines if name != ANY_MACHINE]

    def machine(self, name: str | None = None) -> MachineModel:
        """Give what is known of a machine.

        Args:
            name: As in `fan/id_00`; None for the only machine there is.

        Raises:
            UsageError: There is no such machine, or several and none was named.
        """
        if name is None and len(self.names) == 1:
            return self.machines[self.names[0]]
        if name in self.machines:
            return self.machines[name]
        there = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
        said = (
            "several machines are known, and none was named"
            if name is None
            else (f"no machine {name!r} is known")
        )
        raise UsageError(
            f"{said}: choose one of {there}, or {ANY_MACHINE!r} to compare with all of them"
        )

    def embed(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Embed windows, (T,) each at the model's sample rate, as (M, D) float32."""
        return self.embedder.embed(waveforms)

    def judge(
        self, embeddings: Tensor, machine: MachineModel, domain: str | None = None, nearest: int = 3
    ) -> pl.DataFrame:
        """Say of windows how anomalous they are.

        Args:
            embeddings: (M, D) of one machine.
            machine: That machine.
            domain: Their domain, where it is known and should choose the threshold.
            nearest: Number of normal examples to name.

        Returns:
            M rows: `machine`, `score`, `p_value`, `threshold`, `anomalous`; `sounds_like` and
            `confidence`, the likeliest auxiliary class; `other_machine`, whether that is none of
            this machine's classes (null without a classifier); `nearest` (paths), `nearest_start`
            and `nearest_cosine`, most similar first.
        """
        scores, threshold = machine.score(embeddings), machine.threshold(domain)
        cosines, rows = machine.nearest(embeddings, nearest)
        frame = machine.references.frame
        likeliest, confidence = _likeliest(self.embedder, embeddings)
        strange = [
            None if name is None or not machine.classes else name not in machine.classes
            for name in likeliest
        ]
        return pl.DataFrame(
            {
                "machine": [machine.name] * len(embeddings),
                "score": scores.numpy(),
                "p_value": threshold.p_values(scores).numpy(),
                "threshold": [threshold.value] * len(embeddings),
                "anomalous": threshold.exceeded(scores).numpy(),
                "sounds_like": pl.Series(likeliest, dtype=pl.String),
                "confidence": pl.Series(confidence, dtype=pl.Float32),
                "other_machine": pl.Series(strange, dtype=pl.Boolean),
                "nearest": [frame["path"][found].to_list() for found in rows.tolist()],
                "nearest_start": pl.Series(
                    [frame["start"][found].to_list() for found in rows.tolist()],
                    dtype=pl.List(pl.Float64),
                ),
                "nearest_cosine": pl.Series(cosines.tolist(), dtype=pl.List(pl.Float64)),
            }
        )

    def save(self, run: Path) -> None:
        """Write `detector/` of a run folder: references, held-out clips, options and thresholds.

        The file that is read first is written last, so that an interruption leaves the old one.
        """
        folder = run / FOLDER
        self.references.write(folder / REFERENCES_FILE)
        self.held_out.write(folder / HELD_OUT_FILE)
        about = {
            "format": FORMAT,
            "model": self.embedder.fingerprint,
            "window_seconds": self.options.window_seconds,
            "scorer": self.options.scorer.to_dict(),
            "false_alarm_rate": self.options.false_alarm_rate,
            "threshold": self.options.threshold,
            "calibrate_on": self.options.calibrate_on,
            "machines": {name: _about(machine) for name, machine in self.machines.items()},
        }
        write_text(folder / DETECTOR_FILE, json.dumps(about, indent=2) + "\n")

    @classmethod
    def load(cls, run: Path | str) -> Self:
        """Load the detector of a run folder.

        Raises:
            UsageError: The run has none.
            DataError: A file is damaged or newer than this version, or the references were
                embedded by another model.
        """
        folder = Path(run) / FOLDER
        about = _read(folder / DETECTOR_FILE)
        embedder = AudioEmbedder.from_pretrained(run)
        options = DetectorOptions(
            about["window_seconds"],
            Component.parse(about["scorer"]),
            about["false_alarm_rate"],
            about["threshold"],
            about["calibrate_on"],
        )
        references = References.read(folder / REFERENCES_FILE)
        held_out = References.read(folder / HELD_OUT_FILE)
        for table in (references, held_out):
            table.check_model(embedder)
        kept = {name: known["classes"] for name, known in about["machines"].items()}
        kept.pop(ANY_MACHINE, None)
        counts = {name: len(references.of_machine(name)) for name in kept}
        if any(about["machines"][name]["references"] != count for name, count in counts.items()):
            # An interruption came between new references and their thresholds.
            return cls.fit(embedder, references, held_out, options, kept)
        machines = {}
        for name, known in about["machines"].items():
            own = references if name == ANY_MACHINE else references.of_machine(name)
            scorer = make_scorer(embedder, options, known["classes"])
            machines[name] = MachineModel(
                name,
                own,
                scorer.fit(own.embeddings, own.domains),
                {key: Threshold.from_dict(value) for key, value in known["thresholds"].items()},
                known["calibrated_on"],
                known["classes"],
            )
        return cls(embedder, options, references, held_out, machines)


@torch.no_grad()
def _likeliest(
    embedder: AudioEmbedder, embeddings: Tensor
) -> tuple[list[str | None], list[float | None]]:
    """Give the likeliest auxiliary class of each embedding and its probability."""
    classifier = embedder.classifier
    if classifier is None or not len(embeddings):
        return [None] * len(embeddings), [None] * len(embeddings)
    found = classifier.leaf_probabilities(embeddings.to(embedder.device)).max(dim=-1)
    names = classifier.tree.leaf_names
    return [names[index] for index in found.indices.tolist()], found.values.tolist()


def _about(machine: MachineModel) -> dict[str, Any]:
    return {
        "references": len(machine.references),
        "calibrated_on": machine.calibrated_on,
        "classes": list(machine.classes),
        "thresholds": {key: value.to_dict() for key, value in machine.thresholds.items()},
    }


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(
            f"there is no detector in {path.parent.parent}: expected {path}, as `tonotopy fit "
            "--task anomaly` leaves it"
        )
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        newer = about["format"] > FORMAT
    except (ValueError, KeyError) as error:
        raise DataError(
            f"{path} is damaged ({error}): `tonotopy calibrate` makes it anew"
        ) from error
    if newer:
        raise DataError(
            f"{path} has format {about['format']}, this version reads up to {FORMAT}: upgrade "
            "tonotopy"
        )
    return about
