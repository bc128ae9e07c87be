"""The machines of the synthetic plant turn, ring and fail as their physics asks for."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, hilbert, sosfiltfilt

from tonotopy.datasets._physical.bearings import Bearing, load_zone
from tonotopy.datasets._physical.plant_kinds import KINDS, draw_machine
from tonotopy.datasets._physical.plant_machines import (
    BELT_SLIP,
    FAULTS,
    LEAK_LEVEL,
    LOADS,
    SPEEDS,
    UNBALANCE_GROWTH,
    Fault,
    PlantMachine,
    run_plant_machine,
)
from tonotopy.datasets._physical.resonance import SAMPLE_RATE
from tonotopy.datasets._physical.shafts import (
    BELT_RIPPLE,
    WANDER,
    Belt,
    events,
    fluctuation,
    impulses,
    shaft_turns,
)
from tonotopy.datasets._physical.surroundings import FACTORIES, at_ratio, background, draw_place
from tonotopy.datasets._physical.valves import PHASES, REGULAR, STICKING, Valves, clatter, leak

Wave = NDArray[np.float64]
SAMPLES = 4 * SAMPLE_RATE
FINE = 1 << 19


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def individual(kind: str, seed: int = 0) -> PlantMachine:
    return draw_machine(KINDS[kind], rng(seed))


def run(machine: PlantMachine, fault: Fault | None = None, seed: int = 1) -> Wave:
    return run_plant_machine(machine, 3, 2, SAMPLES, rng(seed), fault or Fault())


def line(wave: Wave, frequency: float, tolerance: float) -> tuple[float, float]:
    """Frequency and amplitude of the highest spectral line within `tolerance` hertz."""
    window = np.hanning(len(wave))
    magnitude = np.abs(np.fft.rfft(wave * window, FINE)) * 2 / window.sum()
    hertz = np.arange(len(magnitude)) * SAMPLE_RATE / FINE
    near = np.flatnonzero(np.abs(hertz - frequency) < tolerance)
    best = near[magnitude[near].argmax()]
    return float(hertz[best]), float(magnitude[best])


def envelope(wave: Wave, bearing: Bearing) -> Wave:
    """Squared envelope of the band of the casing's resonances, without its mean."""
    band = (bearing.resonances[0] - 400.0, min(bearing.resonances[-1] + 400.0, 7000.0))
    sections = butter(4, band, "bandpass", fs=SAMPLE_RATE, output="sos")
    squared = np.abs(hilbert(sosfiltfilt(sections, wave))) ** 2
    return np.asarray(squared - squared.mean())


def test_ball_pass_orders_of_a_bearing_from_the_catalogue() -> None:
    skf_6205 = Bearing(9, 7.94, 39.04, 0.0, (3000.0,), (0.005,))
    assert skf_6205.outer_order == pytest.approx(3.585, abs=1e-3)
    assert skf_6205.inner_order == pytest.approx(5.415, abs=1e-3)
    assert (skf_6205.response**2).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(5))
def test_balls_pass_the_two_races_as_often_together_as_there_are_balls(seed: int) -> None:
    bearing = individual("fan", seed).bearing
    assert bearing.outer_order + bearing.inner_order == pytest.approx(bearing.balls)
    assert 0.35 * bearing.balls < bearing.outer_order < 0.5 * bearing.balls


def test_the_load_zone_is_less_than_half_of_the_race() -> None:
    angles = np.linspace(0.0, 1.0, 1001)
    load = load_zone(angles)
    assert load[0] == load[-1] == load.max() == 1.0
    assert np.all(load[(angles > 0.25) & (angles < 0.75)] == 0.0)
    np.testing.assert_allclose(load, load[::-1], atol=1e-12)


