"""What `fit` can be told; the fields are the options of the command line and the keys of YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy._files import write_text
from tonotopy.training.anomaly_options import AnomalyOptions
from tonotopy.training.intermediate_options import IntermediateOptions
from tonotopy.training.self_supervised_options import SelfSupervisedOptions

MONITORS = ("auto", "val/accuracy", "val/knn_accuracy", "val/loss")
"""What can choose the best epoch."""

Task = Literal["classes", "tree", "anomaly", "self-supervised"]


@dataclass(frozen=True)
class SplitOptions:
    """Which clips train, which choose the best epoch, which are kept for the final test.

    Args:
        test_fold: Fold kept for the test, as named in the `fold` column of the data.
        val_fold: Fold that chooses the best epoch.
        test_fraction: Share of the clips for the test where no `test_fold` is given; 0 for none.
        val_fraction: Share of the remaining clips for validation where no `val_fold` is given;
            0 for none: then every epoch runs and the last weights are kept.
        by: `"label"` keeps the class shares; `"group"` keeps all clips of one `group` together.
        unseen: Labels, as in `Strings/Violin`, that training never sees: their clips are kept for
            the test of unseen classes.
    """

    test_fold: str | None = None
    val_fold: str | None = None
    test_fraction: float = 0.2
    val_fraction: float = 0.2
    by: Literal["label", "group"] = "label"
    unseen: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OptimiserOptions:
    """The optimiser and its learning rate.

    Args:
        epochs: Passes over the training clips.
        algorithm: `"adamw"`, with decoupled weight decay that leaves out biases and normalisation
            layers; or, with weight decay as a penalty on all parameters, `"adam"`, or `"sgd"` with
            a momentum of 0.9.
        learning_rate: Peak learning rate.
        weight_decay: Weight decay.
        schedule: `"cosine"`, a linear warm-up and a cosine decay to zero; `"plateau"`, times
            `plateau_factor` whenever the validation loss has not fallen for `plateau_epochs`;
            `"steps"`, times 0.1 at every one of the `milestones`; or `"constant"`.
        warmup_epochs: Epochs of linear warm-up from zero; for the cosine.
        plateau_epochs: Epochs without a lower validation loss; for the plateau.
        plateau_factor: What the plateau multiplies by, between 0 and 1.
        milestones: Shares of the epochs after which the steps go down, in [0, 1].
        clip_gradient: Largest gradient norm; 0 turns clipping off.
    """

    epochs: int = 40
    algorithm: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    schedule: Literal["cosine", "plateau", "steps", "constant"] = "cosine"
    warmup_epochs: float = 5.0
    plateau_epochs: int = 50
    plateau_factor: float = 0.6
    milestones: list[float] = field(default_factory=lambda: [0.65, 0.85])
    clip_gradient: float = 5.0

    def __post_init__(self) -> None:
        if not 0.0 < self.plateau_factor < 1.0:
            raise UsageError(
                f"--optimiser.plateau_factor lies between 0 and 1, got {self.plateau_factor}"
            )
        if not all(0.0 <= milestone <= 1.0 for milestone in self.milestones):
            raise UsageError(
                f"--optimiser.milestones are shares of the epochs in [0, 1], got {self.milestones}"
            )


DEFAULT_LOSSES: dict[Task, dict[str, Component]] = {
    "classes": {"ce": Component("CrossEntropyLoss")},
    "tree": {
        "level_ce": Component("LevelCrossEntropyLoss"),
        "triplet": Component("GeneralizedTripletLoss"),
    },
    "anomaly": {"subcluster_adacos": Component("SubclusterAdaCosLoss")},
    "self-supervised": {"acl": Component("AngularContrastiveLoss")},
}
DEFAULT_BATCHES: dict[Task, Component] = {
    "classes": Component("PKBatchSampler", {"classes_per_batch": 16, "clips_per_class": 4}),
    "tree": Component("TreeBatchSampler"),
    "anomaly": Component("ShuffledBatchSampler", {"batch_size": 64}),
    "self-supervised": Component("ShuffledBatchSampler", {"batch_size": 128}),
}


def _default_front_end() -> Component:
    # Found on ESC-50 by training on folds 1 and 2 and validating on fold 3: 20 ms steps lose no
    # accuracy against 10 ms and take half the time.
    bands = {"n_mels": 64, "f_min": 20.0, "mel_scale": "htk", "mel_norm": None}
    return Component("LogMel", {"n_fft": 1024, "hop_length": 320, "eps": 1e-5, **bands})


def _default_augmentations() -> list[Component]:
    return [Component("TimeShift"), Component("SpecAugment")]


@dataclass(frozen=True)
class FitConfig:
    """Everything that decides a run; the same configuration gives the same weights on one machine.

    A component is written as a class name (`ResNet18`) or as
    `{class_path: ResNet18, init_args: {width: 32}}`; `--components` lists them all.

    Args:
        data: A folder whose sub-folders are labels, a CSV or Parquet table, a saved Hugging Face
            data set, or the `clips.parquet` of an earlier scan.
        run: The folder to make. Default: `runs/` and the name of the data.
        front_end: Waveform to features.
        encoder: Features to one vector a clip.
        task: What the labels are: `"classes"`, each its own; a `"tree"` of which clips may be
            labelled to any depth, or not at all, which losses over a tree need; for an `"anomaly"`
            detector, what is known of machines in normal condition; or nothing that training needs
            (`"self-supervised"`): views of a clip belong together, labels only measure.
        pretrained: A run, or another model folder, whose front end and encoder training starts
            from, with their weights; `front_end` and `encoder` are then those of the model.
        freeze_encoder: Train only what stands on the encoder, such as a classifier; batch
            normalisation then works with its stored statistics.
        losses: Name to loss; their weighted sum is minimised. The first with a classifier gives
            the model its own. Default: cross-entropy; for a tree, cross-entropy on every level and
            the generalised triplet loss; for anomalies, sub-cluster AdaCos; without labels, the
            angular contrastive loss.
        loss_weights: Name to weight; 1 where not given.
        augmentations: Applied in this order while training.
        mixup_alpha: Mix pairs of clips and their labels, share ~ Beta(alpha, alpha); 0 for none.
        clip_seconds: Training sees excerpts of this length; longer clips are cropped at random.
            Default: the longest clip, 10 at most. For anomalies it is also the length of the
            windows that are scored; without labels, that of the windows that recordings are cut
            into, and that views are cut from.
        short_clips: Fill a clip that is shorter with silence (`"pad"`) or repeat it (`"tile"`).
        split: Training, validation and test clips.
        batches: How clips are put together. Default: `PKBatchSampler` with 16 classes and 4 clips
            of each; for a tree, `TreeBatchSampler`; for anomalies, `ShuffledBatchSampler` of 64;
            without labels, of 128.
        class_weights: Let every node of the tree count as much as any other of its level, by how
            often its clips occur in the batches of an epoch. For losses that take weights.
        optimiser: Epochs and learning rate.
        anomaly: For the task `anomaly`.
        self_supervised: For the task `self-supervised`.
        intermediate: Further losses on a layer inside the encoder.
        monitor: What chooses the best epoch and stops early: `val/accuracy`, `val/knn_accuracy`
            or `val/loss`; `auto` is the first where a loss has a classifier, otherwise the second,
            and the third where no label is known.
            For a tree, accuracies are means over its levels.
        keep: The weights that are kept: of the `"best"` epoch, or the `"last"`.
        patience: Stop after this many epochs without a better `monitor`; 0 never stops early.
        checkpoint_minutes: Save a checkpoint within an epoch this often; one is saved after every
            epoch in any case.
        seed: Of the split, the initial weights, the batches and the augmentations.
        accelerator: `"auto"`, `"cpu"`, `"cuda"`, ... (as Lightning names them).
        devices: Number of processes, one a device.
        threads: CPU threads; 0 leaves it to PyTorch.
        workers: Loader processes; 0 loads in the training process.
        cache: Folder of decoded audio. Default: `$TONOTOPY_CACHE`, or `~/.cache/tonotopy`.
    """

    data: Path
    run: Path | None = None
    front_end: Component = field(default_factory=_default_front_end)
    encoder: Component = field(default_factory=lambda: Component("ConvNet"))
    task: Task = "classes"
    pretrained: Path | None = None
    freeze_encoder: bool = False
    losses: dict[str, Component] = field(default_factory=dict)
    loss_weights: dict[str, float] = field(default_factory=dict)
    augmentations: list[Component] = field(default_factory=_default_augmentations)
    mixup_alpha: float = 0.0
    clip_seconds: float | None = None
    short_clips: Literal["pad", "tile"] = "pad"
    split: SplitOptions = field(default_factory=SplitOptions)
    batches: Component | None = None
    class_weights: bool = False
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    anomaly: AnomalyOptions = field(default_factory=AnomalyOptions)
    self_supervised: SelfSupervisedOptions = field(default_factory=SelfSupervisedOptions)
    intermediate: IntermediateOptions = field(default_factory=IntermediateOptions)
    monitor: str = "auto"
    keep: Literal["best", "last"] = "best"
    patience: int = 0
    checkpoint_minutes: float = 5.0
    seed: int = 0
    accelerator: str = "auto"
    devices: int = 1
    threads: int = 0
    workers: int = 0
    cache: Path | None = None

    def __post_init__(self) -> None:
        positive = {
            "optimiser.epochs": self.optimiser.epochs,
            "optimiser.learning_rate": self.optimiser.learning_rate,
            "devices": self.devices,
        }
        for name, value in positive.items():
            if value <= 0:
                raise UsageError(f"--{name} must be positive, got {value}")
        if not self.losses:
            object.__setattr__(self, "losses", dict(DEFAULT_LOSSES[self.task]))
        if self.batches is None:
            object.__setattr__(self, "batches", DEFAULT_BATCHES[self.task])
        if self.task == "tree" and self.mixup_alpha:
            raise UsageError("--mixup_alpha mixes flat classes; with --task tree it must be 0")
        if self.task == "anomaly" and self.mixup_alpha:
            raise UsageError("--mixup_alpha mixes features; --task anomaly has --anomaly.mixup")
        if self.task == "self-supervised":
            self._check_self_supervised()
        if self.monitor not in MONITORS:
            raise UsageError(
                f"--monitor {self.monitor!r} is not measured; there are: {', '.join(MONITORS)}"
            )
        self._check_intermediate()
        if self.task == "anomaly" and self.freeze_encoder:
            raise UsageError("--freeze_encoder goes with --task classes or tree, not with anomaly")
        losses = [*self.losses, *self.intermediate.losses]
        for name in self.loss_weights:
            if name not in losses:
                raise UsageError(
                    f"--loss_weights names {name!r}, which is not among the losses: "
                    f"{', '.join(losses)}"
                )

    def _check_intermediate(self) -> None:
        if self.intermediate.losses and self.task not in ("classes", "tree"):
            raise UsageError(
                f"--intermediate.losses need labels: they go with --task classes or tree, not with "
                f"{self.task}"
            )
        if self.intermediate.losses and self.freeze_encoder:
            raise UsageError(
                "--freeze_encoder leaves nothing that --intermediate.losses could train: leave one "
                "of them out"
            )
        for name in self.intermediate.losses:
            if name in self.losses:
                raise UsageError(
                    f"--intermediate.losses and --losses both have {name!r}: give each its own name"
                )

    def _check_self_supervised(self) -> None:
        if self.mixup_alpha:
            raise UsageError("--mixup_alpha mixes labels; --task self-supervised needs none")
        if self.class_weights:
            raise UsageError("--class_weights weighs classes; --task self-supervised has none")
        if self.freeze_encoder:
            raise UsageError(
                "--freeze_encoder leaves nothing to learn without labels: leave it out, or train a "
                "classifier by --task classes --pretrained RUN --freeze_encoder true"
            )

    @property
    def run_folder(self) -> Path:
        """The run's folder, with the default filled in."""
        return self.run if self.run is not None else Path("runs") / self.data.stem


