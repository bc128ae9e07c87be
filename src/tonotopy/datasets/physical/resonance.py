"""What all models share: sums of decaying modes, feedback delay lines, envelopes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float64]

SAMPLE_RATE = 16000
SECONDS = 1.0
SAMPLES = round(SAMPLE_RATE * SECONDS)
NYQUIST = SAMPLE_RATE / 2


def time_axis() -> Wave:
    """Seconds of every sample of a clip."""
    return np.arange(SAMPLES) / SAMPLE_RATE


def modes(frequencies: Wave, amplitudes: Wave, decays: Wave) -> Wave:
    """Add up damped sinusoids; those above half the sample rate are left out.

    Args:
        frequencies: Hertz of each mode.
        amplitudes: Of each mode.
        decays: Seconds in which each falls by 60 dB.
    """
    heard = frequencies < NYQUIST
    time = time_axis()
    damping = np.log(1000.0) / decays[heard, None]
    partials = np.sin(2 * np.pi * frequencies[heard, None] * time) * np.exp(-damping * time)
    summed: Wave = amplitudes[heard] @ partials
    return summed


def delay_loop(drive: Wave, delay: float, feedback: float, blend: float) -> Wave:
    """Send a signal round a delay line whose end averages two samples.

    The averaging makes the loop `blend` samples longer and its upper partials decay faster.

    Args:
        drive: What goes in.
        delay: Length of the whole loop in samples, not necessarily an integer; above 2.
        feedback: What comes back; negative for a line with one closed and one open end.
        blend: Weight of the older of the two samples, 0 to 1.
    """
    from scipy.signal import lfilter

    whole = int(delay - blend)
    blend = min(1.0, delay - whole)  # the remainder tunes the loop
    denominator = np.zeros(whole + 2)
    denominator[0] = 1.0
    denominator[whole] = -feedback * (1.0 - blend)
    denominator[whole + 1] = -feedback * blend
    looped: Wave = lfilter([1.0], denominator, drive)
    return looped


def low_pass(wave: Wave, cutoff: float) -> Wave:
    """Damp what lies above `cutoff` hertz by 6 dB an octave."""
    from scipy.signal import lfilter

    keep = float(np.exp(-2 * np.pi * min(cutoff, 0.45 * SAMPLE_RATE) / SAMPLE_RATE))
    filtered: Wave = lfilter([1.0 - keep], [1.0, -keep], wave)
    return filtered


def attack_release(attack: float, length: float, release: float) -> Wave:
    """Rise in `attack` seconds, hold until `length`, fall in `release` seconds."""
    time = time_axis()
    rise = np.clip(time / attack, 0.0, 1.0)
    fall = np.clip((length + release - time) / release, 0.0, 1.0)
    envelope: Wave = np.minimum(rise, fall) ** 1.5
    return envelope
