"""Shafts and belts: the turning angle as a function of time, and what happens once in a turn.

R. B. Randall, "Vibration-based Condition Monitoring", 2nd ed., chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets._physical.resonance import SAMPLE_RATE, Wave, low_pass

WANDER = 0.002
"""Standard deviation of the relative speed of a shaft."""

WANDER_CUTOFF = 1.0
"""Hertz above which the speed no longer follows what disturbs it: rotors are heavy."""

BELT_RIPPLE = 0.001
"""Relative speed that the splice of a sound belt takes and gives, once round."""


@dataclass(frozen=True)
class Belt:
    """A belt between a motor and what it drives.

    Args:
        pulley: Diameter of the motor's pulley in metres.
        ratio: Speed of the driven shaft over that of the motor.
        length: Of the belt, in metres.
    """

    pulley: float
    ratio: float
    length: float

    @property
    def order(self) -> float:
        """Rounds of the belt in a turn of the motor, pi d / L: its speed is that of the rim."""
        return float(np.pi * self.pulley / self.length)

    def drive(self, turns: Wave, *, slip: float = 0.0, ripple: float = 0.0) -> Wave:
        """Turn the driven shaft: ratio (1 - slip) (1 + r sin(2 pi b)) times the motor's speed.

        b are the rounds of the belt, r its ripple. The formula is integrated over the turns.

        Args:
            turns: (T,) of the motor.
            slip: Share of the speed that is lost between belt and pulley.
            ripple: Of the relative speed, added to `BELT_RIPPLE`.

        Returns:
            (T,) turns of the driven shaft.
        """
        depth = BELT_RIPPLE + ripple
        rounds = self.order * turns
        wave = depth * (1.0 - np.cos(2 * np.pi * rounds)) / (2 * np.pi * self.order)
        driven: Wave = self.ratio * (1.0 - slip) * (turns + wave)
        return driven


def shaft_turns(speed: float, samples: int, random: np.random.Generator) -> Wave:
    """Turn a shaft whose speed wanders slowly around `speed` turns a second.

    Returns:
        (samples,) turns since some moment before the first sample, increasing.
    """
    course = 1.0 + WANDER * fluctuation(samples, WANDER_CUTOFF, random).clip(-4.0, 4.0)
    turns: Wave = np.cumsum(speed * course) / SAMPLE_RATE + random.uniform()
    return turns


def fluctuation(samples: int, cutoff: float, random: np.random.Generator) -> Wave:
    """Give low-passed noise of standard deviation 1, for what varies slowly."""
    keep = np.exp(-2 * np.pi * cutoff / SAMPLE_RATE)
    noise = low_pass(random.standard_normal(samples), cutoff)
    noise /= np.sqrt((1.0 - keep) / (1.0 + keep))  # of such a filter, in the steady state
    return noise


def events(turns: Wave, order: float, random: np.random.Generator, *, jitter: float = 0.0) -> Wave:
    """Give the angles of what happens `order` times in a turn, with gaps that vary by `jitter`.

    Errors of the gaps add up, as the slip of rolling elements does (Randall and Antoni, "Rolling
    element bearing diagnostics - A tutorial", 2011, section 2).

    Args:
        turns: (T,) increasing.
        order: Events in a turn.
        random: Places the first and draws the gaps.
        jitter: Standard deviation of a gap over its mean.

    Returns:
        (K,) angles in turns, all between the first and the last of `turns`.
    """
    expected = int((turns[-1] - turns[0]) * order)
    gaps = 1.0 + jitter * random.standard_normal(2 * expected + 8).clip(-4.0, 4.0)
    angles: Wave = turns[0] + (random.uniform() - 1.0 + np.cumsum(gaps)) / order
    inside: Wave = angles[(angles > turns[0]) & (angles < turns[-1])]
    return inside


def impulses(turns: Wave, angles: Wave, forces: Wave) -> Wave:
    """Put an impulse of each force where the shaft passes the angle.

    Args:
        turns: (T,) increasing.
        angles: (K,) in turns; those before or after the clip are left out.
        forces: (K,).

    Returns:
        (T,) sum of impulses.
    """
    inside = (angles > turns[0]) & (angles <= turns[-1])
    train = np.zeros(len(turns))
    np.add.at(train, np.searchsorted(turns, angles[inside]), forces[inside])
    return train
