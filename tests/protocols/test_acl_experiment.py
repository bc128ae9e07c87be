"""The angular contrastive experiment on a miniature of FSDnoisy18k, from end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tonotopy._components import Component
from tonotopy._errors import DataError, UsageError
from tonotopy.cli import main
from tonotopy.clips import ClipTable
from tonotopy.datasets import find_dataset
from tonotopy.datasets import fsdnoisy18k as module
from tonotopy.datasets.fsdnoisy18k import CLASSES
from tonotopy.metrics.clip_accuracy import CLIP_ACCURACIES
from tonotopy.protocols._acl_data import AclData
from tonotopy.protocols._acl_measures import vote_of_other_clips
from tonotopy.protocols._acl_options import DEFECTS, PUBLISHED_EPOCHS
from tonotopy.protocols._acl_training import SUPERVISED_WEIGHTS, pretraining, probing, supervised
from tonotopy.protocols._acl_trials import Trial, list_trials
from tonotopy.protocols._probe_patches import LabelledPatches
from tonotopy.protocols.acl_experiment import STAGES, AclOptions, run_acl_experiment

RATE = 8000
MINIATURE = AclOptions(
    encoder=Component("PatchResNet18", {"width": 2}),
    supervised_encoder=Component("PatchConvNet", {"dropout": 0.0}),
    epochs=1,
    probe_epochs=1,
    supervised_epochs=1,
    accelerator="cpu",
    threads=1,
)


def sound(of_class: int, number: int, seconds: float) -> NDArray[np.float32]:
    """A tone of the class in noise of the clip."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng([of_class, number]).normal(size=len(time))
    return np.asarray(
        0.4 * np.sin(2 * np.pi * 400 * (1 + of_class) * time) + 0.02 * noise, np.float32
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official layout with three classes; of each eight noisy, five clean and two test clips.

    A clip lasts up to 2.75 s, one noisy clip of each class 5 s; half of the noisy clips are of the
    small noisy subset.
    """
    folder = tmp_path_factory.mktemp("FSDnoisy18k")
    train, test = ["fname,label,aso_id,manually_verified,noisy_small"], ["fname,label,aso_id"]
    for of_class, label in enumerate(CLASSES[:3]):
        for number in range(15):
            name = f"{100 * of_class + number}.wav"
            tested = number >= 13
            audio = folder / f"FSDnoisy18k.audio_{'test' if tested else 'train'}"
            audio.mkdir(exist_ok=True)
            seconds = 5.0 if number == 7 else 0.5 + 0.25 * (number % 10)
            soundfile.write(audio / name, sound(of_class, number, seconds), RATE)
            if tested:
                test.append(f"{name},{label},/m/{of_class}")
            else:
                flags = "1,0" if number >= 8 else f"0,{int(number < 4)}"
                train.append(f"{name},{label},/m/{of_class},{flags}")
    meta = folder / "FSDnoisy18k.meta"
    meta.mkdir()
    (meta / "train.csv").write_text("\n".join(train) + "\n")
    (meta / "test.csv").write_text("\n".join(test) + "\n")
    return folder


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(module, "COUNTS", {"clean": 15, "noisy": 24, "test": 6})
    monkeypatch.setenv("TONOTOPY_CACHE", str(tmp_path_factory.getbasetemp() / "decoded"))


@pytest.fixture
def clips(root: Path) -> ClipTable:
    return find_dataset("fsdnoisy18k").load(root)


def test_without_labels_from_end_to_end(clips: ClipTable, tmp_path: Path) -> None:
    result = run_acl_experiment(
        clips,
        tmp_path,
        options=MINIATURE,
        stages=("pretrain", "linear", "finetune"),
        alphas=(0.3, 1.0),
    )
    kinds = ["pretrain", "linear", "finetune-noisy", "finetune-clean"]
    assert [(trial["kind"], trial["alpha"]) for trial in result["trials"]] == [
        (kind, alpha) for alpha in (0.3, 1.0) for kind in kinds
    ]
    for trial in result["trials"]:
        assert set(trial["accuracy"]) == set(CLIP_ACCURACIES)
        for value in trial["accuracy"].values():
            assert 0.0 <= value["low"] <= value["value"] <= value["high"] <= 1.0
    assert set(result["chosen"]) == {"0.2"}
    text = (tmp_path / "results.md").read_text()
    assert "## Linear evaluation, temperature 0.2" in text
    assert "| 0.3 | 1 |" in text
    assert "77.1" in text  # published beside ours
    assert "Supervised training: nothing." in text
    assert "1 epochs, not 500" in text
    written = json.loads((tmp_path / "results.json").read_text())
    assert [row["kind"] for row in written["table"]] == [row["kind"] for row in result["table"]]
    assert written["chosen"] == result["chosen"]


def test_finished_trials_are_kept_and_the_rest_is_run(clips: ClipTable, tmp_path: Path) -> None:
    def run(*stages: Any, **others: Any) -> dict[str, Any]:
        return run_acl_experiment(
            clips, tmp_path, options=MINIATURE, stages=stages, alphas=(1.0,), **others
        )

    with pytest.raises(UsageError, match="add the stage pretrain"):
        run("linear")
    run("pretrain")
    trial = Trial("pretrain", 1.0, 0, 0.2)
    model = tmp_path / "runs" / trial.name / "model.safetensors"
    before = model.stat().st_mtime_ns
    # Interrupted between the training and its measurement.
    (tmp_path / "trials" / f"{trial.name}.json").unlink()
    result = run("pretrain", "linear")
    assert model.stat().st_mtime_ns == before
    assert [trial["kind"] for trial in result["trials"]] == ["pretrain", "linear"]
    again = run("pretrain", "linear")
    assert again["trials"] == result["trials"]  # their seconds, too
    with pytest.raises(UsageError, match="epochs differ"):
        run_acl_experiment(clips, tmp_path, options=replace(MINIATURE, epochs=2))


def test_with_labels_from_end_to_end(clips: ClipTable, tmp_path: Path) -> None:
    result = run_acl_experiment(
        clips,
        tmp_path,
        options=MINIATURE,
        stages=("supervised",),
        alphas=(0.0, 0.7, 1.0),
        subsets=("clean", "noisy_small"),
    )
    assert [(trial["subset"], trial["alpha"]) for trial in result["trials"]] == [
        ("clean", 0.7), ("clean", 1.0), ("noisy_small", 0.7), ("noisy_small", 1.0)
    ]  # fmt: skip
    run = tmp_path / "runs" / Trial("supervised", 0.7, 0, subset="clean").name
    header = (run / "logs" / "metrics.csv").read_text().splitlines()[0]
    assert "train/amc" in header
    plain = tmp_path / "runs" / Trial("supervised", 1.0, 0, subset="clean").name
    assert "train/amc" not in (plain / "logs" / "metrics.csv").read_text()


def test_the_command_line_says_what_it_did(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        f"reproduce acl --data {root} --out {tmp_path} --stages [pretrain] --alphas [0.3] "
        "--epochs 1 --width 2 --accelerator cpu --threads 1 --authors [input-scale,reduction]"
    ).split()
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "As the authors, reduction" in text
    assert "tables in" in text
    config = (tmp_path / "runs" / Trial("pretrain", 0.3, 0, 0.2).name / "config.yaml").read_text()
    assert "divisor: published" in config
    assert "reduction: published" in config


def test_a_width_is_of_the_residual_network(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = f"reproduce acl --data {root} --out {tmp_path} --encoder PatchVGG --width 2"
    assert main(arguments.split()) == 2
    assert "--width is of PatchResNet18" in capsys.readouterr().err


def test_help_names_every_defect(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "acl", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in DEFECTS)


def test_clips_have_the_roles_of_the_paper(clips: ClipTable) -> None:
    data = AclData.of(clips)
    assert data.counts == {"noisy": 24, "clean": 15, "test": 6}
    noisy = data.for_probe("noisy", 0).frame
    assert dict(noisy.group_by("fold", "split").len().select("fold", "split").iter_rows()) == {
        "noisy": "train", "clean": "val", "test": "test"
    }  # fmt: skip
    clean = data.for_probe("clean", 0).frame
    assert set(clean["fold"]) == {"clean", "test"}
    drawn = clean.filter(clean["fold"] == "clean")
    shares = drawn.group_by("label", "split").len()
    assert sorted(shares.filter(shares["split"] == "val")["len"]) == [1, 1, 1]  # 15 % of 5
    assert len(drawn) == 15
    assert set(clean.filter(clean["fold"] == "test")["split"]) == {"test"}


def test_all_patches_train_with_labels_and_test_clips_stay_whole(clips: ClipTable) -> None:
    table = AclData.of(clips).for_supervised("noisy").frame
    test = table.filter(table["fold"] == "test")
    assert test["start"].null_count() == len(test) == 6
    train = table.filter(table["fold"] == "noisy")
    assert train["path"].n_unique() == 24
    cut = train.filter(train["start"].is_not_null())
    assert cut["start"].to_list() == [0.0, 1.0, 2.0, 3.0] * 3
    assert set(cut["seconds"]) == {2.0}
    clean = AclData.of(clips).for_supervised("clean").frame
    assert set(clean["fold"]) == {"clean", "test"}


def test_a_part_without_clips_is_named(clips: ClipTable) -> None:
    with pytest.raises(DataError, match="no clean clip"):
        AclData.of(
            clips.filter(~clips.frame["manually_verified"] | (clips.frame["fold"] == "test"))
        )


def test_neighbours_are_of_other_clips() -> None:
    generator = np.random.default_rng(0)
    owners = np.repeat(np.arange(6), [3, 1, 2, 4, 1, 2])
    labels = np.array([0, 1, 0, 2, 1, 2])
    embeddings = generator.normal(size=(len(owners), 5)).astype(np.float32)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for voters in (1, 4, 200):
        expected = []
        for row, owner in enumerate(owners):
            others = np.flatnonzero(owners != owner)
            order = others[np.argsort(-(units[others] @ units[row]), kind="stable")][:voters]
            expected.append(np.bincount(labels[owners[order]], minlength=3).argmax())
        found = vote_of_other_clips(LabelledPatches(embeddings, owners, labels), voters, 3)
        assert found.tolist() == expected


def test_recipes_are_those_of_the_paper(clips: ClipTable, tmp_path: Path) -> None:
    data, options = AclData.of(clips), AclOptions()
    config = pretraining(options, Trial("pretrain", 0.3, 5, 0.2), data, tmp_path)
    assert config.optimiser.epochs == 500
    assert (config.optimiser.algorithm, config.optimiser.schedule) == ("sgd", "steps")
    assert config.losses["acl"].init_args == {"alpha": 0.3, "temperature": 0.2}
    assert config.seed == 5
    linear = probing(options, Trial("linear", 0.3, 0, 0.2))
    assert (linear.batch_norm, linear.train_encoder, linear.learning_rate) == ("frozen", False, 0.1)
    authors = AclOptions(authors=("probe-batch-norm", "reduction", "input-scale"))
    assert probing(authors, Trial("linear", 0.3, 0, 0.2)).batch_norm == "train"
    assert pretraining(authors, Trial("pretrain", 0.3, 5, 0.2), data, tmp_path).losses[
        "acl"
    ].init_args == {
        "alpha": 0.3, "temperature": 0.2, "reduction": "published", "divisor": 25.0
    }  # fmt: skip
    tuned = probing(options, Trial("finetune-clean", 0.3, 0, 0.2))
    assert (tuned.train_encoder, tuned.learning_rate, tuned.epochs) == (True, 0.01, 200)
    angular = supervised(options, Trial("supervised", 0.7, 0, subset="all"), data, tmp_path)
    assert angular.loss_weights == pytest.approx({"ce": 0.7, "amc": 0.3})
    published = supervised(authors, Trial("supervised", 0.7, 0, subset="all"), data, tmp_path)
    assert published.intermediate.losses["amc"].init_args["divisor"] == 50.0


def test_supervised_weights_are_the_published_sums_at_their_batch() -> None:
    pairs = 64 * 63
    clips = [998, 1106, 928, 759, 1076, 847, 1132, 758, 832, 382,
             1155, 992, 1096, 508, 1078, 998, 490, 1077, 1057, 316]  # fmt: skip
    total = sum(clips)
    assert total == 1_772 + 15_813
    same = sum(n * (n - 1) for n in clips) / (total * (total - 1))
    for weight, share in zip(SUPERVISED_WEIGHTS, (same, 1 - same), strict=True):
        assert weight == pytest.approx(share * pairs / 50, rel=0.01)


def test_trials_go_seed_by_seed_and_train_before_they_measure() -> None:
    trials = list_trials(
        STAGES, alphas=(0.0, 1.0), temperatures=(0.1, 0.2), subsets=("all",), seeds=(0, 1)
    )
    assert len({trial.name for trial in trials}) == len(trials) == 2 * (2 * 2 * 4 + 1)
    assert [trial.seed for trial in trials] == sorted(trial.seed for trial in trials)
    for number, trial in enumerate(trials):
        if trial.kind not in ("pretrain", "supervised"):
            assert trial.pretraining in trials[:number]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stages": ["tune"]}, "no stage 'tune'"),
        ({"subsets": ["some"]}, "no subset 'some'"),
        ({"alphas": [1.5]}, "got 1.5"),
        ({"alphas": []}, "at least one"),
    ],
)
def test_wrong_names_are_refused(
    clips: ClipTable, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_acl_experiment(clips, tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match="no 'nan'"):
        AclOptions(authors=("nan",))  # type: ignore[arg-type]  # what a user may write
    with pytest.raises(UsageError, match="at least 1"):
        AclOptions(epochs=0)
    for stage, epochs in PUBLISHED_EPOCHS.items():
        assert AclOptions().epochs_of(stage) == epochs
