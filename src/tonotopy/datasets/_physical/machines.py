"""Rotating machines: orders of the speed of rotation, modulated, bearing impulses, and flow noise.

R. B. Randall, "Vibration-based Condition Monitoring", 2nd ed., chapters 2 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets._physical.resonance import (
    NYQUIST,
    SAMPLE_RATE,
    SAMPLES,
    Wave,
    convolve,
    low_pass,
    modes,
    time_axis,
)

BALLS_PASS = 0.4
"""Of n balls about 0.4 n pass a point of a bearing's outer ring in a turn (Randall, eq. 2.12)."""

RING_DECAY = 0.006
"""Seconds in which a casing that a ball has hit falls by 60 dB."""


@dataclass(frozen=True)
class Machine:
    """A kind of machine.

    Args:
        slowest: Lowest speed, in turns a second.
        fastest: Highest speed, in turns a second.
        events: Blades, vanes or teeth that pass in a turn.
        harmonics: Number of multiples of the event frequency that are heard.
        roll_off: Amplitude of the n-th is n ** -roll_off.
        modulation: Of the amplitude, once a turn: 0 none, 1 full.
        flow: Level of broadband noise.
        flow_cutoff: Its cut-off in hertz.
        bearing: Level of the bearing's impulses.
        balls: Number of balls in the bearing.
        casing: Frequency in hertz of the casing's resonance that the impulses excite.
    """

    slowest: float
    fastest: float
    events: int
    harmonics: int
    roll_off: float
    modulation: float
    flow: float
    flow_cutoff: float
    bearing: float
    balls: int
    casing: float


@dataclass(frozen=True)
class Operation:
    """A way of running.

    Args:
        run_up: Speed at the end over speed at the beginning.
        load: Factor on modulation, upper harmonics and bearing impulses.
    """

    run_up: float
    load: float


def run_machine(
    machine: Machine, way: Operation, speed: float, random: np.random.Generator
) -> Wave:
    """Run a machine: harmonics of its event frequency, bearing impulses and flow noise."""
    load = way.load * random.uniform(0.8, 1.25)
    wander = np.cumsum(random.standard_normal(SAMPLES)) / SAMPLES
    course = np.linspace(1.0, way.run_up, SAMPLES) * (1.0 + wander)
    turns = np.cumsum(speed * course) / SAMPLE_RATE + random.uniform()
    depth = min(1.0, machine.modulation * load)
    shaft = 1.0 + depth * np.sin(2 * np.pi * turns)
    tones = np.zeros(SAMPLES)
    for harmonic in range(1, machine.harmonics + 1):
        order = harmonic * machine.events
        if order * speed * way.run_up < NYQUIST:
            level = harmonic**-machine.roll_off * (load if harmonic > 1 else 1.0)
            tones += level * np.sin(2 * np.pi * order * turns + random.uniform(0, 2 * np.pi))
    noise = low_pass(random.standard_normal(SAMPLES), machine.flow_cutoff)
    gusts = 1.0 + 0.2 * np.sin(2 * np.pi * random.uniform(0.5, 3.0) * time_axis())
    impulses = _bearing(machine, turns, random)
    noise *= machine.flow / noise.std()
    return shaft * (tones + load * machine.bearing * impulses) + gusts * course * noise


def _bearing(machine: Machine, turns: Wave, random: np.random.Generator) -> Wave:
    """Give the ringing of the casing, hit once whenever a ball passes."""
    passed = np.floor(BALLS_PASS * machine.balls * turns)
    hits = np.flatnonzero(np.diff(passed)) + 1
    train = np.zeros(SAMPLES)
    train[hits] = random.uniform(0.5, 1.5, len(hits))  # no two balls are alike
    resonance = machine.casing * random.uniform(0.95, 1.05)
    return convolve(train, modes([resonance], 1.0, RING_DECAY))
