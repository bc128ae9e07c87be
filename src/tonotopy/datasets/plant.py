"""A simulated plant: synthetic rotating machines, sound and with faults of known severity."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tonotopy._errors import UsageError
from tonotopy._files import write_text
from tonotopy._progress import track
from tonotopy.datasets._physical.plant_kinds import KINDS, draw_machine
from tonotopy.datasets._physical.plant_machines import (
    SOUND,
    Fault,
    PlantMachine,
    run_plant_machine,
)
from tonotopy.datasets._physical.resonance import SAMPLE_RATE, Wave, convolve
from tonotopy.datasets._physical.surroundings import (
    FACTORIES,
    at_ratio,
    background,
    draw_place,
)
from tonotopy.datasets._plant_plan import PlannedClip, PlantSize, plan_plant
from tonotopy.datasets._writing import claim, write_wav

LEVEL = 0.02
"""Root mean square, of full scale, of a machine at nominal speed and load."""

LEAD_IN = 0.4
"""Seconds that run before a clip begins, so that rooms and filters have settled."""

README = """\
These sounds are synthetic. They are no recordings of anything; a simulated plant was computed from
simple physical models, to check what tonotopy does where the truth is known. Results on them say
nothing about real machines.

machines    compressors, fans, gearboxes and pumps; the machines of a type (sections) differ in
            geometry, resonances and levels: shaft orders with wandering speed, blades, vanes,
            teeth or strokes that pass, belts, ball bearings, valves, turbulence
            (Randall 2021, chapters 2 and 5)
faults      bearing_outer, bearing_inner   impacts at the ball pass frequencies, with slip; those
                                           of the inner race go through the load zone
                                           (McFadden and Smith 1984)
            imbalance                      centrifugal force, once a turn
            belt                           slip, ripple of the speed and slaps once a round
            valve_leak                     hiss that follows the pulsation
            valve_sticking                 plates that open late and hit hard
            at severities above 0 and up to 1
domains     source and target: another place of the microphone and another factory hall
snr_db      power of the machine over that of the background, at the microphone, over the clip;
            with a fault, that of the same machine without it

plant.csv has a row for every clip. File names follow the scheme of DCASE 2023, task 2. Only sound
machines are in the train folders; no clip there is in a test folder. 16 kHz, mono, 16 bit.

P. D. McFadden, J. D. Smith, Model for the vibration produced by a single point defect in a rolling
  element bearing, Journal of Sound and Vibration 96(1), 1984
R. B. Randall, Vibration-based Condition Monitoring, 2nd ed., Wiley 2021

{options}
"""


@dataclass(frozen=True)
class Recording:
    """What a microphone hears, in two parts.

    Args:
        machine: (T,) sound of the machine.
        background: (T,) sound of the hall.
    """

    machine: Wave
    background: Wave

    @property
    def samples(self) -> NDArray[np.int16]:
        """(T,) sum, 16 bit; what is too loud is cut, as a converter does."""
        mixture = np.clip(self.machine + self.background, -1.0, 1.0)
        samples: NDArray[np.int16] = np.round(32767 * mixture).astype(np.int16)
        return samples


def make_plant(
    folder: Path | str,
    *,
    sections: int = 2,
    train_source: int = 72,
    train_target: int = 10,
    test_normals: int = 72,
    test_anomalies: int = 4,
    severities: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
    snr_db: Sequence[float] = (-6.0, 0.0, 6.0),
    seconds: float = 2.0,
    seed: int = 0,
) -> Path:
    """Record a synthetic plant: WAV files, `plant.csv` and a README.txt that says what it is.

    An interrupted call is taken up where it stopped. Every clip has random numbers of its own: more
    clips of sound machines leave the others as they are.

    Args:
        folder: A new or empty folder, or one that an equal call has begun.
        sections: Individual machines of each of the four types.
        train_source: Clips of every sound machine for training, in the source domain.
        train_target: The same in the target domain.
        test_normals: Further clips of every sound machine, for each domain.
        test_anomalies: Clips of every machine for each of its faults, severities and ratios; even,
            since half are of either domain.
        severities: Of the faults, above 0 and at most 1.
        snr_db: Ratios of a sound machine to the background in decibels, -12 or more; every clip
            has one of them.
        seconds: Length of a clip.
        seed: Start of all random numbers; the same seed gives the same files, bit for bit, on the
            same machine with the same versions of NumPy.

    Returns:
        `folder`.

    Raises:
        UsageError: A number is out of its range, or the folder holds something else.
        DataError: The disk refuses.
    """
    folder = Path(folder)
    size = PlantSize(
        sections=sections,
        train_source=train_source,
        train_target=train_target,
        test_normals=test_normals,
        test_anomalies=test_anomalies,
        severities=tuple(map(float, severities)),
        snr_db=tuple(map(float, snr_db)),
    )
    size.check()
    if not 0.5 <= seconds <= 60.0:
        raise UsageError(f"seconds must be 0.5 to 60, got {seconds}")
    claim(folder, README.format(options=_options(size, seconds, seed)))
    planned = list(plan_plant(size))
    for clip in track(planned, label="Synthesising", total=len(planned)):
        target = folder / clip.path
        if not target.exists():
            write_wav(target, record(clip, seconds=seconds, seed=seed).samples)
    write_text(folder / "plant.csv", _table(planned))
    return folder


def record(clip: PlannedClip, *, seconds: float, seed: int) -> Recording:
    """Run the machine of a clip in its room and hall.

    Its path names its random numbers: clips that differ in nothing but severity differ in nothing
    but what the fault does, and severity 0 is the sound machine.

    Args:
        clip: What to record.
        seconds: Length of a clip.
        seed: Start of all random numbers.

    Returns:
        What the microphone hears.
    """
    samples, lead = round(seconds * SAMPLE_RATE), round(LEAD_IN * SAMPLE_RATE)
    machine, place = installed(clip.kind, clip.section, clip.domain, seed)

    def hear(fault: Fault) -> Wave:
        random = _generator(seed, clip.path)
        wave = run_plant_machine(machine, clip.speed, clip.load, lead + samples, random, fault)
        return LEVEL * convolve(wave, place)[lead:]

    sound = hear(SOUND)
    random = _generator(seed, f"hall of {clip.path}")
    noise = background(FACTORIES[clip.domain], lead + samples, random)[lead:]
    return Recording(
        hear(clip.fault) if clip.fault.name else sound, at_ratio(noise, sound, clip.snr_db)
    )


def installed(kind: str, section: int, domain: str, seed: int) -> tuple[PlantMachine, Wave]:
    """Give a machine and the response from it to the microphone of a domain."""
    name = f"{kind}/{section:02d}"
    machine = draw_machine(KINDS[kind], _generator(seed, name))
    return machine, draw_place(_generator(seed, f"{name}/{domain}"))


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _options(size: PlantSize, seconds: float, seed: int) -> str:
    names = list(size.__dataclass_fields__)
    values = dict(zip(names, astuple(size), strict=True), seconds=seconds, seed=seed)
    return "\n".join(f"{name} {value}" for name, value in values.items())


def _table(planned: Sequence[PlannedClip]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(planned[0].row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(clip.row for clip in planned)
    return text.getvalue()
