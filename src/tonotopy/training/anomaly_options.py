"""What the task `anomaly` can be told: what is known of the machines, and how they are watched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tonotopy._components import Component
from tonotopy._errors import UsageError

ClassLevel = Literal["machine_type", "section", "attributes", "domain"]
"""A part of what is known of a recording, from which its auxiliary class is put together."""

SelfSupervised = Literal["none", "statex", "featex", "statex+featex"]
"""Classes that need no metadata: clips whose statistics, or whose features, were exchanged."""


def _all_levels() -> list[ClassLevel]:
    return ["machine_type", "section", "attributes", "domain"]


@dataclass(frozen=True)
class AnomalyOptions:
    """How normal recordings are told apart, and how a score becomes an alarm.

    Args:
        type_column: Column of the kind of machine. Default: a column `machine_type`, or what file
            names in the scheme of DCASE Task 2, folders as in MIMII, or label folders say.
        section_column: Column of the individual machine. Default: as above.
        attribute_columns: Columns of operating conditions, such as speed or load. Default: as
            above.
        domain_column: Column of `source` (plenty of recordings) or `target` (few). Default: as
            above; where nothing says so, all are one domain.
        condition_column: Column of `normal` or `anomaly`. Default: as above; a recording of which
            nothing is said is normal. Anomalies never train.
        classes: What makes recordings auxiliary classes, to be told apart in training.
        self_supervised: Further classes for poor metadata: `statex` exchanges the statistics of
            two clips' spectrograms, `featex` the embeddings of an encoder's branches.
        mixup: Probability that a clip is mixed with another as a waveform, 0 to 1.
        mixup_labels: Label of a mixture: the `sum` of the shares, or their `max` for each class.
        scorer: How far a clip is from normal ones; `--components` lists the ways.
        false_alarm_rate: Share of normal windows that may raise an alarm, in (0, 1). Less of it
            needs more normal clips: 19 held-out clips of a machine for 0.05, 99 for 0.01.
        threshold: `conformal` promises that rate whatever the scores look like; `gamma` and
            `pareto` fit a distribution, for rates that few recordings cannot show.
        calibrate_on: Scores of normal clips that never trained (`held-out`, set by
            `--split.val_fraction`), or of the training clips, each left out in turn
            (`leave-one-out`), which raises many times as many alarms as promised. `auto` is,
            for each machine, the former where it has enough held-out clips for the false alarm
            rate, and the latter, with a warning, otherwise.
    """

    type_column: str | None = None
    section_column: str | None = None
    attribute_columns: list[str] | None = None
    domain_column: str | None = None
    condition_column: str | None = None
    classes: list[ClassLevel] = field(default_factory=_all_levels)
    self_supervised: SelfSupervised = "none"
    mixup: float = 0.5
    mixup_labels: Literal["sum", "max"] = "sum"
    scorer: Component = field(default_factory=lambda: Component("NearestNeighbourScorer"))
    false_alarm_rate: float = 0.05
    threshold: Literal["conformal", "gamma", "pareto"] = "conformal"
    calibrate_on: Literal["auto", "held-out", "leave-one-out"] = "auto"

    def __post_init__(self) -> None:
        if not 0.0 <= self.mixup <= 1.0:
            raise UsageError(f"--anomaly.mixup is a probability from 0 to 1, got {self.mixup}")
        if not 0.0 < self.false_alarm_rate < 1.0:
            raise UsageError(
                f"--anomaly.false_alarm_rate must lie between 0 and 1, got {self.false_alarm_rate}"
            )
