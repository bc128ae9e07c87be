"""A corpus of synthetic sounds, made by physical modelling: families > instruments > ways."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tonotopy._errors import UsageError
from tonotopy._progress import track
from tonotopy.datasets._instruments import Leaf, corpus_leaves
from tonotopy.datasets._physical.resonance import (
    SAMPLE_RATE,
    SAMPLES,
    Wave,
    convolve,
    low_pass,
    peak,
    time_axis,
)
from tonotopy.datasets._writing import claim, write_wav

README = """\
These sounds are synthetic. They are no recordings of anything; they were computed from simple
physical models, to show what tonotopy does where no data is at hand. Results on them say nothing
about real sounds.

plucked strings    a delay line with a lossy end, stiff or not, and a body that rings along
                   (Karplus and Strong 1983; Jaffe and Smith 1983)
blown pipes        an open or stopped bore as a delay line, driven by pulses at its pitch and by
                   turbulence (Smith 1992; Fletcher and Rossing 1998, chapters 8, 15, 16)
struck bars        modes of bars with free ends, uniform or undercut, as a mallet excites them
                   (Fletcher and Rossing 1998, chapters 2 and 19)
struck membranes   Bessel modes of an ideal, an air-loaded and a weighted membrane
                   (Fletcher and Rossing 1998, chapters 3 and 18; Raman 1934)
rotating machines  orders of the speed of rotation, impulses of a bearing, noise of flow
                   (Randall 2021, chapters 2 and 5)

Folders are family/instrument/way of playing. Pitch or speed, force, place, onset, room, background
noise and level vary from clip to clip. 16 kHz, mono, 16 bit, one second each.

D. Jaffe, J. Smith, Extensions of the Karplus-Strong Plucked-String Algorithm, Computer Music
  Journal 7(2), 1983
K. Karplus, A. Strong, Digital Synthesis of Plucked-String and Drum Timbres, same issue
N. Fletcher, T. Rossing, The Physics of Musical Instruments, 2nd ed., Springer 1998
C. V. Raman, The Indian musical drums, Proc. Indian Academy of Sciences A1, 1934
R. B. Randall, Vibration-based Condition Monitoring, 2nd ed., Wiley 2021
J. O. Smith, Physical Modeling using Digital Waveguides, Computer Music Journal 16(4), 1992

{clips_per_leaf} clips of each way of playing, seed {seed}.
"""


def make_corpus(folder: Path | str, *, clips_per_leaf: int = 12, seed: int = 0) -> Path:
    """Write the corpus as nested folders of WAV files, with a README.txt that says what it is.

    An interrupted call is taken up where it stopped.

    Args:
        folder: A new or empty folder, or one that an equal call has begun.
        clips_per_leaf: Clips of each of the 44 ways of playing.
        seed: Start of all random numbers; the same seed gives the same files, bit for bit, on the
            same machine with the same versions of NumPy and SciPy.

    Returns:
        `folder`, to be given to `tonotopy.clips.scan`.

    Raises:
        UsageError: The folder holds something else.
        DataError: The disk refuses.
    """
    folder = Path(folder)
    if clips_per_leaf < 1:
        raise UsageError(f"clips_per_leaf must be at least 1, got {clips_per_leaf}")
    claim(folder, README.format(clips_per_leaf=clips_per_leaf, seed=seed))
    planned = [
        (label, leaf, number)
        for label, leaf in corpus_leaves().items()
        for number in range(clips_per_leaf)
    ]
    for label, leaf, number in track(planned, label="Synthesising", total=len(planned)):
        target = folder.joinpath(*label) / f"{number:03d}.wav"
        if not target.exists():
            random = np.random.default_rng([seed, zlib.crc32("/".join(label).encode()), number])
            write_wav(target, perform(leaf, random))
    return folder


def perform(leaf: Leaf, random: np.random.Generator) -> NDArray[np.int16]:
    """Play once in a room: pitch, onset, room, background noise and level are drawn at random.

    Returns:
        (16000,) 16-bit samples; the peak is 1 to 18 dB below full scale.
    """
    pitch = np.exp(random.uniform(np.log(leaf.lowest), np.log(leaf.highest)))
    wave = leaf.play(pitch, random)
    wave = wave / peak(wave)
    wave = np.concatenate([np.zeros(int(random.uniform(0.0, leaf.delay) * SAMPLE_RATE)), wave])
    wave = _in_a_room(wave[:SAMPLES], random)
    noise = low_pass(random.standard_normal(SAMPLES), np.exp(random.uniform(*np.log([300, 6000]))))
    noise *= wave.std() / noise.std() * 10.0 ** (-random.uniform(25.0, 50.0) / 20.0)
    wave = wave + noise
    level = 10.0 ** (-random.uniform(1.0, 18.0) / 20.0)
    samples: NDArray[np.int16] = np.round(32767 * level * wave / peak(wave)).astype(np.int16)
    return samples


def _in_a_room(wave: Wave, random: np.random.Generator) -> Wave:
    """Add the reverberation of a room: noise that dies away in 0.1 to 0.5 s."""
    decay = 10.0 ** (-3.0 * time_axis() / random.uniform(0.1, 0.5))
    tail = convolve(wave, random.standard_normal(SAMPLES) * decay)
    level: float = 10.0 ** (-random.uniform(15.0, 35.0) / 20.0)
    return wave + level / peak(tail) * tail
