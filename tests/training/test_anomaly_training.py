"""The task `anomaly`: what it learns from, what it refuses, and what never trains."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable, load_clips
from tonotopy.losses import DeepSVDDLoss, WeightedSumLoss
from tonotopy.metrics import relative_spread
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit, resume
from tonotopy.training._anomaly_data import machine_clips
from tonotopy.training._assembly import assemble
from tonotopy.training.anomaly_options import AnomalyOptions, SelfSupervised
from tonotopy.training.anomaly_task import AnomalyTask
from tonotopy.training.config import read_config
from tonotopy.training.presets import preset_files

RATE = 16000


def hum(path: Path, frequency: float, seed: int, seconds: float = 0.4) -> Path:
    """A tone in noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    wave = 0.3 * np.sin(2 * np.pi * frequency * time) + 0.05 * random.standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave.astype(np.float32), RATE)
    return path


@pytest.fixture
def base(tmp_path: Path) -> FitConfig:
    """Two fans and a pump in normal condition, and anomalies of one fan."""
    data = tmp_path / "data"
    machines = (("fan", "id_00", 300.0), ("fan", "id_02", 900.0), ("pump", "id_00", 2500.0))
    for number, (kind, section, frequency) in enumerate(machines):
        for clip in range(8):
            name = data / kind / section / "normal" / f"{clip:08d}.wav"
            hum(name, frequency, seed=100 * number + clip)
    for clip in range(4):
        hum(data / "fan" / "id_00" / "abnormal" / f"{clip:08d}.wav", 1500.0, seed=900 + clip)
    return FitConfig(
        data=data,
        run=tmp_path / "run",
        task="anomaly",
        front_end=Component("Waveform"),
        encoder=Component("TwoBranchNet", {"embedding_dim": 32}),
        augmentations=[],
        batches=Component("ShuffledBatchSampler", {"batch_size": 8}),
        split=SplitOptions(test_fraction=0.25, val_fraction=0.2),
        optimiser=OptimiserOptions(epochs=2, learning_rate=1e-3, schedule="constant"),
        keep="last",
        accelerator="cpu",
        threads=1,
        cache=tmp_path / "cache",
    )


