"""Struck bars: modes of a bar with free ends, as a mallet at some place excites them.

N. Fletcher and T. Rossing, "The Physics of Musical Instruments", 2nd ed., sections 2.14 to 2.16
and chapter 19.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tonotopy.datasets._physical.resonance import (
    SAMPLES,
    Wave,
    low_pass,
    modes,
    time_axis,
)

WAVE_NUMBERS = np.array([4.730041, 7.853205, 10.995608, 14.137165, 17.278760])
"""Times the length: the roots of cosh(k) cos(k) = 1."""

UNIFORM = tuple((WAVE_NUMBERS / WAVE_NUMBERS[0]) ** 2)
"""Mode frequencies of a uniform bar over the lowest: 1, 2.756, 5.404, 8.933, 13.34."""

UNDERCUT = (1.0, 4.0, 9.2, 16.0, 24.0)
"""The same of a marimba's bar, which is thinner in the middle so that its overtones fit."""

MISTUNING = 0.003
"""Each mode's frequency is off by up to this share: no two bars are alike."""

CONTACT = 0.002
"""Seconds in which the noise of the mallet's contact dies away."""


@dataclass(frozen=True)
class Bar:
    """A kind of bar instrument.

    Args:
        lowest: Lowest pitch in hertz.
        highest: Highest pitch in hertz.
        ratios: Frequencies of its five lowest modes over the lowest.
        sustain: Seconds in which the lowest mode falls by 60 dB.
        slope: How much faster upper modes decay: by ratio ** slope.
    """

    lowest: float
    highest: float
    ratios: tuple[float, ...]
    sustain: float
    slope: float


@dataclass(frozen=True)
class Mallet:
    """A way of striking.

    Args:
        hardness: Highest frequency that the mallet excites, as a multiple of the lowest mode.
        damping: Factor on the sustain: 1 lets the bar ring, less is a hand on it.
    """

    hardness: float
    damping: float


def strike_bar(bar: Bar, way: Mallet, frequency: float, random: np.random.Generator) -> Wave:
    """Strike a bar somewhere near its middle: a short blow sets its modes ringing."""
    ratios = np.array(bar.ratios)
    mistuned = ratios * (1.0 + MISTUNING * random.uniform(-1, 1, len(ratios)))
    hardness = way.hardness * random.uniform(0.7, 1.4)
    shape = free_bar_shape(random.uniform(0.3, 0.45))
    amplitudes = np.abs(shape) / (1.0 + (ratios / hardness) ** 2)
    decays = bar.sustain * way.damping * random.uniform(0.8, 1.2) / ratios**bar.slope
    tone = modes(frequency * mistuned, amplitudes, decays)
    knock = low_pass(random.standard_normal(SAMPLES), hardness * frequency)
    return tone + 0.3 * knock * np.exp(-time_axis() / CONTACT)


def free_bar_shape(place: float) -> NDArray[np.float64]:
    """Displacement of a uniform free bar's modes.

    φ(x) = cosh kx + cos kx - σ (sinh kx + sin kx), σ = (cosh k - cos k) / (sinh k - sin k), with
    lengths in units of the bar's; divided by its value at the end, 2.

    Args:
        place: Along the bar, 0 and 1 are its ends.

    Returns:
        (5,), from -1 to 1.
    """
    k = WAVE_NUMBERS
    ratio = (np.cosh(k) - np.cos(k)) / (np.sinh(k) - np.sin(k))
    x = k * place
    shape: NDArray[np.float64] = np.cosh(x) + np.cos(x) - ratio * (np.sinh(x) + np.sin(x))
    return shape / 2.0
