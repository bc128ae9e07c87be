"""A corpus of synthetic sounds, made by physical modelling: families > instruments > ways."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from tonotopy._files import atomic_path, write_text
from tonotopy._progress import track
from tonotopy.datasets.physical.machines import Machine, Operation, rotate
from tonotopy.datasets.physical.percussion import (
    FREE_BAR,
    KETTLE,
    LOADED_MEMBRANE,
    MARIMBA_BAR,
    MEMBRANE,
    Stroke,
    Struck,
    strike,
)
from tonotopy.datasets.physical.pipes import Breath, Pipe, blow
from tonotopy.datasets.physical.resonance import SAMPLE_RATE, SAMPLES, Wave
from tonotopy.datasets.physical.strings import Pluck, String, pluck

Player = Callable[[float, np.random.Generator], Wave]

PLUCKS = {
    "bridge": Pluck(0.06, 12.0, 1.0),
    "soft": Pluck(0.4, 3.0, 1.0),
    "muted": Pluck(0.2, 5.0, 0.12),
}
STRINGS = {
    "guitar": String(82.0, 330.0, 3.0, (100.0, 205.0, 400.0), 0.15),
    "harp": String(130.0, 700.0, 6.0, (160.0, 320.0), 0.3),
    "banjo": String(150.0, 600.0, 0.7, (500.0, 900.0, 1400.0), 0.05),
}
BREATHS = {
    "steady": Breath(0.08, 0.9, 0.0),
    "staccato": Breath(0.02, 0.18, 0.0),
    "fluttered": Breath(0.08, 0.9, 22.0),
}
PIPES = {
    "flute": Pipe(262.0, 1000.0, stopped=False, breath=0.6, pulse=0.7, vibrato=0.01),
    "clarinet": Pipe(147.0, 600.0, stopped=True, breath=0.08, pulse=4.0, vibrato=0.0),
    "organ pipe": Pipe(98.0, 500.0, stopped=False, breath=0.15, pulse=2.5, vibrato=0.0),
}
MALLETS = {
    "hard": Stroke(12.0, 0.2, 1.0),
    "soft": Stroke(1.5, 0.2, 1.0),
    "damped": Stroke(6.0, 0.2, 0.1),
}
BARS = {
    "marimba": Struck(130.0, 700.0, MARIMBA_BAR, 0.9, 1.2),
    "glockenspiel": Struck(800.0, 2100.0, FREE_BAR, 3.0, 0.8),
    "steel bar": Struck(220.0, 800.0, FREE_BAR, 4.0, 0.5),
}
HANDS = {
    "centre": Stroke(5.0, 0.05, 1.0),
    "edge": Stroke(9.0, 0.9, 0.7),
    "choked": Stroke(5.0, 0.4, 0.15),
}
MEMBRANES = {
    "timpani": Struck(80.0, 180.0, KETTLE, 1.8, 0.6),
    "snare drum": Struck(170.0, 260.0, MEMBRANE, 0.35, 0.7, rattle=0.8),
    "tabla": Struck(220.0, 420.0, LOADED_MEMBRANE, 0.8, 0.7),
}
OPERATIONS = {
    "steady": Operation(1.0, 1.0),
    "run-up": Operation(1.9, 1.0),
    "under load": Operation(1.0, 2.2),
}
MACHINES = {
    "fan": Machine(18.0, 30.0, 5, 4, 1.2, 0.05, 0.8, 900.0),
    "pump": Machine(20.0, 28.0, 7, 10, 0.8, 0.25, 0.35, 2500.0),
    "gearbox": Machine(14.0, 24.0, 31, 6, 0.5, 0.5, 0.12, 4000.0),
}

README = """\
These sounds are synthetic. They are no recordings of anything; they were computed from simple
physical models, to show what tonotopy does where no data is at hand.

plucked strings    a delay line with a lossy end (Karplus and Strong, 1983) and a resonant body
blown pipes        an open or stopped bore as a delay line, driven by a jet and by turbulence
struck bars        modes of bars with free ends, plain or undercut (Fletcher and Rossing, 1998)
struck membranes   modes of an ideal, an air-loaded and a weighted membrane
rotating machines  orders of the speed of rotation with sidebands, and flow noise (Randall, 2021)

Folders are family/instrument/way of playing. Pitch or speed, level, onset and background noise
vary from clip to clip. 16 kHz, mono, 16 bit, one second each.
"""


def make_corpus(folder: Path | str, *, clips_per_leaf: int = 12, seed: int = 0) -> Path:
    """Write the corpus as nested folders of WAV files; those that exist are kept.

    Args:
        folder: Where; made when needed.
        clips_per_leaf: Clips of each of the 45 ways of playing.
        seed: Start of all random numbers; the same seed gives the same files, bit for bit.

    Returns:
        `folder`.

    Raises:
        DataError: The disk refuses.
    """
    folder = Path(folder)
    write_text(folder / "README.txt", README)
    planned = [
        (label, player, span, number)
        for label, (player, span) in corpus_leaves().items()
        for number in range(clips_per_leaf)
    ]
    for label, player, span, number in track(planned, label="Synthesising", total=len(planned)):
        target = folder.joinpath(*label) / f"{number:03d}.wav"
        if not target.exists():
            random = np.random.default_rng([seed, zlib.crc32("/".join(label).encode()), number])
            _write(target, perform(player, span, random))
    return folder


def corpus_leaves() -> dict[tuple[str, str, str], tuple[Player, tuple[float, float]]]:
    """Give each label (family, instrument, way) its player and its range of pitch or speed."""
    leaves: dict[tuple[str, str, str], tuple[Player, tuple[float, float]]] = {}
    for name, string in STRINGS.items():
        for way, plucking in PLUCKS.items():
            player: Player = partial(pluck, string, plucking)
            leaves["plucked strings", name, way] = player, (string.lowest, string.highest)
    for name, pipe in PIPES.items():
        for way, breath in BREATHS.items():
            leaves["blown pipes", name, way] = (
                partial(blow, pipe, breath),
                (pipe.lowest, pipe.highest),
            )
    struck = (("struck bars", BARS, MALLETS), ("struck membranes", MEMBRANES, HANDS))
    for family, things, strokes in struck:
        for name, thing in things.items():
            for way, stroke in strokes.items():
                player = partial(strike, thing, stroke)
                leaves[family, name, way] = player, (thing.lowest, thing.highest)
    for name, machine in MACHINES.items():
        for way, operation in OPERATIONS.items():
            player = partial(rotate, machine, operation)
            leaves["rotating machines", name, way] = player, (machine.slowest, machine.fastest)
    return leaves


def perform(player: Player, span: tuple[float, float], random: np.random.Generator) -> Wave:
    """Play once, at a random pitch, level, onset and signal-to-noise ratio; peak below 1."""
    pitch = float(np.exp(random.uniform(*np.log(span))))
    wave = player(pitch, random)
    wave = wave / np.abs(wave).max()
    onset = int(random.uniform(0.0, 0.08) * SAMPLES)
    wave = np.concatenate([np.zeros(onset), wave])[:SAMPLES]
    wave = wave * 10.0 ** (random.uniform(-18.0, -1.0) / 20.0)
    noise = random.standard_normal(SAMPLES) * wave.std() * 10.0 ** (-random.uniform(25, 45) / 20.0)
    noisy: Wave = np.clip(wave + noise, -1.0, 1.0)
    return noisy


def _write(target: Path, wave: Wave) -> None:
    import soundfile

    with atomic_path(target) as temporary:
        soundfile.write(temporary, wave, SAMPLE_RATE, subtype="PCM_16")