def history(run: Path) -> list[dict[str, str]]:
    with (run / "logs" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_machines_become_classes_and_anomalies_never_train(base: FitConfig) -> None:
    run = fit(base)
    clips = ClipTable.read(run / "clips.parquet").frame
    assert set(clips["split"]) == {"train", "val", "test"}
    anomalies = clips.filter(pl.col("condition") == "anomaly")
    assert len(anomalies) == 4
    assert set(anomalies["split"]) == {"test"}
    assert anomalies["label"].to_list() == [[]] * 4
    normals = clips.filter(pl.col("condition") == "normal")
    assert set(normals["machine"]) == {"fan/id_00", "fan/id_02", "pump/id_00"}
    embedder = AudioEmbedder.from_pretrained(run)
    assert embedder.tree is not None
    assert sorted(embedder.tree.leaf_names) == ["fan, id_00", "fan, id_02", "pump, id_00"]
    # The head is that of the loss, over these classes.
    assert embedder.probabilities(torch.randn(2, 32)).shape == (2, 3)
    logged = {"train/subcluster_adacos", "monitor/spread", "monitor/spectrum_norm"}
    assert logged <= set(history(run)[0])


def test_any_front_end_and_encoder_will_do(base: FitConfig) -> None:
    small = Component("ConvNet", {"width": 4, "embedding_dim": 8})
    run = fit(replace(base, front_end=Component("LogMel"), encoder=small))
    assert AudioEmbedder.from_pretrained(run).embedding_dim == 8


@pytest.mark.parametrize("mixup", [0.0, 1.0])
@pytest.mark.parametrize(
    "loss",
    [
        "AdaCosLoss",
        "AdaProjLoss",
        "ArcFaceLoss",
        "CosFaceLoss",
        "CrossEntropyLoss",
        "CompactnessLoss",
        "DescriptivenessCompactnessLoss",
        "OneClassCompactnessLoss",
        "DeepSVDDLoss",
    ],
)
def test_losses_train_on_mixed_and_on_clean_clips(base: FitConfig, loss: str, mixup: float) -> None:
    losses = {"loss": Component(loss)}
    options = replace(base.anomaly, mixup=mixup)
    run = fit(replace(base, losses=losses, anomaly=options, monitor="val/loss"))
    assert all(np.isfinite(float(row["train/loss"])) for row in history(run))


@pytest.mark.parametrize("mode", ["fixed", "released", "safe"])
@pytest.mark.parametrize("trainable", [False, True])
def test_all_scale_modes_train(base: FitConfig, mode: str, trainable: bool) -> None:
    arguments = {"scale_mode": mode, "trainable_centres": trainable, "subclusters": 4}
    run = fit(replace(base, losses={"sc": Component("SubclusterAdaCosLoss", arguments)}))
    scales = [float(row["train/sc/scale"]) for row in history(run)]
    assert all(scale > 0.5 for scale in scales)
    assert (len(set(scales)) == 1) == (mode == "fixed")


@pytest.mark.parametrize("kind", ["statex", "featex", "statex+featex"])
def test_exchanged_classes_train_beside_the_others(base: FitConfig, kind: SelfSupervised) -> None:
    options = replace(base.anomaly, self_supervised=kind)
    row = history(fit(replace(base, anomaly=options)))[-1]
    assert float(row["train/exchange"]) > 0
    assert float(row["train/loss"]) > float(row["train/exchange"])


def one_machine(base: FitConfig) -> FitConfig:
    return replace(base, data=base.data / "fan" / "id_00")


def test_one_class_is_refused_with_what_would_help(base: FitConfig) -> None:
    with pytest.raises(UsageError, match="one class") as refused:
        fit(one_machine(base))
    for remedy in ("attribute_columns", "self_supervised", "anomaly-one-class"):
        assert remedy in str(refused.value)
    assert not base.run_folder.exists()


@pytest.mark.parametrize("kind", ["statex", "featex"])
def test_one_class_learns_from_exchanges(base: FitConfig, kind: SelfSupervised) -> None:
    options = replace(base.anomaly, self_supervised=kind)
    run = fit(replace(one_machine(base), anomaly=options))
    embedder = AudioEmbedder.from_pretrained(run)
    assert embedder.tree is not None
    assert embedder.tree.num_leaves == 1
    assert embedder.head is None


def test_deep_svdd_starts_from_the_centre_of_its_clips(base: FitConfig) -> None:
    config = replace(one_machine(base), losses={"svdd": Component("DeepSVDDLoss")})
    clips = machine_clips(load_clips(config.data), config)
    task, _ = assemble(config, clips)
    assert isinstance(task.loss, WeightedSumLoss)
    (loss,) = task.loss.losses.values()
    assert isinstance(loss, DeepSVDDLoss)
    trained = clips.filter(pl.col("split") == "train")
    waves = torch.stack([torch.from_numpy(soundfile.read(path)[0]) for path in trained.paths])
    mean = task.embedder.train()(waves.float()).mean(dim=0)
    far = mean.abs() > 0.1  # the others are moved away from zero
    assert far.sum() > 8
    torch.testing.assert_close(loss.centre[far], mean[far], rtol=1e-3, atol=1e-3)


def test_collapse_of_one_class_stops_the_run(base: FitConfig) -> None:
    # Biases let the network answer the centre whatever it hears, and nothing speaks against it.
    config = replace(
        one_machine(base),
        front_end=Component("LogMel"),
        encoder=Component("ConvNet", {"width": 4, "embedding_dim": 8, "dropout": 0.0}),
        losses={"svdd": Component("DeepSVDDLoss")},
        optimiser=OptimiserOptions(epochs=60, learning_rate=0.02),
        anomaly=AnomalyOptions(mixup=0.0),
        monitor="val/loss",
    )
    with pytest.raises(DataError, match="collapse in epoch"):
        fit(config)


def test_dropout_does_not_hide_a_collapse(base: FitConfig) -> None:
    config = replace(
        one_machine(base),
        front_end=Component("LogMel"),
        encoder=Component("ConvNet", {"width": 4, "embedding_dim": 8, "dropout": 0.5}),
        losses={"svdd": Component("DeepSVDDLoss")},
    )
    task, _ = assemble(config, machine_clips(load_clips(config.data), config))
    assert isinstance(task, AnomalyTask)
    wave = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    batch = {"waveforms": wave.expand(6, -1), "lengths": torch.full((6,), 4000)}
    task.train()
    before = {name: value.clone() for name, value in task.embedder.state_dict().items()}
    assert relative_spread(task._without_dropout(batch)) < 1e-4
    after = task.embedder.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert all(name.endswith("num_batches_tracked") for name in changed)
    assert relative_spread(task.embedder(**batch).detach()) > 0.05
    assert all(module.training for module in task.embedder.modules())


def test_too_few_clips_are_refused(base: FitConfig, tmp_path: Path) -> None:
    hum(tmp_path / "one" / "fan" / "a.wav", 300.0, seed=0)
    with pytest.raises(DataError, match="found 1 to train on"):
        fit(replace(base, data=tmp_path / "one"))


def test_only_anomalies_are_refused(base: FitConfig, tmp_path: Path) -> None:
    hum(tmp_path / "bad" / "fan" / "id_00" / "abnormal" / "a.wav", 300.0, seed=0)
    with pytest.raises(DataError, match="only normal ones can be learnt"):
        fit(replace(base, data=tmp_path / "bad"))


def test_an_official_split_is_kept(base: FitConfig, tmp_path: Path) -> None:
    for section, frequency in ((0, 300.0), (1, 900.0)):
        for number in range(6):
            name = f"section_{section:02d}_source_train_normal_{number:04d}_speed_{number % 2}.wav"
            hum(tmp_path / "dcase" / "fan" / "train" / name, frequency, seed=number)
        for number, condition in enumerate(("normal", "anomaly", "normal")):
            name = f"section_{section:02d}_target_test_{condition}_{number:04d}.wav"
            hum(tmp_path / "dcase" / "fan" / "test" / name, frequency, seed=50 + number)
    split = SplitOptions(test_fraction=0.5, val_fraction=0.0)
    run = fit(replace(base, data=tmp_path / "dcase", split=split))
    clips = ClipTable.read(run / "clips.parquet").frame
    in_test = clips["path"].str.contains("/test/")
    assert (clips["split"] == "test").to_list() == in_test.to_list()
    trained = clips.filter(~in_test)
    assert {label[0] for label in trained["label"].to_list()} == {
        f"fan, 0{section}, speed_{speed}, source" for section in (0, 1) for speed in (0, 1)
    }


def test_a_table_says_what_is_known_of_machines(base: FitConfig, tmp_path: Path) -> None:
    rows = ["path,kind,rpm,state"]
    for number in range(24):
        state = "abnormal" if number >= 20 else "normal"
        path = hum(tmp_path / f"{number}.wav", 300.0 + 700 * (number % 2), seed=number)
        rows.append(f"{path.name},fan,{1000 + 500 * (number % 2)},{state}")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    options = replace(
        base.anomaly, type_column="kind", attribute_columns=["rpm"], condition_column="state"
    )
    run = fit(replace(base, data=tmp_path / "clips.csv", anomaly=options))
    clips = ClipTable.read(run / "clips.parquet").frame
    names = {label[0] for label in clips["label"].to_list() if label}
    assert names == {"fan, rpm_1000", "fan, rpm_1500"}
    assert clips.filter(pl.col("split") != "test")["condition"].unique().to_list() == ["normal"]
    wrong = replace(options, attribute_columns=["speed"])
    with pytest.raises(UsageError, match="no column 'speed'"):
        fit(replace(base, run=tmp_path / "x", data=tmp_path / "clips.csv", anomaly=wrong))


def test_long_recordings_are_windows(base: FitConfig, tmp_path: Path) -> None:
    hum(tmp_path / "long" / "fan" / "hour.wav", 300.0, seed=0, seconds=4.0)
    hum(tmp_path / "long" / "pump" / "hour.wav", 900.0, seed=1, seconds=4.0)
    split = SplitOptions(test_fraction=0.0, val_fraction=0.0)
    run = fit(replace(base, data=tmp_path / "long", clip_seconds=0.5, split=split))
    clips = ClipTable.read(run / "clips.parquet").frame
    assert len(clips) == 16
    assert set(clips["seconds"]) == {0.5}


def test_an_interrupted_run_goes_on(base: FitConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(base.anomaly, self_supervised="featex")
    base = replace(base, anomaly=options)
    whole = fit(replace(base, run=base.data.parent / "whole"))

    step = AnomalyTask.training_step

    def stop(self: AnomalyTask, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(AnomalyTask, "training_step", stop)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(base)
    monkeypatch.undo()
    resumed = resume(base.run_folder)
    weights = [AudioEmbedder.from_pretrained(run).state_dict() for run in (whole, resumed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("name", [name for name in preset_files() if name.startswith("anomaly")])
def test_presets_train(base: FitConfig, name: str, tmp_path: Path) -> None:
    text = preset_files()[name].read_text()
    (tmp_path / "preset.yaml").write_text(f"data: {base.data}\nrun: {tmp_path / 'preset'}\n{text}")
    config = read_config(tmp_path / "preset.yaml")
    short = replace(config.optimiser, epochs=1)
    config = replace(config, optimiser=short, cache=base.cache, threads=1, accelerator="cpu")
    assert (fit(config) / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mixup": 1.5}, "--anomaly.mixup"),
        ({"false_alarm_rate": 0.0}, "--anomaly.false_alarm_rate"),
    ],
)
def test_options_out_of_range(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AnomalyOptions(**arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_mixup_of_features_is_refused(base: FitConfig) -> None:
    with pytest.raises(UsageError, match="has --anomaly"):
        replace(base, mixup_alpha=0.2)


def test_write_tone_is_one_machine_by_its_folder(
    base: FitConfig, tmp_path: Path, write_tone: Callable[..., Path]
) -> None:
    for number in range(6):
        write_tone(tmp_path / "shed" / f"{number}.wav", seconds=0.4, frequency=300.0 + number)
    config = replace(
        base, data=tmp_path / "shed", losses={"svdd": Component("DeepSVDDLoss")}, monitor="val/loss"
    )
    with pytest.warns(UserWarning, match="one machine, 'shed'"):
        run = fit(config)
    assert set(ClipTable.read(run / "clips.parquet").frame["machine"]) == {"shed"}
