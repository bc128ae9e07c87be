"""Kinds of machines of a simulated plant, and how individuals of a kind differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets._physical.bearings import Bearing
from tonotopy.datasets._physical.plant_machines import Levels, PlantMachine
from tonotopy.datasets._physical.shafts import Belt
from tonotopy.datasets._physical.valves import Valves

Range = tuple[float, float]

LEVEL_SPREAD = 2.0
"""Decibels by which the parts of two machines of a kind may differ from the kind's, either way."""


@dataclass(frozen=True)
class Kind:
    """What individuals of a kind have in common.

    Args:
        speed: Nominal turns a second of the motor, lowest and highest.
        passing: Blades, vanes, teeth or strokes in a turn, fewest and most.
        harmonics: Multiples of the passing frequency.
        roll_off: The amplitude of the n-th is about n ** -roll_off.
        modulation: Of the passing tones, once a turn.
        levels: Root mean squares of the parts.
        flow_cutoff: Hertz above which turbulence falls, lowest and highest.
        ratio: Speed of the driven shaft over that of the motor; None where no belt is.
        jet: Hertz above which a leak hisses, lowest and highest; None where no valve is.
        faults: What can be wrong with it.
    """

    speed: Range
    passing: tuple[int, int]
    harmonics: int
    roll_off: float
    modulation: float
    levels: Levels
    flow_cutoff: Range
    ratio: Range | None
    jet: Range | None
    faults: tuple[str, ...]


BEARING_FAULTS = ("bearing_outer", "bearing_inner")

KINDS = {
    "compressor": Kind(
        speed=(23.0, 25.0),
        passing=(2, 2),
        harmonics=12,
        roll_off=0.8,
        modulation=0.2,
        levels=Levels(unbalance=0.2, passing=0.6, flow=0.3, rolling=0.15, valves=0.5),
        flow_cutoff=(600.0, 1200.0),
        ratio=(0.4, 0.6),
        jet=(2000.0, 4000.0),
        faults=(*BEARING_FAULTS, "belt", "valve_leak", "valve_sticking"),
    ),
    "fan": Kind(
        speed=(23.0, 25.0),
        passing=(6, 11),
        harmonics=8,
        roll_off=1.0,
        modulation=0.15,
        levels=Levels(unbalance=0.25, passing=0.5, flow=0.7, rolling=0.1),
        flow_cutoff=(500.0, 1500.0),
        ratio=(0.8, 1.4),
        jet=None,
        faults=(*BEARING_FAULTS, "imbalance", "belt"),
    ),
    "gearbox": Kind(
        speed=(20.0, 30.0),
        passing=(17, 31),
        harmonics=6,
        roll_off=0.7,
        modulation=0.3,
        levels=Levels(unbalance=0.15, passing=0.8, flow=0.15, rolling=0.25),
        flow_cutoff=(800.0, 2000.0),
        ratio=None,
        jet=None,
        faults=(*BEARING_FAULTS, "imbalance"),
    ),
    "pump": Kind(
        speed=(45.0, 50.0),
        passing=(5, 7),
        harmonics=8,
        roll_off=0.9,
        modulation=0.15,
        levels=Levels(unbalance=0.2, passing=0.6, flow=0.5, rolling=0.15, valves=0.15),
        flow_cutoff=(1500.0, 3000.0),
        ratio=None,
        jet=(2000.0, 4000.0),
        faults=(*BEARING_FAULTS, "imbalance", "valve_leak"),
    ),
}
"""Types of machines by name, in the order of the alphabet."""


def draw_machine(kind: Kind, random: np.random.Generator) -> PlantMachine:
    """Build an individual: geometry, resonances and levels are drawn within the kind's ranges."""
    numbers = np.arange(1, kind.harmonics + 1)
    amplitudes = numbers**-kind.roll_off * random.uniform(0.5, 1.5, kind.harmonics)
    amplitudes *= np.sqrt(2.0 / (amplitudes**2).sum())
    return PlantMachine(
        speed=random.uniform(*kind.speed),
        passing=int(random.integers(kind.passing[0], kind.passing[1] + 1)),
        amplitudes=tuple(amplitudes.tolist()),
        phases=tuple(random.uniform(0.0, 2 * np.pi, kind.harmonics).tolist()),
        modulation=kind.modulation * random.uniform(0.7, 1.3),
        levels=_levels(kind.levels, random),
        flow_cutoff=_between(kind.flow_cutoff, random),
        bearing=_bearing(random),
        belt=None if kind.ratio is None else _belt(kind.ratio, random),
        guard=tuple(np.sort(random.uniform(150.0, 900.0, 3)).tolist()),
        valves=None if kind.jet is None else _valves(kind.jet, random),
    )


def _levels(levels: Levels, random: np.random.Generator) -> Levels:
    factors = 10.0 ** (random.uniform(-LEVEL_SPREAD, LEVEL_SPREAD, 5) / 20.0)
    return Levels(
        unbalance=levels.unbalance * factors[0],
        passing=levels.passing * factors[1],
        flow=levels.flow * factors[2],
        rolling=levels.rolling * factors[3],
        valves=levels.valves * factors[4],
    )


def _bearing(random: np.random.Generator) -> Bearing:
    balls = int(random.integers(8, 13))
    pitch = random.uniform(35.0, 60.0)
    return Bearing(
        balls=balls,
        ball=pitch * random.uniform(0.18, 0.24),
        pitch=pitch,
        contact=random.uniform(0.0, 0.25),
        resonances=tuple(np.sort(random.uniform(2000.0, 6000.0, 3)).tolist()),
        decays=tuple(random.uniform(0.004, 0.010, 3).tolist()),
    )


def _belt(ratio: Range, random: np.random.Generator) -> Belt:
    return Belt(
        pulley=random.uniform(0.10, 0.16),
        ratio=random.uniform(*ratio),
        length=random.uniform(1.0, 1.6),
    )


def _valves(jet: Range, random: np.random.Generator) -> Valves:
    return Valves(
        resonances=tuple(np.sort(random.uniform(700.0, 3500.0, 3)).tolist()),
        decays=tuple(random.uniform(0.015, 0.04, 3).tolist()),
        jet=_between(jet, random),
    )


def _between(limits: Range, random: np.random.Generator) -> float:
    return float(np.exp(random.uniform(np.log(limits[0]), np.log(limits[1]))))
