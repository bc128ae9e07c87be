"""Struck membranes: circular modes, as a hand or stick at some radius excites them.

N. Fletcher and T. Rossing, "The Physics of Musical Instruments", 2nd ed., chapters 3 and 18;
C. V. Raman, "The Indian musical drums", Proc. Indian Academy of Sciences A1, 1934.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets._physical.resonance import (
    SAMPLES,
    Wave,
    low_pass,
    modes,
    peak,
    time_axis,
)


@dataclass(frozen=True)
class Mode:
    """A mode of a circular membrane.

    Args:
        diameters: Number of nodal diameters.
        circles: Number of nodal circles, the rim counted.
        ratio: Its frequency over that of the mode that gives the pitch.
    """

    diameters: int
    circles: int
    ratio: float


IDEAL = (
    Mode(0, 1, 1.0),
    Mode(1, 1, 1.593),
    Mode(2, 1, 2.136),
    Mode(0, 2, 2.295),
    Mode(3, 1, 2.653),
    Mode(1, 2, 2.917),
    Mode(4, 1, 3.155),
    Mode(2, 2, 3.500),
    Mode(0, 3, 3.598),
    Mode(5, 1, 3.647),
)
"""In a vacuum: zeros of Bessel functions over the first, 2.405 (the literature has also 1.594)."""

KETTLE = (
    Mode(0, 1, 0.85),
    Mode(1, 1, 1.0),
    Mode(2, 1, 1.5),
    Mode(3, 1, 1.99),
    Mode(4, 1, 2.44),
    Mode(5, 1, 2.89),
)
"""Over a kettle: the air's load makes the modes with one circle nearly harmonic."""

WEIGHTED = (
    Mode(0, 1, 1.0),
    Mode(1, 1, 2.0),
    Mode(2, 1, 3.0),
    Mode(0, 2, 3.0),
    Mode(3, 1, 4.0),
    Mode(1, 2, 4.0),
    Mode(4, 1, 5.0),
    Mode(0, 3, 5.0),
)
"""With a heavy patch in the middle: nine modes fall on five harmonics (Raman)."""

MISTUNING = 0.005
"""Each mode's frequency is off by up to this share: no skin is even."""

CONTACT = 0.003
"""Seconds in which the noise of the contact dies away."""


@dataclass(frozen=True)
class Drum:
    """A kind of drum.

    Args:
        lowest: Lowest pitch in hertz.
        highest: Highest pitch in hertz.
        modes: Of its membrane.
        sustain: Seconds in which the mode of the pitch falls by 60 dB.
        slope: How much faster upper modes decay: by ratio ** slope.
        radiation: Factor on the decay of modes without a nodal diameter, which push air at once and
            so ring shorter.
        snares: Level of the snares' noise; 0 for a drum without.
    """

    lowest: float
    highest: float
    modes: tuple[Mode, ...]
    sustain: float
    slope: float
    radiation: float
    snares: float = 0.0


@dataclass(frozen=True)
class Stroke:
    """A way of striking.

    Args:
        radius: Where: 0 the centre, 1 the rim.
        hardness: Highest frequency that is excited, as a multiple of the pitch.
        damping: Factor on the sustain: less than 1 is a hand on the skin.
    """

    radius: float
    hardness: float
    damping: float


def strike_drum(drum: Drum, way: Stroke, frequency: float, random: np.random.Generator) -> Wave:
    """Strike a membrane: a short blow sets its modes ringing, and the snares with them."""
    ratios = np.array([mode.ratio for mode in drum.modes])
    mistuned = ratios * (1.0 + MISTUNING * random.uniform(-1, 1, len(ratios)))
    hardness = way.hardness * random.uniform(0.7, 1.4)
    radius = min(0.97, max(0.0, way.radius + random.uniform(-0.06, 0.06)))
    amplitudes = np.abs(mode_shape(drum.modes, radius)) / (1.0 + (ratios / hardness) ** 2)
    sustain = drum.sustain * way.damping * random.uniform(0.8, 1.2)
    radiation = np.array([1.0 if mode.diameters else drum.radiation for mode in drum.modes])
    tone = modes(frequency * mistuned, amplitudes, sustain * radiation / ratios**drum.slope)
    blow = low_pass(random.standard_normal(SAMPLES), hardness * frequency)
    tone = tone / peak(tone) + 0.3 * blow * np.exp(-time_axis() / CONTACT)
    if drum.snares:
        noise = random.standard_normal(SAMPLES)
        rattle = noise - low_pass(noise, 1000.0)
        tone = tone + drum.snares * rattle * 10.0 ** (-3.0 * time_axis() / sustain)
    return tone


def mode_shape(membrane: tuple[Mode, ...], radius: float) -> Wave:
    """Displacement of each mode at a radius: J_m(j_mn r), j_mn the n-th zero of J_m.

    Args:
        membrane: Its modes.
        radius: 0 the centre, 1 the rim.

    Returns:
        One value a mode, from -1 to 1.
    """
    from scipy.special import jn_zeros, jv

    zeros = [jn_zeros(mode.diameters, mode.circles)[-1] for mode in membrane]
    shape: Wave = jv([mode.diameters for mode in membrane], np.array(zeros) * radius)
    return shape
