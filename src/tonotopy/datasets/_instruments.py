"""The instruments of the synthetic corpus, and how each is played."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tonotopy.datasets._physical.bars import UNDERCUT, UNIFORM, Bar, Mallet, strike_bar
from tonotopy.datasets._physical.machines import Machine, Operation, run_machine
from tonotopy.datasets._physical.membranes import (
    IDEAL,
    KETTLE,
    WEIGHTED,
    Drum,
    Stroke,
    strike_drum,
)
from tonotopy.datasets._physical.pipes import Breath, Pipe, blow
from tonotopy.datasets._physical.resonance import Wave
from tonotopy.datasets._physical.strings import Pluck, String, pluck

LATEST_ONSET = 0.08
"""Seconds; machines run already when a clip begins."""


@dataclass(frozen=True)
class Leaf:
    """A way of playing an instrument.

    Args:
        play: Pitch in hertz (or speed in turns a second) and random numbers to one second of sound.
        lowest: Lowest pitch or speed.
        highest: Highest pitch or speed.
        delay: Latest onset in seconds.
    """

    play: Callable[[float, np.random.Generator], Wave]
    lowest: float
    highest: float
    delay: float = LATEST_ONSET


PLUCKS = {
    "near bridge": Pluck(position=0.06, brightness=12.0, damping=1.0),
    "soft": Pluck(position=0.4, brightness=3.0, damping=1.0),
    "muted": Pluck(position=0.2, brightness=5.0, damping=0.12),
}
STRINGS = {
    "guitar": String(82.0, 330.0, 3.0, 0.3, 0.15, (100.0, 205.0, 400.0), 0.15),
    "harp": String(110.0, 600.0, 6.0, 0.15, 0.0, (160.0, 320.0), 0.3),
    "banjo": String(130.0, 520.0, 0.8, 0.4, 0.3, (500.0, 900.0, 1400.0), 0.05),
}

LEGATO = Breath(attack=0.08, length=0.9, flutter=0.0)
STACCATO = Breath(attack=0.02, length=0.2, flutter=0.0)
FLUTTER = Breath(attack=0.08, length=0.9, flutter=22.0)
WIND = {"legato": LEGATO, "staccato": STACCATO, "flutter": FLUTTER}
ORGAN = {"legato": LEGATO, "staccato": STACCATO}
PIPES = {
    "flute": (Pipe(262.0, 780.0, stopped=False, breath=0.6, pulse=0.7, vibrato=0.01), WIND),
    "clarinet": (Pipe(147.0, 600.0, stopped=True, breath=0.08, pulse=4.0, vibrato=0.0), WIND),
    "organ pipe": (Pipe(98.0, 500.0, stopped=False, breath=0.15, pulse=2.5, vibrato=0.0), ORGAN),
}

MALLETS = {
    "hard mallet": Mallet(hardness=12.0, damping=1.0),
    "soft mallet": Mallet(hardness=1.5, damping=1.0),
    "damped": Mallet(hardness=6.0, damping=0.1),
}
BARS = {
    "glockenspiel": Bar(780.0, 2000.0, UNIFORM, 3.0, 0.8),
    "marimba": Bar(130.0, 700.0, UNDERCUT, 0.9, 1.2),
    "tubular bell": Bar(220.0, 800.0, UNIFORM, 5.0, 0.5),
}

STROKES = {
    "centre": Stroke(radius=0.08, hardness=5.0, damping=1.0),
    "edge": Stroke(radius=0.8, hardness=8.0, damping=1.0),
    "choked": Stroke(radius=0.4, hardness=5.0, damping=0.2),
}
MEMBRANES = {
    "timpani": Drum(80.0, 180.0, KETTLE, 1.8, 0.6, radiation=0.3),
    "snare drum": Drum(170.0, 260.0, IDEAL, 0.4, 0.5, radiation=0.6, snares=0.5),
    "tabla": Drum(220.0, 420.0, WEIGHTED, 0.9, 0.7, radiation=1.0),
}

OPERATIONS = {
    "steady": Operation(run_up=1.0, load=1.0),
    "run-up": Operation(run_up=1.9, load=1.0),
    "under load": Operation(run_up=1.0, load=2.5),
}
MACHINES = {
    "fan": Machine(18.0, 30.0, 5, 4, 1.2, 0.05, 0.8, 900.0, 0.05, 7, 3000.0),
    "pump": Machine(20.0, 28.0, 7, 10, 0.8, 0.25, 0.35, 2500.0, 0.3, 8, 2000.0),
    "gearbox": Machine(14.0, 24.0, 31, 6, 0.5, 0.35, 0.15, 4000.0, 0.6, 9, 4500.0),
}


def corpus_leaves() -> dict[tuple[str, str, str], Leaf]:
    """Give every way of playing by its label (family, instrument, way)."""
    leaves: dict[tuple[str, str, str], Leaf] = {}
    for name, string in STRINGS.items():
        for way, plucking in PLUCKS.items():
            play = partial(pluck, string, plucking)
            leaves["plucked strings", name, way] = Leaf(play, string.lowest, string.highest)
    for name, (pipe, breaths) in PIPES.items():
        for way, breath in breaths.items():
            play = partial(blow, pipe, breath)
            leaves["blown pipes", name, way] = Leaf(play, pipe.lowest, pipe.highest)
    for name, bar in BARS.items():
        for way, mallet in MALLETS.items():
            play = partial(strike_bar, bar, mallet)
            leaves["struck bars", name, way] = Leaf(play, bar.lowest, bar.highest)
    for name, drum in MEMBRANES.items():
        for way, stroke in STROKES.items():
            play = partial(strike_drum, drum, stroke)
            leaves["struck membranes", name, way] = Leaf(play, drum.lowest, drum.highest)
    for name, machine in MACHINES.items():
        for way, operation in OPERATIONS.items():
            play = partial(run_machine, machine, operation)
            leaves["rotating machines", name, way] = Leaf(
                play, machine.slowest, machine.fastest, delay=0.0
            )
    return leaves
