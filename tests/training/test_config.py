"""The configuration: written, read, and misspelt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions
from tonotopy.training.config import read_config, write_config


def test_round_trip(tmp_path: Path) -> None:
    config = FitConfig(
        data=Path("some/data"),
        run=tmp_path / "run",
        encoder=Component("ResNet18", {"width": 32}),
        losses={"ce": Component("CrossEntropyLoss"), "add": Component("X", {"form": "gram"})},
        loss_weights={"add": 0.5},
        augmentations=[],
        split=SplitOptions(test_fold="4", val_fraction=0.0, by="group"),
        optimiser=OptimiserOptions(epochs=7),
        clip_seconds=1.5,
    )
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


def test_a_file_by_hand_may_be_short(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("data: sounds\nencoder: ResNet18\nlosses: {add: {class_path: X}}\n")
    config = read_config(file)
    assert config.encoder == Component("ResNet18")
    assert config.losses == {"add": Component("X")}
    assert config.run_folder == Path("runs/sounds")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: x\nencodr: ResNet18", "encodr"),
        ("data: x\noptimiser: {epoch: 3}", "epoch"),
        ("data: x\noptimiser: {epochs: many}", "epochs"),
        ("data: x\noptimiser: {epochs: 0}", "must be positive"),
        ("data: x\ntask: tree\nmixup_alpha: 0.2", "must be 0"),
        ("data: x\nloss_weights: {add: 1.0}", "'add'"),
        ("data: x\nencoder: {class_path: A, args: {}}", "args"),
        ("data: [", "my.yaml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_config(tmp_path / "my.yaml")


def test_a_missing_file_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_config(tmp_path / "none.yaml")


def test_a_file_may_leave_out_what_defaults_say(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("optimiser: {epochs: 3}\nsplit: {val_fraction: 0.5}\n")
    defaults = {"data": tmp_path, "task": "tree", "split.test_fraction": 0.1, "seed": 4}
    config = read_config(file, defaults)
    assert (config.data, config.task, config.seed) == (tmp_path, "tree", 4)
    assert (config.split.test_fraction, config.split.val_fraction) == (0.1, 0.5)
    assert config.optimiser == OptimiserOptions(epochs=3)
    assert config.batches == Component("TreeBatchSampler")
    file.write_text("seed: 5\ndata: elsewhere\n")
    assert read_config(file, defaults).seed == 5
    assert read_config(file, defaults).data == Path("elsewhere")
    file.write_text("seed: 5\n")
    with pytest.raises(UsageError, match="data"):
        read_config(file)
