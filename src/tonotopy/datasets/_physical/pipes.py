"""Blown pipes: a bore as a delay line, open or stopped, with a pulsing drive and turbulence.

J. O. Smith, "Physical Modeling using Digital Waveguides", Computer Music Journal 16(4), 1992;
N. Fletcher and T. Rossing, "The Physics of Musical Instruments", 2nd ed., chapters 8, 15 and 16.
The drive (jet or reed) is given its pitch; it does not find it by feedback from the bore.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets._physical.resonance import (
    SAMPLE_RATE,
    SAMPLES,
    Wave,
    attack_release,
    delay_loop,
    low_pass,
    time_axis,
)

REFLECTION = 0.95
"""Share of the pressure that the ends of the bore send back."""

OFFSET = 0.4
"""How far a jet is off the edge at rest: its pulses then have even partials too."""

RELEASE = 0.06
"""Seconds in which a tone dies away."""


@dataclass(frozen=True)
class Pipe:
    """A kind of pipe.

    Args:
        lowest: Lowest pitch in hertz.
        highest: Highest pitch in hertz.
        stopped: Closed at one end: odd partials only.
        breath: Share of turbulence in the drive.
        pulse: Sharpness of the drive; larger gives more upper partials.
        vibrato: Depth of pitch modulation, as a share of the pitch.
    """

    lowest: float
    highest: float
    stopped: bool
    breath: float
    pulse: float
    vibrato: float


@dataclass(frozen=True)
class Breath:
    """A way of blowing.

    Args:
        attack: Seconds of the onset.
        length: Seconds until the release.
        flutter: Rate of fluttering in hertz; 0 for none.
    """

    attack: float
    length: float
    flutter: float


def blow(pipe: Pipe, way: Breath, frequency: float, random: np.random.Generator) -> Wave:
    """Blow a pipe: pulses at its pitch and turbulent noise excite the bore."""
    time = time_axis()
    effort = random.uniform(0.7, 1.4)
    pitch = 1.0 + pipe.vibrato * np.sin(2 * np.pi * random.uniform(4.5, 6.0) * time)
    phase = 2 * np.pi * np.cumsum(frequency * pitch) / SAMPLE_RATE
    pulses = np.tanh(pipe.pulse * effort * (np.sin(phase) + OFFSET))
    turbulence = low_pass(random.standard_normal(SAMPLES), 4.0 * frequency)
    envelope = attack_release(way.attack, way.length * random.uniform(0.85, 1.0), RELEASE)
    if way.flutter:
        rate = way.flutter * random.uniform(0.8, 1.2)
        envelope = envelope * (0.6 + 0.4 * np.sin(2 * np.pi * rate * time))
    drive = envelope * (pulses - pulses.mean() + pipe.breath * turbulence)
    return delay_loop(drive, frequency, REFLECTION, inverting=pipe.stopped)
