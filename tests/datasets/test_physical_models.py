"""The physical models have the pitches, partials and decays that their physics asks for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import jn_zeros

from tonotopy.datasets._instruments import (
    BARS,
    LEGATO,
    MACHINES,
    MALLETS,
    MEMBRANES,
    OPERATIONS,
    PIPES,
    PLUCKS,
    STRINGS,
    STROKES,
    corpus_leaves,
)
from tonotopy.datasets._physical.bars import UNIFORM, Bar, free_bar_shape, strike_bar
from tonotopy.datasets._physical.machines import BALLS_PASS, Machine, Operation, run_machine
from tonotopy.datasets._physical.membranes import IDEAL, Drum, mode_shape, strike_drum
from tonotopy.datasets._physical.pipes import blow
from tonotopy.datasets._physical.resonance import (
    SAMPLE_RATE,
    SAMPLES,
    attack_release,
    convolve,
    delay_loop,
    harmonics,
    low_pass,
    modes,
    ring,
)
from tonotopy.datasets._physical.strings import Pluck, pluck

Wave = NDArray[np.float64]
FINE = 1 << 18
LEAVES = corpus_leaves()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def spectrum(wave: Wave) -> Wave:
    return np.abs(np.fft.rfft(wave * np.hanning(len(wave)), FINE))


def near(wave: Wave, frequency: float, tolerance: float = 0.04) -> tuple[float, float]:
    """Frequency in hertz and level in decibels of the highest peak near `frequency`."""
    magnitude = spectrum(wave)
    hertz = np.arange(len(magnitude)) * SAMPLE_RATE / FINE
    window = np.flatnonzero(np.abs(hertz / frequency - 1.0) < tolerance)
    best = window[magnitude[window].argmax()]
    return float(hertz[best]), float(20 * np.log10(magnitude[best]))


@pytest.mark.parametrize("height", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("way", list(PLUCKS))
@pytest.mark.parametrize("name", list(STRINGS))
def test_a_plucked_string_has_the_pitch_that_was_asked_for(
    name: str, way: str, height: float
) -> None:
    frequency = STRINGS[name].lowest ** (1 - height) * STRINGS[name].highest ** height
    wave = pluck(STRINGS[name], PLUCKS[way], frequency, rng())
    assert near(wave, frequency)[0] == pytest.approx(frequency, rel=1e-3)


@pytest.mark.parametrize(
    ("stiffness", "lowest", "highest"), [(0.0, 4.99, 5.01), (0.15, 5.02, 5.06), (0.4, 5.15, 5.3)]
)
def test_stiffness_makes_upper_partials_sharp(
    stiffness: float, lowest: float, highest: float
) -> None:
    impulse = np.zeros(SAMPLES)
    impulse[0] = 1.0
    wave = delay_loop(impulse, 400.0, 0.998, averaging=0.1, stiffness=stiffness)
    assert near(wave, 400.0)[0] == pytest.approx(400.0, rel=1e-3)
    assert lowest < near(wave, 5 * 400.0, 0.08)[0] / 400.0 < highest


def test_a_string_plucked_in_its_middle_lacks_even_partials() -> None:
    frequency = 200.0
    impulse = np.zeros(SAMPLES)
    impulse[0], impulse[40] = 1.0, -1.0  # half a period of 80 samples later, upside down
    wave = delay_loop(impulse, frequency, 0.995, averaging=0.1)
    odd, even = near(wave, 3 * frequency)[1], near(wave, 2 * frequency)[1]
    assert odd - even > 30.0


def test_damping_shortens_a_tone() -> None:
    def share_of_late_energy(damping: float) -> float:
        wave = pluck(STRINGS["harp"], Pluck(0.2, 5.0, damping), 200.0, rng())
        return float((wave[SAMPLES // 2 :] ** 2).sum() / (wave**2).sum())

    assert share_of_late_energy(0.05) < 0.01 * share_of_late_energy(1.0)


@pytest.mark.parametrize("frequency", [150.0, 300.0, 587.3])
@pytest.mark.parametrize("name", list(PIPES))
def test_a_pipe_has_its_pitch_and_a_stopped_one_odd_partials(name: str, frequency: float) -> None:
    pipe, _ = PIPES[name]
    wave = blow(pipe, LEGATO, frequency, rng())
    hertz, first = near(wave, frequency, 0.03)
    second = near(wave, 2 * frequency, 0.03)[1]
    assert hertz == pytest.approx(frequency, rel=0.012)  # the flute has vibrato
    assert (first - second > 30.0) == pipe.stopped


def test_an_inverting_line_resonates_at_odd_multiples_only() -> None:
    impulse = np.zeros(SAMPLES)
    impulse[0] = 1.0
    wave = delay_loop(impulse, 250.0, 0.99, averaging=0.1, inverting=True)
    levels = [near(wave, k * 250.0, 0.02)[1] for k in range(1, 6)]
    assert min(levels[0], levels[2], levels[4]) - max(levels[1], levels[3]) > 25.0


def test_a_delay_loop_falls_by_its_feedback_each_round() -> None:
    impulse = np.zeros(SAMPLES)
    impulse[0] = 1.0
    wave = delay_loop(impulse, 160.0, 0.9, averaging=0.0)
    rounds = wave[: 100 * 20].reshape(20, 100)
    energy = np.sqrt((rounds**2).sum(axis=1))
    np.testing.assert_allclose(energy[1:] / energy[:-1], 0.9, atol=1e-6)


@pytest.mark.parametrize("frequency", [220.0, 523.3, 900.0])
def test_a_free_bar_has_the_ratios_of_its_theory(frequency: float) -> None:
    bar = Bar(200.0, 2000.0, UNIFORM, 3.0, 0.5)
    wave = strike_bar(bar, MALLETS["hard mallet"], frequency, rng())
    lowest = near(wave, frequency)[0]
    assert lowest == pytest.approx(frequency, rel=0.004)
    for ratio in (2.756, 5.404):
        assert near(wave, ratio * frequency)[0] / lowest == pytest.approx(ratio, rel=0.008)


def test_the_shape_of_a_free_bar() -> None:
    np.testing.assert_allclose(UNIFORM, [1.0, 2.756, 5.404, 8.933, 13.344], atol=1e-3)
    np.testing.assert_allclose(free_bar_shape(0.0), 1.0, atol=1e-6)
    np.testing.assert_allclose(free_bar_shape(0.2242)[0], 0.0, atol=1e-3)  # where bars are held
    middle = free_bar_shape(0.5)
    np.testing.assert_allclose(middle[1::2], 0.0, atol=1e-4)  # odd modes have a node there
    np.testing.assert_allclose(
        free_bar_shape(0.3)[:4], (1, -1, 1, -1) * free_bar_shape(0.7)[:4], atol=1e-4
    )


@pytest.mark.parametrize("name", list(BARS))
def test_a_soft_mallet_excites_fewer_overtones(name: str) -> None:
    def overtone(way: str) -> float:
        wave = strike_bar(BARS[name], MALLETS[way], 800.0, rng())
        second = BARS[name].ratios[1] * 800.0
        return near(wave, second)[1] - near(wave, 800.0)[1]

    assert overtone("hard mallet") - overtone("soft mallet") > 6.0


def test_an_ideal_membrane_has_the_ratios_of_bessel_zeros() -> None:
    first = jn_zeros(0, 1)[0]
    for mode in IDEAL:
        zero = jn_zeros(mode.diameters, mode.circles)[-1]
        assert mode.ratio == pytest.approx(zero / first, abs=6e-4)

    drum = Drum(100.0, 400.0, IDEAL, 3.0, 0.3, radiation=1.0)
    wave = strike_drum(drum, STROKES["edge"], 200.0, rng())
    lowest = near(wave, 200.0)[0]
    for ratio in (1.593, 2.136):
        assert near(wave, ratio * 200.0)[0] / lowest == pytest.approx(ratio, rel=0.012)


def test_a_blow_at_the_centre_excites_no_mode_with_a_nodal_diameter() -> None:
    shape = mode_shape(IDEAL, 0.0)
    np.testing.assert_allclose(shape, [float(mode.diameters == 0) for mode in IDEAL], atol=1e-12)
    np.testing.assert_allclose(mode_shape(IDEAL, 1.0), 0.0, atol=1e-12)  # the rim is held


def test_snares_add_noise_that_a_drum_without_has_not() -> None:
    snare = MEMBRANES["snare drum"]
    bare = replace(snare, snares=0.0)
    above = FINE * 4000 // SAMPLE_RATE

    def high_share(drum: Drum) -> float:
        energy = spectrum(strike_drum(drum, STROKES["centre"], 200.0, rng())) ** 2
        return float(energy[above:].sum() / energy.sum())

    assert high_share(snare) > 10 * high_share(bare)


@pytest.mark.parametrize("name", list(MACHINES))
def test_a_steady_machine_hums_at_its_event_frequency(name: str) -> None:
    machine = MACHINES[name]
    wave = run_machine(machine, OPERATIONS["steady"], 20.0, rng())
    assert near(wave, 20.0 * machine.events)[0] == pytest.approx(20.0 * machine.events, rel=0.02)


def test_a_run_up_ends_faster_than_it_begins() -> None:
    wave = run_machine(MACHINES["pump"], OPERATIONS["run-up"], 20.0, rng())
    begin, end = wave[: SAMPLES // 8], wave[-SAMPLES // 8 :]
    assert near(begin, 147.0, 0.2)[0] < 170.0
    assert near(end, 258.0, 0.2)[0] > 240.0


def test_a_bearing_is_hit_once_for_every_ball() -> None:
    machine = Machine(
        slowest=10.0,
        fastest=30.0,
        events=5,
        harmonics=0,
        roll_off=1.0,
        modulation=0.0,
        flow=0.0,
        flow_cutoff=500.0,
        bearing=1.0,
        balls=10,
        casing=3000.0,
    )
    wave = run_machine(machine, Operation(run_up=1.0, load=1.0), 20.0, rng())
    envelope = low_pass(np.abs(wave), 200.0)
    rate = 20.0 * BALLS_PASS * 10
    assert near(envelope - envelope.mean(), rate, 0.3)[0] == pytest.approx(rate, rel=0.03)


def test_modes_add_up_damped_sinusoids() -> None:
    time = np.arange(SAMPLES) / SAMPLE_RATE
    expected = 0.5 * np.sin(2 * np.pi * 440 * time) * 10 ** (-3 * time / 0.25)
    np.testing.assert_allclose(modes([440.0, 9000.0], [0.5, 1.0], 0.25), expected, atol=1e-9)


def test_convolving_with_an_impulse_shifts() -> None:
    wave, impulse = rng().standard_normal(SAMPLES), np.zeros(SAMPLES)
    impulse[100] = 2.0
    shifted = convolve(wave, impulse)
    np.testing.assert_allclose(shifted[:100], 0.0, atol=1e-9)
    np.testing.assert_allclose(shifted[100:], 2.0 * wave[:-100], atol=1e-9)


def test_an_envelope_rises_holds_and_falls() -> None:
    envelope = attack_release(0.1, 0.5, 0.2)
    assert envelope[0] == 0.0
    assert np.all(envelope[1600:8000] == 1.0)
    assert np.all(envelope[int(0.7 * SAMPLE_RATE) + 1 :] == 0.0)
    assert np.all(np.diff(envelope[:1600]) > 0.0)


@pytest.mark.parametrize("label", list(LEAVES), ids="/".join)
@pytest.mark.parametrize("end", ["lowest", "highest"])
def test_every_way_of_playing_sounds_at_both_ends_of_its_range(
    label: tuple[str, str, str], end: str
) -> None:
    wave = LEAVES[label].play(getattr(LEAVES[label], end), rng())
    assert wave.shape == (SAMPLES,)
    assert np.isfinite(wave).all()
    assert 0.01 < np.abs(wave).max() < 1000.0


def test_convolving_with_a_short_response_and_ringing_are_the_same_sum() -> None:
    train, response = np.zeros(1000), rng().standard_normal(70)
    train[[0, 3, 500, 960]] = [1.0, -2.0, 0.5, 3.0]
    expected = np.convolve(train, response)[:1000]
    np.testing.assert_allclose(convolve(train, response), expected, atol=1e-12)
    np.testing.assert_allclose(ring(train, response), expected, atol=1e-12)


def test_harmonics_are_a_sum_of_sines() -> None:
    turns = np.cumsum(rng().uniform(0.0, 0.1, 500))
    amplitudes, phases = [1.0, 0.0, 0.3], [0.2, 1.0, 4.0]
    expected = sum(
        a * np.sin(2 * np.pi * n * turns + p)
        for n, (a, p) in enumerate(zip(amplitudes, phases, strict=True), start=1)
    )
    np.testing.assert_allclose(harmonics(turns, amplitudes, phases), expected, atol=1e-9)
