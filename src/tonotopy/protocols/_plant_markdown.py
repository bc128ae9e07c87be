"""`results.md` of the experiment on the synthetic plant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tonotopy.protocols._plant_tables import ALL_DOMAINS, ANY_FAULT, SITE

ACCEPTANCE = {6.0: 0.9, -6.0: 0.65}
"""Ratio in decibels to the AUC that auxiliary classes are to reach there."""

SCOPES = {
    SITE: "One threshold for each machine, domain and ratio to the noise",
    ALL_DOMAINS: "One threshold for each machine, whatever the domain and the noise",
}


def plant_markdown(result: dict[str, Any]) -> str:
    """Write `results.md`."""
    parts = [
        "# Detectors on a synthetic plant\n\nAll sounds are simulated: this says nothing about "
        "real machines.\n",
        "## AUC by ratio to the noise, domain and severity\n",
        _auc_markdown(result["auc"]),
        _acceptance(result["auc"]),
        "## False alarms on fresh clips of sound machines, 95 % intervals\n",
        _false_alarm_markdown(result["false_alarms"]),
        "## Share of faulty clips detected (of so many), by thresholds on fresh clips\n",
        *(part for rate in result["rates"] for part in _detection_parts(result, rate)),
    ]
    return "\n".join(parts)


def _auc_markdown(rows: Sequence[dict[str, Any]]) -> str:
    ratios = sorted({row["snr_db"] for row in rows})
    lines = [
        f"| classes | domain | severity | {' | '.join(f'{ratio:+g} dB' for ratio in ratios)} |",
        f"| --- | --- | --- |{' --- |' * len(ratios)}",
    ]
    cells: dict[tuple[str, str, str], dict[float, str]] = {}
    for row in rows:
        key = (row["method"], row["domain"], str(row["severity"]))
        text = "–" if math.isnan(row["mean"]) else f"{row['mean']:.3f}"
        if not math.isnan(row["sd"]):
            text += f" ± {row['sd']:.3f}"
        cells.setdefault(key, {})[row["snr_db"]] = text
    for key, values in cells.items():
        found = [values.get(ratio, "") for ratio in ratios]
        lines.append(f"| {' | '.join(key)} | {' | '.join(found)} |")
    return "\n".join(lines) + "\n"


def _acceptance(rows: Sequence[dict[str, Any]]) -> str:
    """Say whether auxiliary classes reach `ACCEPTANCE`, and whether one class stays below."""
    found = {
        (row["method"], row["domain"], row["snr_db"], row["severity"]): row["mean"] for row in rows
    }
    lines = []
    for ratio, least in ACCEPTANCE.items():
        for domain in ("source", "target"):
            for severity in ("all", 1.0):
                value = found.get(("attributes", domain, ratio, severity))
                if value is not None:
                    lines.append(
                        f"- AUC of at least {least:g} at {ratio:+g} dB, {domain}, severity "
                        f"{severity}: {'yes' if value >= least else 'no'}, {value:.3f}"
                    )
    for domain in ("source", "target"):
        pair = [found.get((name, domain, -6.0, "all")) for name in ("attributes", "one class")]
        if pair[0] is not None and pair[1] is not None:
            lines.append(
                f"- one class lower at -6 dB, {domain}: {'yes' if pair[1] < pair[0] else 'no'}, "
                f"{pair[1]:.3f} against {pair[0]:.3f}"
            )
    return "\n".join(lines) + "\n"


def _false_alarm_markdown(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| classes | calibrated on | threshold | promised | domain | alarms / clips | rate |"
        " machines not above |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if row["machine"] != "all":
            continue
        kind = {name: row[name] for name in ("method", "calibration", "scope", "rate")}
        single = [
            other
            for other in rows
            if other["machine"] != "all" and all(other[k] == v for k, v in kind.items())
        ]
        kept = sum(other["low"] <= row["rate"] for other in single)
        machines = f"{kept} of {len(single)}" if row["domain"] == "all" else ""
        lines.append(
            f"| {row['method']} | {row['calibration']} | {row['scope']} | {row['rate']:.0%} | "
            f"{row['domain']} | {row['alarms']} / {row['clips']} | {_share(row, 'alarms')} | "
            f"{machines} |"
        )
    return "\n".join(lines) + "\n"


def _detection_parts(result: dict[str, Any], rate: float) -> list[str]:
    """Compare methods over all faults, then give each fault for the first method."""
    parts = []
    for scope, about in SCOPES.items():
        rows = [row for row in result["detection"] if (row["scope"], row["rate"]) == (scope, rate)]
        if not rows:
            parts.append(f"{about}, rate {rate:.0%}: too few clips to calibrate on.\n")
            continue
        parts.append(f"{about}, rate {rate:.0%}, by severity:\n")
        parts.append(_detection_markdown([row for row in rows if row["fault"] == ANY_FAULT]))
        if scope == SITE:
            first = result["trials"][0]["method"]
            single = [r for r in rows if r["fault"] != ANY_FAULT and r["method"] == first]
            parts.append(_detection_markdown(single))
    return parts


def _detection_markdown(rows: Sequence[dict[str, Any]]) -> str:
    severities = sorted({row["severity"] for row in rows})
    lines = [
        f"| classes | domain | fault | ratio | {' | '.join(f'{s:g}' for s in severities)} |",
        f"| --- | --- | --- | --- |{' --- |' * len(severities)}",
    ]
    cells: dict[tuple[str, ...], dict[float, str]] = {}
    for row in rows:
        ratio = f"{row['snr_db']:+g} dB"
        key: tuple[str, ...] = (row["method"], row["domain"], row["fault"], ratio)
        share = f"{row['detected'] / row['clips']:.2f} ({row['clips']})"
        cells.setdefault(key, {})[row["severity"]] = share
    for key, values in cells.items():
        found = " | ".join(values.get(severity, "–") for severity in severities)
        lines.append(f"| {' | '.join(key)} | {found} |")
    return "\n".join(lines) + "\n"


def _share(row: dict[str, Any], count: str) -> str:
    return f"{row[count] / row['clips']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"
