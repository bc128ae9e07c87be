"""Where a machine stands: a room with a microphone, and a factory in the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets._physical.resonance import (
    NYQUIST,
    SAMPLE_RATE,
    Wave,
    harmonics,
    low_pass,
    modes,
    ring,
    time_axis,
)
from tonotopy.datasets._physical.shafts import fluctuation, shaft_turns

REFLECTIONS = 6
"""Walls that are heard one by one."""

ROOM_RESPONSE = 0.4
"""Seconds of a room's response that are computed."""

CLANG_RESPONSE = 0.3
"""Seconds of the ringing of what is hit that are computed."""


@dataclass(frozen=True)
class Factory:
    """The background of a hall.

    Args:
        cutoffs: Hertz above which its noise falls, lowest and highest of all clips.
        hum: Root mean square of mains hum, where that of the broadband noise is 1.
        neighbours: Root mean square of the machines next to this one.
        neighbour_speeds: Their turns a second, lowest and highest.
        clangs: Blows a second.
        clang_modes: Hertz, lowest and highest, of what is hit.
    """

    cutoffs: tuple[float, float]
    hum: float
    neighbours: float
    neighbour_speeds: tuple[float, float]
    clangs: float
    clang_modes: tuple[float, float]


FACTORIES = {
    "source": Factory((300.0, 1500.0), 0.3, 0.6, (15.0, 60.0), 1.0, (500.0, 3000.0)),
    "target": Factory((600.0, 2500.0), 0.1, 0.6, (40.0, 120.0), 2.0, (1500.0, 5000.0)),
}
"""By domain."""


def draw_place(random: np.random.Generator) -> Wave:
    """Draw the response of a room between a machine and a microphone; its energy is 1.

    The direct sound, `REFLECTIONS` of walls within 20 ms, a tail of noise that falls by 60 dB in
    0.2 to 0.6 s, and a microphone that is turned away and so hears high notes less.
    """
    samples = round(ROOM_RESPONSE * SAMPLE_RATE)
    response = np.zeros(samples)
    response[0] = 1.0
    delays = random.integers(16, 320, REFLECTIONS)
    signs = random.choice([-1.0, 1.0], REFLECTIONS)
    np.add.at(response, delays, signs * random.uniform(0.2, 0.6, REFLECTIONS))
    decay = 10.0 ** (-3.0 * time_axis(samples) / random.uniform(0.2, 0.6))
    response += random.uniform(0.01, 0.03) * random.standard_normal(samples) * decay
    turned = low_pass(response, random.uniform(1000.0, 4000.0))
    response = response + random.uniform(0.0, 2.0) * turned
    place: Wave = response / np.sqrt((response**2).sum())
    return place


def background(factory: Factory, samples: int, random: np.random.Generator) -> Wave:
    """Give the noise of a hall: broadband, mains hum, neighbouring machines and blows.

    Colour, neighbours and blows are drawn anew for every clip.
    """
    broadband = low_pass(
        random.standard_normal(samples), np.exp(random.uniform(*np.log(factory.cutoffs)))
    )
    broadband *= 1.0 + 0.15 * fluctuation(samples, 1.0, random).clip(-4.0, 4.0)
    noise: Wave = broadband / broadband.std()
    noise += factory.hum * _hum(samples, random)
    for _ in range(2):
        neighbour = _neighbour(factory.neighbour_speeds, samples, random)
        noise += factory.neighbours * random.uniform(0.3, 1.0) * neighbour
    noise += _clangs(factory, samples, random)
    return noise


def at_ratio(noise: Wave, wave: Wave, snr_db: float) -> Wave:
    """Scale `noise` so that 10 log10(power of `wave` / power of `noise`) is `snr_db`."""
    ratio = np.sqrt((wave**2).mean() / (noise**2).mean())
    scaled: Wave = noise * (ratio * 10.0 ** (-snr_db / 20.0))
    return scaled


def _hum(samples: int, random: np.random.Generator) -> Wave:
    """Give 50 Hz and its multiples, of mean square 1."""
    amplitudes = np.array([1.0, 1 / 2, 1 / 3, 1 / 4, 0.0, 1 / 6])
    hum = harmonics(50.0 * time_axis(samples), amplitudes, random.uniform(0.0, 2 * np.pi, 6))
    loud: Wave = hum / hum.std()
    return loud


def _neighbour(speeds: tuple[float, float], samples: int, random: np.random.Generator) -> Wave:
    """Give the tones of some machine at some speed, of mean square 1."""
    speed, passing = random.uniform(*speeds), int(random.integers(3, 20))
    turns = shaft_turns(speed, samples, random)
    number = np.arange(1, 6)
    amplitudes = np.where(1.05 * number * passing * speed < NYQUIST, 1.0 / number, 0.0)
    tones = harmonics(passing * turns, amplitudes, random.uniform(0.0, 2 * np.pi, 5))
    tones *= 1.0 + random.uniform(0.0, 0.5) * np.sin(2 * np.pi * turns)
    loud: Wave = tones / tones.std()
    return loud


def _clangs(factory: Factory, samples: int, random: np.random.Generator) -> Wave:
    """Hit metal now and then."""
    wave = np.zeros(samples)
    for _ in range(random.poisson(factory.clangs * samples / SAMPLE_RATE)):
        blow = np.zeros(samples)
        blow[random.integers(samples)] = random.uniform(0.5, 3.0)
        tones = random.uniform(*factory.clang_modes, 4)
        response = modes(tones, 0.5, random.uniform(0.05, 0.3), round(CLANG_RESPONSE * SAMPLE_RATE))
        wave += ring(blow, response)
    return wave
