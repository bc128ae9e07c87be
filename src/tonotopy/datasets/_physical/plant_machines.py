"""Individual machines of a simulated plant, sound or with a fault of a given severity.

R. B. Randall, "Vibration-based Condition Monitoring", 2nd ed., chapters 2 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets._physical.bearings import (
    Bearing,
    inner_race_impacts,
    outer_race_impacts,
)
from tonotopy.datasets._physical.resonance import (
    NYQUIST,
    SAMPLE_RATE,
    Wave,
    convolve,
    harmonics,
    modes,
    ring,
)
from tonotopy.datasets._physical.shafts import Belt, events, impulses, shaft_turns
from tonotopy.datasets._physical.valves import Valves, clatter, flow_noise, leak

SPEEDS = (0.75, 0.875, 1.0)
"""Speed settings 1, 2, 3: share of the nominal speed."""

LOADS = (0.5, 1.0)
"""Load settings 1, 2: share of the nominal load."""

LOAD_SLIP = 0.02
"""Share of its speed that an induction motor loses at nominal load."""

UNBALANCE_GROWTH = 9.0
"""Eccentricity that an imbalance of severity 1 adds, in units of that of a sound rotor."""

BEARING_LEVEL = 1.0
"""Root mean square of impacts of severity 1 outside of a load zone; that of the machine is 1."""

BELT_SLIP = 0.03
"""Share of its speed that a belt of severity 1 loses."""

BELT_RIPPLE = 0.03
"""Of the relative speed, once round, at severity 1."""

SLAP_LEVEL = 1.0
"""Root mean square of the slaps of a belt of severity 1; that of the machine is 1."""

LEAK_LEVEL = 0.7
"""Root mean square of the hiss of a leak of severity 1; that of the machine is 1."""

SLAP_RESPONSE = 0.2
"""Seconds of a belt guard's ringing that are computed."""

NO_FAULT = ""


@dataclass(frozen=True)
class Levels:
    """Root mean squares of the parts of a sound machine at nominal speed and load.

    Args:
        unbalance: The line at the speed of the shaft.
        passing: Blades, vanes, teeth or strokes that pass.
        flow: Turbulence.
        rolling: The casing, which rolling balls excite.
        valves: Plates that hit their seats.
    """

    unbalance: float
    passing: float
    flow: float
    rolling: float
    valves: float = 0.0

    @property
    def total(self) -> float:
        """Root of the sum of squares."""
        parts = (self.unbalance, self.passing, self.flow, self.rolling, self.valves)
        return float(np.sqrt(sum(part**2 for part in parts)))


@dataclass(frozen=True)
class PlantMachine:
    """One machine with a geometry of its own.

    Args:
        speed: Nominal turns a second of the motor.
        passing: Blades, vanes, teeth or strokes in a turn of the driven shaft.
        amplitudes: Of the multiples of the passing frequency; the sum of squares is 2.
        phases: Of the same, in radians.
        modulation: Of the passing tones, once a turn, at nominal load.
        levels: Root mean squares of its parts.
        flow_cutoff: Hertz above which turbulence falls.
        bearing: Of the driven shaft.
        belt: Between motor and shaft; None where they are coupled.
        guard: Hertz of the modes of the belt's guard, which a flapping belt hits.
        valves: None where it has none.
    """

    speed: float
    passing: int
    amplitudes: tuple[float, ...]
    phases: tuple[float, ...]
    modulation: float
    levels: Levels
    flow_cutoff: float
    bearing: Bearing
    belt: Belt | None
    guard: tuple[float, ...]
    valves: Valves | None

    def shaft_speed(self, speed: int, load: int) -> float:
        """Turns a second of the driven shaft, for settings that count from 1."""
        ratio = 1.0 if self.belt is None else self.belt.ratio
        return ratio * self.speed * SPEEDS[speed - 1] * (1.0 - LOAD_SLIP * LOADS[load - 1])


@dataclass(frozen=True)
class Fault:
    """What is wrong, and how much.

    Args:
        name: One of `FAULTS`, or "" for nothing.
        severity: 0 (a machine that is sound) to 1.
    """

    name: str = NO_FAULT
    severity: float = 0.0

    def of(self, name: str) -> float:
        """Its severity if it is the fault `name`, else 0."""
        return self.severity if self.name == name else 0.0


FAULTS = (
    "bearing_outer",
    "bearing_inner",
    "imbalance",
    "belt",
    "valve_leak",
    "valve_sticking",
)

SOUND = Fault()

IMPACTS = {"bearing_outer": outer_race_impacts, "bearing_inner": inner_race_impacts}


