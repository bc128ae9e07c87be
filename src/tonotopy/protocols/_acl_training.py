"""How the models of the angular contrastive experiment are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tonotopy._components import Component
from tonotopy.protocols._acl_data import PATCH_SECONDS, SUPERVISED_PATCH_SECONDS, AclData
from tonotopy.protocols._acl_options import AclOptions
from tonotopy.protocols._acl_trials import Trial
from tonotopy.protocols._torch_probe import TorchProbeOptions
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit, resume
from tonotopy.training.intermediate_options import IntermediateOptions

MODEL_FILE = "model.safetensors"

SUPERVISED_WEIGHTS = (4.4, 76.2)
"""What the published sum / 50 weighs as means over positives and negatives: of 64 clips drawn from
the training clips, 5.4 to 5.6 % of all pairs are of one class."""

AUGMENTATIONS = ("MixBack", "RandomResizedCrop", "Compression", "FeatureNoise")

LAST_CONVOLUTION = "convs.2"


def train_run(config: FitConfig) -> Path:
    """Train, go on with an interrupted training, or give the finished one."""
    run = config.run_folder
    if not (run / MODEL_FILE).is_file():
        return resume(run) if (run / "config.yaml").is_file() else fit(config)
    return run


def pretraining(options: AclOptions, trial: Trial, data: AclData, out: Path) -> FitConfig:
    """Configure a training on noisy clips without labels; verified ones choose the epoch."""
    divisor = "published" if "input-scale" in options.authors else "deviation"
    loss = {"alpha": trial.alpha, "temperature": trial.temperature}
    loss |= _reduction(options, {}, divisor=25.0)
    return FitConfig(
        data=data.write(data.clips, out / "tables" / "clips.parquet"),
        run=out / "runs" / trial.name,
        front_end=Component("PeakLogMel", {"divisor": divisor}),
        encoder=options.encoder,
        task="self-supervised",
        losses={"acl": Component("AngularContrastiveLoss", loss)},
        augmentations=[Component(name) for name in AUGMENTATIONS],
        # A recording is one clip, however long: two random seconds of it an epoch.
        clip_seconds=max(data.clips.frame["seconds"]),
        split=SplitOptions(test_fold="test", val_fold="clean"),
        batches=Component("ShuffledBatchSampler", {"batch_size": 128}),
        optimiser=OptimiserOptions(
            epochs=options.epochs,
            algorithm="sgd",
            learning_rate=0.03,
            weight_decay=1e-4,
            schedule="steps",
            clip_gradient=0.0,
        ),
        monitor="val/knn_accuracy",
        seed=trial.seed,
        accelerator=options.accelerator,
        threads=options.threads,
        workers=options.workers,
    )


def probing(options: AclOptions, trial: Trial) -> TorchProbeOptions:
    """Configure the linear classifier, or fine-tuning."""
    if trial.kind == "linear":
        return TorchProbeOptions(
            epochs=options.probe_epochs,
            patch_seconds=PATCH_SECONDS,
            batch_norm="train" if "probe-batch-norm" in options.authors else "frozen",
            seed=trial.seed,
        )
    return TorchProbeOptions(
        epochs=options.probe_epochs,
        learning_rate=0.01,
        patch_seconds=PATCH_SECONDS,
        batch_norm="train",
        train_encoder=True,
        seed=trial.seed,
    )


def supervised(options: AclOptions, trial: Trial, data: AclData, out: Path) -> FitConfig:
    """Configure cross-entropy with an angular margin on the last convolution."""
    assert trial.subset is not None, "supervised trials have training clips"
    angular = _angular(options, trial.alpha)
    return FitConfig(
        data=data.write(
            data.for_supervised(trial.subset), out / "tables" / f"{trial.subset}.parquet"
        ),
        run=out / "runs" / trial.name,
        front_end=Component(
            "LogMel",
            {
                "sample_rate": 44100,
                "n_fft": 2048,
                "win_length": 1764,
                "hop_length": 882,
                "n_mels": 96,
                "log": "log10",
                "eps": 2.2e-16,
                "normalise": "dataset",
            },
        ),
        encoder=options.supervised_encoder,
        losses={"ce": Component("CrossEntropyLoss")},
        loss_weights={"ce": trial.alpha, **({"amc": 1.0 - trial.alpha} if angular else {})},
        intermediate=IntermediateOptions(LAST_CONVOLUTION, "max", angular)
        if angular
        else IntermediateOptions(),
        augmentations=[],
        clip_seconds=SUPERVISED_PATCH_SECONDS,
        short_clips="tile",
        split=data.drawn,
        batches=Component("ShuffledBatchSampler", {"batch_size": 64}),
        optimiser=OptimiserOptions(
            epochs=options.supervised_epochs,
            algorithm="adam",
            learning_rate=1e-3,
            weight_decay=1e-3,
            schedule="plateau",
            plateau_epochs=5,
            plateau_factor=0.5,
            clip_gradient=0.0,
        ),
        monitor="val/loss",
        seed=trial.seed,
        accelerator=options.accelerator,
        threads=options.threads,
        workers=options.workers,
    )


def _angular(options: AclOptions, alpha: float) -> dict[str, Component]:
    if alpha == 1.0:
        return {}
    reduction = _reduction(options, {"weights": SUPERVISED_WEIGHTS}, divisor=50.0)
    return {"amc": Component("AngularMarginContrastiveLoss", reduction)}


def _reduction(options: AclOptions, default: dict[str, Any], *, divisor: float) -> dict[str, Any]:
    if "reduction" in options.authors:
        return {"reduction": "published", "divisor": divisor}
    return default
