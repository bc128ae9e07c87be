"""Flow and valves: turbulence, the clatter of valve plates, and jets through leaks.

R. B. Randall, "Vibration-based Condition Monitoring", 2nd ed., chapter 2 (machines with events in a
cycle); M. J. Lighthill, "On sound generated aerodynamically", 1952 (jets).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets._physical.resonance import SAMPLE_RATE, Wave, low_pass, modes, ring
from tonotopy.datasets._physical.shafts import fluctuation, impulses

PHASES = (0.0, 0.42)
"""Turns at which the suction and the discharge valve of a compressor open."""

REGULAR = 0.004
"""Turns by which a sound valve opens too early or too late."""

STICKING = 0.12
"""Turns by which a valve that sticks fully opens too late, as a standard deviation."""

RESPONSE = 0.06
"""Seconds of a plate's ringing that are computed."""


@dataclass(frozen=True)
class Valves:
    """Valve plates.

    Args:
        resonances: Hertz of the modes of a plate that hits its seat.
        decays: Seconds in which each falls by 60 dB.
        jet: Hertz above which a leak hisses.
    """

    resonances: tuple[float, ...]
    decays: tuple[float, ...]
    jet: float


def flow_noise(samples: int, cutoff: float, random: np.random.Generator) -> Wave:
    """Give turbulence of mean square 1 below `cutoff` hertz, with gusts."""
    noise = low_pass(random.standard_normal(samples), cutoff)
    noise *= 1.0 + 0.1 * fluctuation(samples, 2.0, random).clip(-4.0, 4.0)
    flow: Wave = noise / noise.std()
    return flow


def clatter(
    valves: Valves, turns: Wave, random: np.random.Generator, stuck: np.random.Generator, s: float
) -> Wave:
    """Hear plates hit their seats, two in a turn; one that sticks comes late and hits harder.

    A plate opens at its phase, plus a jitter, plus s * `STICKING` * |N(0, 1)| turns; its force is
    multiplied by 1 + s * |N(0, 1)| with the same number: what held it back is let go at once.

    Args:
        valves: The plates.
        turns: (T,) of the crank.
        random: Jitter and forces of sound plates.
        stuck: What sticking draws.
        s: Severity of sticking, 0 to 1.

    Returns:
        (T,) wave whose mean square is near 1 for s = 0.
    """
    train = np.zeros(len(turns))
    whole = np.arange(np.floor(turns[0]) - 1.0, np.ceil(turns[-1]) + 1.0)
    for phase in PHASES:
        late = np.abs(stuck.standard_normal(len(whole)))
        angles = whole + phase + REGULAR * random.standard_normal(len(whole)).clip(-4.0, 4.0)
        forces = random.uniform(0.8, 1.2, len(whole)) * (1.0 + s * late)
        train += impulses(turns, angles + s * STICKING * late, forces)
    response = modes(valves.resonances, 1.0, valves.decays, round(RESPONSE * SAMPLE_RATE))
    rate = len(PHASES) * (turns[-1] - turns[0]) / len(turns)
    return ring(train, response) / float(np.sqrt(rate * (response**2).sum()))


def leak(valves: Valves, turns: Wave, order: float, random: np.random.Generator) -> Wave:
    """Hear a jet through a valve that does not close: a hiss that follows the pulsation.

    Noise above `valves.jet`, with a bend of 6 dB an octave below, times 1 + 0.6 sin(2 pi k a) at an
    angle of a turns: the pressure behind the leak pulsates k times in a turn.

    Args:
        valves: The valve.
        turns: (T,) of the shaft.
        order: Pulses k in a turn.
        random: The noise.

    Returns:
        (T,) wave of mean square 1.
    """
    noise = random.standard_normal(len(turns))
    hiss = noise - low_pass(noise, valves.jet)
    hiss *= 1.0 + 0.6 * np.sin(2 * np.pi * order * turns)
    jet: Wave = hiss / hiss.std()
    return jet
