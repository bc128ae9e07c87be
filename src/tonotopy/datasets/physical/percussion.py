"""Struck bars and membranes: sums of modes whose ratios follow from the wave equation.

N. Fletcher and T. Rossing, "The Physics of Musical Instruments", 2nd ed., chapters 2, 3, 18, 19.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets.physical.resonance import (
    SAMPLES,
    Wave,
    attack_release,
    low_pass,
    modes,
    time_axis,
)

FREE_BAR = (1.0, 2.756, 5.404, 8.933, 13.34)
"""Modes of a uniform bar with free ends: (2n + 1)², with 3.011 for the first."""

MARIMBA_BAR = (1.0, 4.0, 10.0, 18.0)
"""A bar that is undercut so that its overtones are consonant."""

MEMBRANE = (1.0, 1.594, 2.136, 2.296, 2.653, 2.918, 3.156, 3.501, 3.600, 4.060)
"""Modes of an ideal circular membrane: zeros of Bessel functions over the first, 2.405."""

KETTLE = (1.0, 1.504, 1.742, 2.0, 2.245, 2.494, 2.8)
"""A membrane over a kettle: the air's load makes its main modes nearly harmonic."""

LOADED_MEMBRANE = (1.0, 2.0, 3.0, 4.0, 5.0)
"""A membrane with a heavy patch: harmonic (C. V. Raman, 1934)."""

MARGIN = 0.02
"""Spread of a mode's frequency: no two instruments are alike."""


@dataclass(frozen=True)
class Struck:
    """A kind of struck instrument.

    Args:
        lowest: Lowest pitch in hertz.
        highest: Highest pitch in hertz.
        ratios: Frequencies of its modes over the lowest.
        sustain: Seconds in which the lowest mode falls by 60 dB.
        slope: How much faster upper modes decay: as ratio ** slope.
        rattle: Share of noise from snares; 0 for none.
    """

    lowest: float
    highest: float
    ratios: tuple[float, ...]
    sustain: float
    slope: float
    rattle: float = 0.0


@dataclass(frozen=True)
class Stroke:
    """A way of striking.

    Args:
        hardness: Cut-off of the mallet, as a multiple of the lowest mode.
        position: Where: 0 the centre, 1 the edge.
        damping: Factor on the sustain.
    """

    hardness: float
    position: float
    damping: float


def strike(thing: Struck, way: Stroke, frequency: float, random: np.random.Generator) -> Wave:
    """Strike a bar or membrane: a short blow sets its modes ringing."""
    ratios = np.array(thing.ratios) * (1.0 + MARGIN * random.uniform(-1, 1, len(thing.ratios)))
    ratios[0] = 1.0
    order = np.arange(len(ratios))
    # A blow at the centre sets the lowest mode ringing, one at the edge the others.
    shape = np.abs(np.cos(np.pi * order * (1.0 - way.position) / 2.0)) * 0.9 + 0.1
    amplitudes = shape / (1.0 + (ratios / way.hardness) ** 2)
    decays = thing.sustain * way.damping / ratios**thing.slope
    tone = modes(frequency * ratios, amplitudes, decays)
    click = low_pass(random.standard_normal(SAMPLES), way.hardness * frequency)
    tone = tone + 0.5 * click * np.exp(-time_axis() / 0.002)
    if thing.rattle:
        snares = random.standard_normal(SAMPLES) - low_pass(random.standard_normal(SAMPLES), 800.0)
        tone = tone + thing.rattle * snares * attack_release(0.002, 0.05, 0.25 * way.damping)
    return tone