def register_component_type() -> None:
    """Teach jsonargparse to read and write a `Component` as one value."""
    from jsonargparse.typing import register_type

    register_type(
        Component,
        serializer=Component.to_dict,
        deserializer=_read_component,
        type_check=lambda value, _: isinstance(value, Component),
        fail_already_registered=False,
    )


def _read_component(value: Any) -> Component:
    import yaml

    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = yaml.safe_load(value)
    return Component.parse(value)


def write_config(config: FitConfig, path: Path) -> None:
    """Write the resolved configuration as YAML."""
    import yaml

    write_text(path, yaml.safe_dump(plain_config(config), sort_keys=False, allow_unicode=True))


def plain_config(config: FitConfig) -> dict[str, Any]:
    """Give the configuration as JSON and YAML know it."""
    return {entry.name: _plain(getattr(config, entry.name)) for entry in fields(config)}


def read_config(path: Path, defaults: Mapping[str, Any] | None = None) -> FitConfig:
    """Read a configuration that `write_config` wrote, or that a person wrote by its pattern.

    Args:
        path: The YAML file.
        defaults: Options, as on the command line (`"split.test_fraction"`), to values that hold
            where the file says nothing. Default: those of `FitConfig`.

    Raises:
        UsageError: A key is misspelt or a value has the wrong type; the message names it.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    register_component_type()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(FitConfig, None)
    parser.set_defaults(dict(defaults or {}))
    try:
        parsed = parser.parse_path(path)
    except ArgumentError as error:
        raise UsageError(f"{path}: {error}") from error
    except (OSError, TypeError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}") from error
    return FitConfig(**vars(parser.instantiate(parsed)))


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return value.to_dict()
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
