"""Plucked strings: a delay line with a lossy end, and a body that rings along.

K. Karplus and A. Strong, "Digital Synthesis of Plucked-String and Drum Timbres", Computer Music
Journal 7(2), 1983; D. Jaffe and J. Smith, "Extensions of the Karplus-Strong Plucked-String
Algorithm", same issue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets._physical.resonance import (
    SAMPLE_RATE,
    SAMPLES,
    Wave,
    convolve,
    delay_loop,
    low_pass,
    modes,
    peak,
)

BODY_SHARE = 0.3
"""Peak of what the body radiates over that of the string."""


@dataclass(frozen=True)
class String:
    """A kind of string instrument.

    Args:
        lowest: Lowest pitch in hertz.
        highest: Highest pitch in hertz.
        sustain: Seconds in which a tone would fall by 60 dB without the loss of upper partials.
        averaging: That loss: 0 none, 0.5 most.
        stiffness: 0 for harmonic partials, larger for sharp ones; up to 0.5.
        body: Frequencies of the body's resonances in hertz.
        body_decay: Seconds in which they fall by 60 dB.
    """

    lowest: float
    highest: float
    sustain: float
    averaging: float
    stiffness: float
    body: tuple[float, ...]
    body_decay: float


@dataclass(frozen=True)
class Pluck:
    """A way of plucking.

    Args:
        position: Where, as a share of the string's length from the bridge.
        brightness: Cut-off of the excitation, as a multiple of the pitch.
        damping: Factor on the sustain.
    """

    position: float
    brightness: float
    damping: float


def pluck(string: String, way: Pluck, frequency: float, random: np.random.Generator) -> Wave:
    """Pluck a string: a burst of noise, comb-filtered by where it starts, goes round the string."""
    period = SAMPLE_RATE / frequency
    burst = np.zeros(SAMPLES)
    burst[: int(period)] = random.uniform(-1.0, 1.0, int(period))
    burst = low_pass(burst, way.brightness * random.uniform(0.7, 1.4) * frequency)
    # The wave that runs from the pluck to the bridge comes back upside down: every 1/position-th
    # partial is missing.
    shift = max(1, round(way.position * random.uniform(0.85, 1.15) * period))
    burst[shift:] -= burst[:-shift].copy()
    feedback = 10.0 ** (-3.0 / (frequency * string.sustain * way.damping))
    tone = delay_loop(
        burst, frequency, feedback, averaging=string.averaging, stiffness=string.stiffness
    )
    resonances = np.array(string.body) * random.uniform(0.97, 1.03)
    body = convolve(tone, modes(resonances, 1.0, string.body_decay))
    return tone + BODY_SHARE * peak(tone) / peak(body) * body