@pytest.mark.parametrize("fault", ["bearing_outer", "bearing_inner"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_spall_gives_a_line_at_its_ball_pass_frequency_that_grows(kind: str, fault: str) -> None:
    machine = individual(kind)
    order = getattr(machine.bearing, f"{fault.removeprefix('bearing_')}_order")
    expected = machine.shaft_speed(3, 2) * order
    levels = []
    for severity in (0.0, 0.5, 0.75, 1.0):
        wave = envelope(run(machine, Fault(fault, severity)), machine.bearing)
        hertz, level = line(wave, expected, 0.03 * expected)
        levels.append(level)
    assert hertz == pytest.approx(expected, rel=0.012)  # slip blurs the line
    assert levels == sorted(levels)
    assert levels[-1] > 5 * levels[0]


def test_a_spall_of_the_inner_race_has_sidebands_of_the_shaft_and_of_the_outer_none() -> None:
    machine = individual("pump")
    shaft = machine.shaft_speed(3, 2)

    def sidebands(fault: str, order: float) -> float:
        wave = envelope(run(machine, Fault(fault, 1.0)), machine.bearing)
        carrier = line(wave, shaft * order, 3.0)[1]
        return max(line(wave, shaft * (order + k), 3.0)[1] for k in (-1, 1)) / carrier

    assert sidebands("bearing_inner", machine.bearing.inner_order) > 0.5
    assert sidebands("bearing_outer", machine.bearing.outer_order) < 0.5


@pytest.mark.parametrize("kind", ["fan", "gearbox", "pump"])
def test_imbalance_raises_the_first_order_in_proportion(kind: str) -> None:
    machine = individual(kind)
    shaft = machine.shaft_speed(3, 2)
    sound = line(run(machine), shaft, 1.0)[1]
    for severity in (0.5, 1.0):
        hertz, level = line(run(machine, Fault("imbalance", severity)), shaft, 1.0)
        assert hertz == pytest.approx(shaft, rel=0.01)
        assert level / sound == pytest.approx(1.0 + UNBALANCE_GROWTH * severity, rel=0.1)


def test_the_force_of_an_imbalance_goes_with_the_square_of_the_speed() -> None:
    machine = individual("gearbox")
    machine = replace(machine, levels=replace(machine.levels, passing=0.0, flow=0.0, rolling=0.0))
    waves = [run_plant_machine(machine, speed, 1, SAMPLES, rng()) for speed in (1, 3)]
    assert waves[0].std() / waves[1].std() == pytest.approx((SPEEDS[0] / SPEEDS[2]) ** 2, rel=0.01)


@pytest.mark.parametrize("load", [1, 2])
@pytest.mark.parametrize("speed", [1, 2, 3])
def test_a_machine_runs_at_the_speed_that_is_set(speed: int, load: int) -> None:
    machine = individual("gearbox")
    shaft = machine.shaft_speed(speed, load)
    assert shaft == pytest.approx(machine.speed * SPEEDS[speed - 1] * (1 - 0.02 * LOADS[load - 1]))
    wave = run_plant_machine(machine, speed, load, SAMPLES, rng())
    mesh = machine.passing * shaft
    assert line(wave, mesh, 0.05 * mesh)[0] == pytest.approx(mesh, rel=0.01)


def test_a_belt_moves_as_fast_as_the_rim_of_its_pulley() -> None:
    belt = Belt(pulley=0.1, ratio=2.0, length=np.pi)
    assert belt.order == pytest.approx(0.1)


@pytest.mark.parametrize(("slip", "ripple"), [(0.0, 0.0), (0.02, 0.0), (0.01, 0.05)])
def test_a_belt_drives_by_the_integral_of_its_speed(slip: float, ripple: float) -> None:
    belt = Belt(pulley=0.12, ratio=0.6, length=1.3)
    turns = np.arange(SAMPLES) * 24.0 / SAMPLE_RATE
    step = 24.0 / SAMPLE_RATE
    total = 0.0
    driven = belt.drive(turns, slip=slip, ripple=ripple)
    for at in range(2000):
        assert driven[at] - driven[0] == pytest.approx(total, abs=1e-4)
        rounds = belt.order * turns[at]
        relative = 1.0 + (BELT_RIPPLE + ripple) * np.sin(2 * np.pi * rounds)
        total += step * 0.6 * (1.0 - slip) * relative


def test_a_worn_belt_slows_the_driven_shaft_and_slaps_once_a_round() -> None:
    machine = replace(individual("fan"), guard=(300.0,))
    assert machine.belt is not None
    shaft = machine.shaft_speed(3, 2)
    wave = run(machine, Fault("belt", 1.0))
    hertz = line(wave, shaft, 0.04 * shaft)[0]
    assert hertz == pytest.approx(shaft * (1.0 - BELT_SLIP), rel=0.008)

    rounds = machine.belt.order * shaft / machine.belt.ratio
    sections = butter(2, (250.0, 350.0), "bandpass", fs=SAMPLE_RATE, output="sos")
    levels = []
    for severity in (0.0, 0.5, 1.0):
        slaps = np.abs(hilbert(sosfiltfilt(sections, run(machine, Fault("belt", severity))))) ** 2
        levels.append(line(slaps - slaps.mean(), rounds, 0.1)[1])
    assert levels == sorted(levels)
    assert levels[2] > 5 * levels[0]


def test_a_leak_hisses_above_its_edge_with_the_square_of_the_severity() -> None:
    machine = individual("pump")
    sound = run(machine)
    powers = [
        float(((run(machine, Fault("valve_leak", s)) - sound) ** 2).mean()) for s in (0.5, 1.0)
    ]
    np.testing.assert_allclose(powers, [0.25 * LEAK_LEVEL**2, LEAK_LEVEL**2], rtol=1e-5)


def test_the_hiss_of_a_leak_follows_the_pulsation() -> None:
    turns = 40.0 * np.arange(SAMPLES) / SAMPLE_RATE
    hiss = leak(Valves((1000.0,), (0.02,), 3000.0), turns, 5.0, rng())
    squared = hiss**2 - 1.0
    # (1 + m sin)² has a line of 2m and a mean of 1 + m²/2
    assert line(squared, 200.0, 1.0)[1] == pytest.approx(1.2 / 1.18, rel=0.1)
    power = np.abs(np.fft.rfft(hiss)) ** 2
    assert power[: len(power) // 16].sum() < 0.01 * power.sum()


def plate_times(severity: float) -> Wave:
    """Turns after which plates hit, measured as the onset of short, single rings."""
    turns = 4.0 * np.arange(SAMPLES * 8) / SAMPLE_RATE
    valves = Valves((3000.0,), (0.002,), 3000.0)
    wave = clatter(valves, turns, rng(3), rng(4), severity)
    active = np.abs(wave) > 0.2 * np.sqrt((wave**2).max() / 10)
    starts = np.flatnonzero(active[1:] & ~active[:-1])
    starts = starts[np.diff(starts, prepend=-SAMPLE_RATE) > 0.01 * SAMPLE_RATE]
    return np.asarray(turns[starts] % 1.0)


def test_sound_plates_open_at_their_phases_and_stuck_ones_late() -> None:
    sound, stuck = plate_times(0.0), plate_times(1.0)
    offsets = np.array([np.abs((sound - phase + 0.5) % 1.0 - 0.5) for phase in PHASES]).min(axis=0)
    assert offsets.max() < 4 * REGULAR + 0.002
    assert len(sound) == pytest.approx(2 * 128, abs=4)
    late = (stuck - PHASES[0] + 0.1) % 1.0 - 0.1
    first = late[late < 0.3]
    assert first.mean() > 0.3 * STICKING
    assert first.min() > -5 * REGULAR  # never early


@pytest.mark.parametrize(
    ("kind", "fault"), [(kind, fault) for kind in KINDS for fault in KINDS[kind].faults]
)
def test_severity_0_is_the_sound_machine_and_faults_grow_with_severity(
    kind: str, fault: str
) -> None:
    machine = individual(kind)
    sound = run(machine)
    assert np.array_equal(run(machine, Fault(fault, 0.0)), sound)
    changes = [float(np.square(run(machine, Fault(fault, s)) - sound).mean()) for s in (0.1, 1.0)]
    assert 0.0 < changes[0] < changes[1]


def test_every_fault_is_that_of_some_machine() -> None:
    assert {fault for kind in KINDS.values() for fault in kind.faults} == set(FAULTS)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_machine_has_a_level_near_1_at_nominal_speed_and_load(kind: str) -> None:
    for seed in range(5):
        assert run(individual(kind, seed)).std() == pytest.approx(1.0, rel=0.25)


def test_individuals_of_a_kind_differ_in_geometry() -> None:
    for kind in KINDS:
        machines = [individual(kind, seed) for seed in range(4)]
        for first, second in itertools.combinations(machines, 2):
            assert first.bearing != second.bearing
            assert first.speed != second.speed
        assert individual(kind, 2) == individual(kind, 2)


def test_the_speed_of_a_shaft_wanders_a_little_and_slowly() -> None:
    turns = shaft_turns(25.0, SAMPLES, rng())
    speed = np.diff(turns) * SAMPLE_RATE
    assert np.all(speed > 0.0)
    assert speed.mean() == pytest.approx(25.0, rel=2 * WANDER)
    assert np.abs(speed / 25.0 - 1.0).max() < 5 * WANDER
    assert np.abs(np.diff(speed)).max() < 0.01


def test_a_fluctuation_has_a_standard_deviation_of_1() -> None:
    assert fluctuation(200 * SAMPLE_RATE, 5.0, rng()).std() == pytest.approx(1.0, rel=0.1)


def test_events_follow_their_order_and_impulses_stand_where_the_shaft_passes() -> None:
    turns = 20.0 * np.arange(SAMPLES) / SAMPLE_RATE + 0.3
    regular = events(turns, 3.5, rng())
    np.testing.assert_allclose(np.diff(regular), 1 / 3.5)
    gaps = np.diff(events(turns, 3.5, rng(), jitter=0.02)) * 3.5
    assert gaps.std() == pytest.approx(0.02, rel=0.15)

    train = impulses(turns, np.array([turns[0] - 1, turns[100], turns[-1] + 1]), np.ones(3))
    assert np.flatnonzero(train).tolist() == [100]


@pytest.mark.parametrize("snr", [-12.0, -6.0, 0.0, 20.0])
def test_noise_is_scaled_to_the_ratio(snr: float) -> None:
    wave = rng(1).standard_normal(1000)
    noise = at_ratio(5.0 * rng(2).standard_normal(1000), wave, snr)
    assert 10 * np.log10((wave**2).mean() / (noise**2).mean()) == pytest.approx(snr, abs=1e-9)


def test_places_differ_and_keep_the_energy() -> None:
    places = [draw_place(rng(seed)) for seed in range(3)]
    for place in places:
        assert (place**2).sum() == pytest.approx(1.0)
        assert np.abs(place[:320]).max() == np.abs(place).max()
    assert not np.allclose(places[0], places[1])


def test_the_hall_of_the_target_domain_is_brighter() -> None:
    def centre(domain: str) -> float:
        power = sum(
            np.abs(np.fft.rfft(background(FACTORIES[domain], SAMPLE_RATE, rng(seed)))) ** 2
            for seed in range(20)
        )
        assert isinstance(power, np.ndarray)
        return float((power * np.arange(len(power))).sum() / power.sum())

    assert centre("target") > 1.3 * centre("source")
