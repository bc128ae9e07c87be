"""Which clips a simulated plant consists of: machines, settings, faults and ratios to the noise."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tonotopy._errors import UsageError
from tonotopy.datasets._physical.plant_kinds import KINDS
from tonotopy.datasets._physical.plant_machines import LOADS, SOUND, SPEEDS, Fault

DOMAINS = ("source", "target")

SETTINGS = len(SPEEDS) * len(LOADS)

LEAST_SNR = -12.0
"""Decibels; louder noise would not fit into 16 bits beside a machine of the same level."""


@dataclass(frozen=True)
class PlannedClip:
    """One recording that is to be made.

    Args:
        kind: A name of `KINDS`.
        section: Number of the individual machine among its kind.
        domain: `source` or `target`.
        split: `train` or `test`.
        number: Counts the clips of one machine, domain, split and condition.
        speed: Setting, from 1.
        load: Setting, from 1.
        snr_db: Power of the sound machine over that of the background.
        fault: What is wrong.
    """

    kind: str
    section: int
    domain: str
    split: str
    number: int
    speed: int
    load: int
    snr_db: float
    fault: Fault = SOUND

    @property
    def condition(self) -> str:
        """`normal` or `anomaly`."""
        return "anomaly" if self.fault.name else "normal"

    @property
    def attributes(self) -> str:
        """Operating attributes as they stand in the file's name."""
        return f"speed_{self.speed}_load_{self.load}"

    @property
    def path(self) -> str:
        """Path in the plant's folder, after the scheme of DCASE 2023, task 2."""
        stem = (
            f"section_{self.section:02d}_{self.domain}_{self.split}_{self.condition}_"
            f"{self.number:04d}_{self.attributes}"
        )
        return f"{self.kind}/{self.split}/{stem}.wav"

    @property
    def row(self) -> dict[str, str | float]:
        """Its row of `plant.csv`."""
        return {
            "path": self.path,
            "machine_type": self.kind,
            "section": f"{self.section:02d}",
            "domain": self.domain,
            "attributes": self.attributes,
            "condition": self.condition,
            "fault": self.fault.name,
            "severity": self.fault.severity,
            "snr_db": self.snr_db,
            "split": self.split,
        }


@dataclass(frozen=True)
class PlantSize:
    """How much is recorded; see `tonotopy.datasets.make_plant`."""

    sections: int
    train_source: int
    train_target: int
    test_normals: int
    test_anomalies: int
    severities: Sequence[float]
    snr_db: Sequence[float]

    def check(self) -> None:
        """Raise UsageError for a plant that cannot be."""
        if not 1 <= self.sections <= 100:
            raise UsageError(f"sections must be 1 to 100, got {self.sections}")
        for name in ("train_source", "train_target", "test_normals", "test_anomalies"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.test_anomalies % 2:
            raise UsageError(
                f"test_anomalies must be even, as half are of either domain, got "
                f"{self.test_anomalies}"
            )
        if not self.snr_db or min(self.snr_db) < LEAST_SNR:
            raise UsageError(
                f"snr_db must name one ratio or more of {LEAST_SNR:g} dB or more, "
                f"got {list(self.snr_db)}"
            )
        if not all(0.0 < severity <= 1.0 for severity in self.severities):
            raise UsageError(
                f"severities must be above 0, which is a sound machine, and at most 1, "
                f"got {list(self.severities)}"
            )


def plan_plant(size: PlantSize) -> Iterator[PlannedClip]:
    """Give all clips, machine by machine; settings and ratios to the noise are balanced."""
    for kind in KINDS:
        for section in range(size.sections):
            for domain in DOMAINS:
                train = size.train_source if domain == "source" else size.train_target
                yield from _normals(kind, section, domain, "train", train, size.snr_db)
                yield from _normals(kind, section, domain, "test", size.test_normals, size.snr_db)
            yield from _anomalies(kind, section, size)


def _normals(
    kind: str, section: int, domain: str, split: str, count: int, snr_db: Sequence[float]
) -> Iterator[PlannedClip]:
    for number in range(count):
        speed, load, snr = _operation(number, snr_db)
        yield PlannedClip(kind, section, domain, split, number, speed, load, snr)


def _anomalies(kind: str, section: int, size: PlantSize) -> Iterator[PlannedClip]:
    """Give every fault at every severity and ratio equally often, in the domains by turns.

    Settings are drawn: any fixed pattern would tie them to the severity or the ratio.
    """
    random = np.random.default_rng(zlib.crc32(f"settings of {kind}/{section:02d}".encode()))
    faults = [Fault(name, s) for name in KINDS[kind].faults for s in size.severities]
    numbers = dict.fromkeys(DOMAINS, 0)
    for at, fault in enumerate(faults):
        for snr_at, snr in enumerate(size.snr_db):
            for repeat in range(size.test_anomalies):
                domain = DOMAINS[(at + snr_at + repeat) % len(DOMAINS)]
                number = numbers[domain]
                numbers[domain] += 1
                speed, load = _setting(int(random.integers(SETTINGS)))
                yield PlannedClip(kind, section, domain, "test", number, speed, load, snr, fault)


def _operation(number: int, snr_db: Sequence[float]) -> tuple[int, int, float]:
    """Give the settings and the ratio of the n-th clip: all combinations, each as often."""
    speed, load = _setting(number % SETTINGS)
    return speed, load, snr_db[(number + number // SETTINGS) % len(snr_db)]


def _setting(number: int) -> tuple[int, int]:
    return number % len(SPEEDS) + 1, number // len(SPEEDS) + 1
