"""Plucked strings: a delay line with a lossy end.

K. Karplus and A. Strong, "Digital Synthesis of Plucked-String and Drum Timbres", Computer Music
Journal 7(2), 1983; D. Jaffe and J. Smith, "Extensions of the Karplus-Strong Plucked-String
Algorithm", same issue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets.physical.resonance import (
    SAMPLE_RATE,
    SAMPLES,
    Wave,
    delay_loop,
    low_pass,
    modes,
)


@dataclass(frozen=True)
class String:
    """A kind of string instrument.

    Args:
        lowest: Lowest pitch in hertz.
        highest: Highest pitch in hertz.
        sustain: Seconds in which a tone falls by 60 dB.
        body: Frequencies of the body's resonances in hertz.
        body_decay: Seconds in which they fall by 60 dB.
    """

    lowest: float
    highest: float
    sustain: float
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
    burst = low_pass(burst, way.brightness * frequency)
    # The wave from the pluck to the bridge returns upside down: every 1/position-th partial is
    # missing.
    shift = max(1, round(way.position * period))
    burst[shift:] -= burst[:-shift].copy()
    sustain = string.sustain * way.damping
    feedback = 10.0 ** (-3.0 * period / (SAMPLE_RATE * sustain))
    tone = delay_loop(burst, period, feedback, blend=0.5)
    return tone + 0.3 * _body(string, tone, random)


def _body(string: String, tone: Wave, random: np.random.Generator) -> Wave:
    resonances = np.array(string.body) * random.uniform(0.98, 1.02)
    ring = modes(resonances, np.ones(len(resonances)), np.full(len(resonances), string.body_decay))
    spectrum = np.fft.rfft(tone, 2 * SAMPLES) * np.fft.rfft(ring, 2 * SAMPLES)
    body: Wave = np.fft.irfft(spectrum)[:SAMPLES]
    loudness: float = np.abs(tone).max() / (np.abs(body).max() + 1e-12)
    return loudness * body
