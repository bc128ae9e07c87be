"""Blown pipes: a bore as a delay line, driven by a jet or a reed, with turbulence.

J. O. Smith, "Physical Modeling using Digital Waveguides", Computer Music Journal 16(4), 1992;
N. Fletcher and T. Rossing, "The Physics of Musical Instruments", 2nd ed., chapters 8, 15 and 16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets.physical.resonance import (
    SAMPLE_RATE,
    SAMPLES,
    Wave,
    attack_release,
    delay_loop,
    low_pass,
    time_axis,
)


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
    wobble = pipe.vibrato * np.sin(2 * np.pi * random.uniform(4.5, 6.0) * time) / 6.0
    phase = 2 * np.pi * frequency * (time + wobble / (2 * np.pi))
    jet = np.tanh(pipe.pulse * np.sin(phase))
    noise = low_pass(random.standard_normal(SAMPLES), 4.0 * frequency)
    envelope = attack_release(way.attack, way.length, 0.06)
    if way.flutter:
        envelope = envelope * (0.6 + 0.4 * np.sin(2 * np.pi * way.flutter * time))
    drive = envelope * (jet + pipe.breath * noise)
    # A stopped pipe is a quarter wavelength long: half the delay, and the wave returns inverted.
    period = SAMPLE_RATE / frequency
    delay, feedback = (period / 2, -0.95) if pipe.stopped else (period, 0.95)
    return delay_loop(drive, delay, feedback, blend=0.5)