def run_plant_machine(
    machine: PlantMachine,
    speed: int,
    load: int,
    samples: int,
    random: np.random.Generator,
    fault: Fault = SOUND,
) -> Wave:
    """Run a machine. Every part draws from a stream of its own, so a fault changes nothing else.

    Args:
        machine: The machine.
        speed: Setting, 1 to 3.
        load: Setting, 1 or 2.
        samples: Length T.
        random: Start of all streams; equal ones give equal sounds, up to the fault.
        fault: Severity s of

            - `bearing_outer`, `bearing_inner`: impacts at the ball pass frequency, of level
              s * `BEARING_LEVEL` times the speed (`outer_race_impacts`, `inner_race_impacts`);
            - `imbalance`: the force m e w² with an eccentricity e times 1 + s * `UNBALANCE_GROWTH`,
              and a modulation of the passing tones that is deeper by s / 2, as the rotor's centre
              moves;
            - `belt`: a slip of s * `BELT_SLIP`, a ripple of the speed of s * `BELT_RIPPLE` and a
              slap of level s * `SLAP_LEVEL`, once a round (`Belt.drive`);
            - `valve_leak`: a hiss of level s * `LEAK_LEVEL` (`leak`);
            - `valve_sticking`: plates that come late and hit hard (`clatter`).

    Returns:
        (T,) wave of a root mean square near 1 at nominal speed and load without a fault.
    """
    streams = random.spawn(8)
    of, levels = fault.of, machine.levels
    motor = machine.speed * SPEEDS[speed - 1] * (1.0 - LOAD_SLIP * LOADS[load - 1])
    drive = shaft_turns(motor, samples, streams[0])
    turns = drive
    if machine.belt is not None:
        worn = of("belt")
        turns = machine.belt.drive(drive, slip=worn * BELT_SLIP, ripple=worn * BELT_RIPPLE)

    rate = SPEEDS[speed - 1]
    eccentric = 1.0 + of("imbalance") * UNBALANCE_GROWTH
    wave = levels.unbalance * rate**2 * eccentric * np.sqrt(2) * np.sin(2 * np.pi * turns)
    wave += levels.passing * rate**2 * _passing_tones(machine, turns, load, of("imbalance") / 2)
    wave += levels.flow * rate**2.5 * flow_noise(samples, machine.flow_cutoff, streams[1])
    wave += levels.rolling * rate * _rolling(machine.bearing, samples, streams[2])
    if machine.valves is not None:
        plates = clatter(machine.valves, turns, streams[3], streams[4], of("valve_sticking"))
        wave += levels.valves * rate * plates
        if of("valve_leak"):
            hiss = leak(machine.valves, turns, machine.passing, streams[5])
            wave += of("valve_leak") * LEAK_LEVEL * levels.total * hiss
    if machine.belt is not None and of("belt"):
        slap = _slap(machine.guard, machine.belt.order, drive, streams[6])
        wave += of("belt") * SLAP_LEVEL * levels.total * slap
    for name, impacts in IMPACTS.items():
        if of(name):
            struck = impacts(machine.bearing, turns, streams[7])
            wave += of(name) * BEARING_LEVEL * levels.total * rate * struck
    scaled: Wave = wave / levels.total
    return scaled


def _passing_tones(machine: PlantMachine, turns: Wave, load: int, deeper: float) -> Wave:
    """Give the multiples of the passing frequency, modulated once a turn; mean square near 1."""
    depth = min(1.0, machine.modulation * LOADS[load - 1] + deeper)
    speed = (turns[-1] - turns[0]) / len(turns) * SAMPLE_RATE
    orders = machine.passing * np.arange(1, len(machine.amplitudes) + 1)
    amplitudes = np.where(1.05 * orders * speed < NYQUIST, machine.amplitudes, 0.0)
    amplitudes[1:] *= np.sqrt(LOADS[load - 1])
    tones = harmonics(machine.passing * turns, amplitudes, machine.phases)
    modulated: Wave = (1.0 + depth * np.sin(2 * np.pi * turns)) * tones
    return modulated


def _rolling(bearing: Bearing, samples: int, random: np.random.Generator) -> Wave:
    """Give the casing's answer to the roughness of sound races: noise of mean square 1."""
    return convolve(random.standard_normal(samples), bearing.response)


def _slap(guard: tuple[float, ...], order: float, turns: Wave, random: np.random.Generator) -> Wave:
    """Let a belt hit its guard once a round; mean square near 1."""
    angles = events(turns, order, random)
    train = impulses(turns, angles, random.uniform(0.7, 1.3, len(angles)))
    response = modes(guard, 1.0, 0.08, round(SLAP_RESPONSE * SAMPLE_RATE))
    rate = order * (turns[-1] - turns[0]) / len(turns)
    return ring(train, response) / float(np.sqrt(rate * (response**2).sum()))
