"""Rolling element bearings: how often balls pass a defect, and the impacts that this gives.

R. B. Randall, "Vibration-based Condition Monitoring", 2nd ed., chapters 2 and 5; P. D. McFadden and
J. D. Smith, "Model for the vibration produced by a single point defect in a rolling element
bearing", 1984.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tonotopy.datasets._physical.resonance import (
    SAMPLE_RATE,
    Wave,
    modes,
    ring,
)
from tonotopy.datasets._physical.shafts import events, impulses

SLIP = 0.01
"""Standard deviation of the gap between two impacts over its mean: 1 to 2 % in practice."""

LOAD_ZONE = 0.4
"""Stribeck's load distribution factor: below 0.5, less than half of the race bears the load."""

RESPONSE = 0.03
"""Seconds of a casing's response that are computed."""


@dataclass(frozen=True)
class Bearing:
    """A ball bearing with a fixed outer ring, in a casing.

    Args:
        balls: Their number n.
        ball: Their diameter d in millimetres.
        pitch: Diameter D of the circle of their centres in millimetres.
        contact: Angle of contact in radians.
        resonances: Hertz of the casing's modes that an impact excites.
        decays: Seconds in which each falls by 60 dB.
    """

    balls: int
    ball: float
    pitch: float
    contact: float
    resonances: tuple[float, ...]
    decays: tuple[float, ...]

    @property
    def outer_order(self) -> float:
        """Balls that pass a point of the outer race in a turn, n/2 (1 - d/D cos phi): BPFO."""
        return self.balls / 2 * (1.0 - self.ball / self.pitch * float(np.cos(self.contact)))

    @property
    def inner_order(self) -> float:
        """Balls that pass a point of the inner race in a turn, n/2 (1 + d/D cos phi): BPFI."""
        return self.balls / 2 * (1.0 + self.ball / self.pitch * float(np.cos(self.contact)))

    @property
    def response(self) -> Wave:
        """The casing's response to an impact, of energy 1."""
        ringing = modes(self.resonances, 1.0, self.decays, round(RESPONSE * SAMPLE_RATE))
        response: Wave = ringing / np.sqrt((ringing**2).sum())
        return response


def load_zone(angles: Wave) -> Wave:
    """Give the load at angles in turns, (1 - (1 - cos) / (2 eps))^1.5, 0 outside of the zone."""
    share = 1.0 - (1.0 - np.cos(2 * np.pi * angles)) / (2 * LOAD_ZONE)
    load: Wave = np.maximum(share, 0.0) ** 1.5
    return load


def outer_race_impacts(bearing: Bearing, turns: Wave, random: np.random.Generator) -> Wave:
    """Hear a spall of the outer race, which stays in the load zone.

    Impacts follow the ball pass frequency of the outer race; the shaft modulates them a little.

    Args:
        bearing: The bearing.
        turns: (T,) of the shaft.
        random: Slip and the balls' differences.

    Returns:
        (T,) ringing of the casing, of a mean square near 1.
    """
    angles = events(turns, bearing.outer_order, random, jitter=SLIP)
    forces = random.uniform(0.7, 1.3, len(angles)) * (1.0 + 0.3 * np.sin(2 * np.pi * angles))
    return _ringing(bearing, impulses(turns, angles, forces), bearing.outer_order, turns)


def inner_race_impacts(bearing: Bearing, turns: Wave, random: np.random.Generator) -> Wave:
    """Hear a spall of the inner race, which goes through the load zone once in a turn.

    Impacts follow the ball pass frequency of the inner race; the load zone modulates them, which
    gives sidebands at the speed of the shaft.

    Args:
        bearing: The bearing.
        turns: (T,) of the shaft.
        random: Slip and the balls' differences.

    Returns:
        (T,) ringing of the casing; its mean square would be near 1 without the load zone.
    """
    angles = events(turns, bearing.inner_order, random, jitter=SLIP)
    forces = random.uniform(0.7, 1.3, len(angles)) * load_zone(angles)
    return _ringing(bearing, impulses(turns, angles, forces), bearing.inner_order, turns)


def _ringing(bearing: Bearing, train: Wave, order: float, turns: Wave) -> Wave:
    """Ring the casing, scaled so that steady impacts of force 1 have a mean square of 1."""
    rate = order * (turns[-1] - turns[0]) / len(turns)  # impacts a sample
    return ring(train, bearing.response) / float(np.sqrt(rate))
