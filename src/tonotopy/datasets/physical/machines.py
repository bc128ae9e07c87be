"""Rotating machines: orders of the speed of rotation, modulated, and the noise of flow.

R. B. Randall, "Vibration-based Condition Monitoring", 2nd ed., chapters 2 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets.physical.resonance import (
    NYQUIST,
    SAMPLE_RATE,
    SAMPLES,
    Wave,
    low_pass,
    time_axis,
)


@dataclass(frozen=True)
class Machine:
    """A kind of machine.

    Args:
        slowest: Lowest speed, in turns a second.
        fastest: Highest speed, in turns a second.
        events: Blades, pistons or teeth that pass in a turn.
        harmonics: Number of multiples of the event frequency that are heard.
        roll_off: Amplitude of the n-th is n ** -roll_off.
        sidebands: Modulation by the turning shaft: 0 none, 1 full.
        flow: Share of broadband noise.
        flow_cutoff: Its cut-off in hertz.
    """

    slowest: float
    fastest: float
    events: int
    harmonics: int
    roll_off: float
    sidebands: float
    flow: float
    flow_cutoff: float


@dataclass(frozen=True)
class Operation:
    """A way of running.

    Args:
        run_up: Speed at the end over speed at the beginning.
        load: Factor on the sidebands and on the upper harmonics.
    """

    run_up: float
    load: float


def rotate(machine: Machine, way: Operation, speed: float, random: np.random.Generator) -> Wave:
    """Run a machine: harmonics of its event frequency, modulated once a turn, and flow noise."""
    drift = np.cumsum(random.standard_normal(SAMPLES)) / SAMPLES
    course = np.linspace(1.0, way.run_up, SAMPLES) * (1.0 + 0.05 * drift)
    turns = np.cumsum(speed * course) / SAMPLE_RATE
    shaft = 1.0 + min(1.0, machine.sidebands * way.load) * np.sin(2 * np.pi * turns)
    wave = np.zeros(SAMPLES)
    for harmonic in range(1, machine.harmonics + 1):
        order = harmonic * machine.events
        if order * speed * max(1.0, way.run_up) < NYQUIST:
            loudness = harmonic**-machine.roll_off * (way.load if harmonic > 1 else 1.0)
            wave += loudness * np.sin(2 * np.pi * order * turns + random.uniform(0, 2 * np.pi))
    noise = low_pass(random.standard_normal(SAMPLES), machine.flow_cutoff * way.load)
    noise /= noise.std()
    slow = 1.0 + 0.2 * np.sin(2 * np.pi * random.uniform(0.5, 3.0) * time_axis())
    mixed: Wave = shaft * wave + machine.flow * slow * course * noise
    return mixed
