"""`tonotopy calibrate`: how an anomaly detector scores, and when it alarms."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tonotopy.cli._output import Output
from tonotopy.cli._parse import call

if TYPE_CHECKING:
    from rich.console import Console


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""

    def calibrate(
        run: Path,
        *,
        false_alarm_rate: float | None = None,
        threshold: Literal["conformal", "gamma", "pareto"] | None = None,
        scorer: str | None = None,
        calibrate_on: Literal["auto", "held-out", "leave-one-out"] | None = None,
        rebuild: bool = False,
    ) -> Output:
        """Change how an anomaly detector scores and when it alarms, without training.

        For example:
          tonotopy calibrate runs/plant --false_alarm_rate 0.001
          tonotopy calibrate runs/plant --threshold gamma
          tonotopy calibrate runs/plant --scorer KMeansScorer
          tonotopy calibrate runs/plant \\
              --scorer '{class_path: NearestNeighbourScorer, init_args: {density: ratio}}'

        Args:
            run: A run of `tonotopy fit --task anomaly`.
            false_alarm_rate: Share of normal windows that may raise an alarm. Default: as it is.
            threshold: `conformal` holds for any distribution of scores and needs 1 / rate - 1
                normal clips; `gamma` and `pareto` fit one. Default: as it is.
            scorer: How far a clip is from normal ones; see `tonotopy fit --components`. Default:
                as it is.
            calibrate_on: Normal clips that never trained, or the references, each left out in
                turn. Default: as it is.
            rebuild: Start again from the run's own clips; normal clips that were added are gone.
        """
        import yaml

        from tonotopy._components import Component
        from tonotopy.protocols.machine_scores import calibrate_run

        metrics = calibrate_run(
            run,
            command=shlex.join(["tonotopy", "calibrate", *arguments]),
            scorer=None if scorer is None else Component.parse(yaml.safe_load(scorer)),
            false_alarm_rate=false_alarm_rate,
            threshold=threshold,
            calibrate_on=calibrate_on,
            rebuild=rebuild,
        )
        found = metrics["anomaly"]
        return Output(found, _summary(found), lambda console: _show(console, found))

    return call("calibrate", calibrate, arguments)


def _summary(found: dict[str, Any]) -> str:
    scorer = found["scorer"]["class_path"].rpartition(".")[2]
    rate = found["false_alarm_rate"]
    line = f"{len(found['machines'])} machines, {scorer}, {rate:.2%} of normal windows may alarm"
    never = [
        name
        for name, machine in found["machines"].items()
        if machine["thresholds"]["all"]["value"] == math.inf
    ]
    if never:
        line += (
            f"; {len(never)} of them NEVER ALARM, as they have too few normal clips for that rate "
            f"({', '.join(never[:3])}{', ...' * (len(never) > 3)}): --threshold gamma, a higher "
            "rate or more clips"
        )
    return line


def _show(console: Console, found: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("machine", "references", "calibrated on", "clips", "threshold", "false alarms")
    for name, machine in found["machines"].items():
        threshold = machine["thresholds"]["all"]
        table.add_row(
            name,
            str(machine["references"]),
            machine["calibrated_on"],
            str(threshold["calibration_clips"]),
            "never" if threshold["value"] == math.inf else f"{threshold['value']:.4g}",
            f"{machine['false_alarms']} of {machine['test_normals']} in test",
        )
    console.print(table)
