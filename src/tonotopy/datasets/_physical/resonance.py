"""What all models share: sums of decaying modes, delay lines with feedback, filters, envelopes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Wave = NDArray[np.float64]

SAMPLE_RATE = 16000
SECONDS = 1.0
SAMPLES = round(SAMPLE_RATE * SECONDS)
NYQUIST = SAMPLE_RATE / 2

DISPERSIVE_SECTIONS = 4
"""All-pass filters in series that make a string stiff."""


def time_axis(samples: int = SAMPLES) -> Wave:
    """Seconds of every sample of a clip."""
    return np.arange(samples) / SAMPLE_RATE


def modes(
    frequencies: ArrayLike, amplitudes: ArrayLike, decays: ArrayLike, samples: int = SAMPLES
) -> Wave:
    """Add up damped sinusoids; those above half the sample rate are left out.

    Args:
        frequencies: Hertz of each mode.
        amplitudes: Of each mode.
        decays: Seconds in which each falls by 60 dB.
        samples: Length of the sum.
    """
    frequencies, amplitudes, decays = np.broadcast_arrays(frequencies, amplitudes, decays)
    heard = frequencies < NYQUIST
    rates = 2j * np.pi * frequencies[heard] - np.log(1000.0) / decays[heard]
    partials = np.exp(rates[:, None] * time_axis(samples)).imag
    summed: Wave = (amplitudes[heard, None] * partials).sum(axis=0)
    return summed


def harmonics(turns: Wave, amplitudes: ArrayLike, phases: ArrayLike) -> Wave:
    """Add up a_n sin(2 pi n turns + phi_n), n = 1, 2, ..., as a polynomial of e^(2 pi i turns).

    Args:
        turns: (T,) of whatever the first goes round with.
        amplitudes: a_1, a_2, ...
        phases: phi_1, phi_2, ..., in radians.
    """
    once = np.exp(2j * np.pi * turns)
    coefficients = np.asarray(amplitudes) * np.exp(1j * np.asarray(phases))
    total = np.zeros(len(turns), complex)
    for coefficient in coefficients[::-1]:
        total += coefficient
        total *= once
    summed: Wave = total.imag
    return summed


def delay_loop(
    drive: Wave,
    frequency: float,
    feedback: float,
    *,
    averaging: float = 0.5,
    stiffness: float = 0.0,
    inverting: bool = False,
) -> Wave:
    """Send a signal round a delay line with losses, tuned to resonate at `frequency`.

    One round is: a delay of whole samples; a weighted mean of two samples, by which upper partials
    decay faster; all-pass filters that let them run ahead, as in a stiff string; an all-pass filter
    for the rest of a sample. (Karplus and Strong 1983; Jaffe and Smith 1983, sections 2 and 4.)

    Args:
        drive: What goes in.
        frequency: Hertz of the lowest resonance; at most a twentieth of the sample rate.
        feedback: Share of the amplitude that comes back each round, below 1.
        averaging: Weight of the older sample, 0 (no loss) to 0.5 (most).
        stiffness: 0 (partials are harmonic) to 0.5 (they are sharp).
        inverting: The wave comes back upside down, as in a pipe with one closed and one open end:
            the line is half as long, and only odd partials resonate.
    """
    from scipy.signal import lfilter

    omega = 2 * np.pi * frequency / SAMPLE_RATE
    length = SAMPLE_RATE / frequency / (2 if inverting else 1)
    loss = np.array([1.0 - averaging, averaging])
    ahead, behind = np.ones(1), np.ones(1)
    for _ in range(DISPERSIVE_SECTIONS if stiffness else 0):
        ahead, behind = (
            np.convolve(ahead, [-stiffness, 1.0]),
            np.convolve(behind, [1.0, -stiffness]),
        )
    length -= _phase_delay(loss, np.ones(1), omega) + _phase_delay(ahead, behind, omega)
    whole = int(length - 0.5)  # leaves 0.5 to 1.5 samples, where the all-pass is flattest
    rest = length - whole
    tuning = np.sin((1.0 - rest) * omega / 2) / np.sin((1.0 + rest) * omega / 2)

    numerator = np.convolve(np.convolve(loss, ahead), [tuning, 1.0])
    denominator = np.convolve(behind, [1.0, tuning])
    loop = np.zeros(whole + len(numerator))
    loop[whole:] = (-feedback if inverting else feedback) * numerator
    recursion = -loop
    recursion[: len(denominator)] += denominator
    looped: Wave = lfilter(denominator, recursion, drive)
    return looped


def low_pass(wave: Wave, cutoff: float) -> Wave:
    """Damp what lies above `cutoff` hertz by 6 dB an octave."""
    from scipy.signal import lfilter

    keep = np.exp(-2 * np.pi * min(cutoff, 0.45 * SAMPLE_RATE) / SAMPLE_RATE)
    filtered: Wave = lfilter([1.0 - keep], [1.0, -keep], wave)
    return filtered


def peak(wave: Wave) -> float:
    """Largest absolute value."""
    return float(np.abs(wave).max())


def convolve(wave: Wave, response: Wave) -> Wave:
    """Pass a wave through a linear system; what rings beyond the clip is cut."""
    from scipy.fft import next_fast_len

    length = next_fast_len(len(wave) + len(response) - 1, real=True)
    spectrum = np.fft.rfft(wave, length) * np.fft.rfft(response, length)
    passed: Wave = np.fft.irfft(spectrum, length)[: len(wave)]
    return passed


def ring(train: Wave, response: Wave) -> Wave:
    """Do as `convolve` for a wave of a few impulses, and faster."""
    samples = len(train)
    wave = np.zeros(samples)
    for at in np.flatnonzero(train):
        wave[at : at + len(response)] += train[at] * response[: samples - at]
    return wave


def attack_release(attack: float, length: float, release: float) -> Wave:
    """Rise in `attack` seconds, hold until `length`, fall in `release` seconds."""
    time = time_axis()
    rise = np.clip(time / attack, 0.0, 1.0)
    fall = np.clip((length + release - time) / release, 0.0, 1.0)
    envelope: Wave = np.minimum(rise, fall) ** 1.5
    return envelope


def _phase_delay(numerator: Wave, denominator: Wave, omega: float) -> float:
    """Samples by which a filter delays a sinusoid of `omega` radians a sample."""
    shift = np.exp(-1j * omega * np.arange(max(len(numerator), len(denominator))))
    response = (numerator @ shift[: len(numerator)]) / (denominator @ shift[: len(denominator)])
    return float(-np.angle(response) / omega)
