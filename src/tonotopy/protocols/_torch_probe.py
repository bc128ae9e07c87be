"""A linear classifier trained by gradient descent on random patches, as papers do it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tonotopy._errors import DataError, UsageError
from tonotopy._progress import track
from tonotopy.audio import AudioCache, default_cache
from tonotopy.clips import ClipDataset, ClipTable, collate_clips
from tonotopy.embedder import AudioEmbedder
from tonotopy.protocols._probe_data import ProbeClips, probe_clips
from tonotopy.protocols._probe_methods import CHOSEN_BY, Judged, as_json
from tonotopy.protocols._probe_patches import LabelledPatches, cut_patches
from tonotopy.training.config import SplitOptions

BatchNormMode = Literal["frozen", "train"]

DECAYS = (0.4, 0.8)
"""Where the learning rate falls to a tenth, as shares of the epochs: 80 and 160 of 200."""


@dataclass(frozen=True)
class TorchProbeOptions:
    """How the classifier is trained; the defaults are those of the angular contrastive paper.

    Its released code leaves the encoder in training mode while the probe is trained: batch
    normalisation uses the statistics of the batch, and its running statistics, which the test
    uses, move. That is `batch_norm="train"`, for comparison with its figures only. Its fine-tuning
    is `train_encoder=True, batch_norm="train", learning_rate=0.01`.

    Args:
        epochs: Passes over the training clips; the learning rate falls to a tenth after 40 % and
            after 80 % of them.
        learning_rate: Of stochastic gradient descent.
        momentum: Its momentum.
        weight_decay: Penalty on all trained parameters.
        batch_size: Clips in a batch, one random patch of each; the last batch may have fewer.
        patch_seconds: Length of a patch; a shorter clip is one patch.
        batch_norm: `"frozen"` leaves all normalisations in evaluation mode; `"train"` does not.
        train_encoder: Whether the encoder is trained as well.
        validate_every: Epochs between two judgements on the validation clips; the best is kept.
        seed: Of the initial weights, the batches and the patches.
    """

    epochs: int = 200
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 128
    patch_seconds: float = 1.0
    batch_norm: BatchNormMode = "frozen"
    train_encoder: bool = False
    validate_every: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_norm not in get_args(BatchNormMode):
            raise UsageError(f"batch_norm must be 'frozen' or 'train', got {self.batch_norm!r}")
        for name in ("epochs", "learning_rate", "batch_size", "patch_seconds", "validate_every"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class TorchProbe:
    """What was trained.

    Args:
        embedder: A copy of the model, whose normalisation or encoder may have changed.
        classifier: Embeddings to class scores.
        epoch: The epoch that was kept, from 1.
        history: One row an epoch: `epoch`, `loss` and, where it was measured,
            `val_accuracy_clip_macro`.
    """

    embedder: AudioEmbedder
    classifier: nn.Linear
    epoch: int
    history: list[dict[str, float]]

    @torch.no_grad()
    def probabilities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give (P, C) for embeddings (P, D)."""
        scores = self.classifier(torch.from_numpy(embeddings).to(self.embedder.device))
        shares: NDArray[np.float32] = scores.softmax(dim=1).cpu().numpy()
        return shares


def torch_probe(
    embedder: AudioEmbedder,
    clips: ClipTable,
    options: TorchProbeOptions | None = None,
    *,
    split: SplitOptions | None = None,
    bootstrap: int = 1000,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Train a classifier on random patches and judge it on the test clips.

    The epoch with the highest macro accuracy of validation clips is kept; without validation clips
    it is the last one. The same seed gives the same figures on one machine.

    Args:
        embedder: The model; it is left as it is.
        clips: Labelled clips; see `tonotopy.protocols.probe_embedder` for their split.
        options: How it is trained.
        split: Folds or shares.
        bootstrap: Resamples behind the intervals.
        cache: Folder of decoded audio. Default: `$TONOTOPY_CACHE`, or `~/.cache/tonotopy`.

    Returns:
        `accuracy`, `confusion`, `classes`, `epoch`, `history`, `split_by`, `cautions`, `options`.

    Raises:
        UsageError: The split cannot be made, or the model cannot be trained.
        DataError: Labels or audio do not suffice, or the training diverged.
    """
    options = options or TorchProbeOptions()
    found = probe_clips(clips, split or SplitOptions(), seed=options.seed)
    waves = _Waves(found, AudioCache(cache or default_cache(), embedder.sample_rate), options)
    trained = _train(embedder, waves, options)
    test = waves.patches(trained.embedder, "test")
    judged = Judged(test, len(found.classes), bootstrap, options.seed)
    accuracies, decided = judged.by_probability(trained.probabilities(test.embeddings))
    return {
        "accuracy": as_json(accuracies),
        "confusion": judged.confusion(decided),
        "classes": found.classes,
        "epoch": trained.epoch,
        "history": trained.history,
        "split_by": found.split_by,
        "cautions": found.cautions,
        "options": asdict(options),
    }


@dataclass(frozen=True)
class _Waves:
    """The audio of the clips: random patches to learn from, all patches to judge."""

    found: ProbeClips
    cache: AudioCache
    options: TorchProbeOptions

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield waveforms, lengths and classes, a random patch of every training clip."""
        options = self.options
        patches = ClipDataset(
            self.found.clips,
            self.cache,
            rows=self.found.rows("train").tolist(),
            seconds=options.patch_seconds,
            train=True,
            seed=options.seed,
        )
        patches.set_epoch(epoch)
        order = np.random.default_rng([options.seed, epoch]).permutation(len(patches))
        for start in range(0, len(order), options.batch_size):
            items = [patches[int(i)] for i in order[start : start + options.batch_size]]
            batch = collate_clips(items)
            labels = torch.from_numpy(self.found.labels)[batch["index"]]
            yield batch["waveforms"], batch["lengths"], labels

    def patches(self, embedder: AudioEmbedder, split: str) -> LabelledPatches:
        """Embed all patches of a split by the model as it is now."""
        rows = self.found.rows(split)
        whole = ClipDataset(self.found.clips, self.cache, rows=rows.tolist())
        parts = [
            embedder.embed(
                cut_patches(
                    whole[i]["waveform"].numpy(), embedder.sample_rate, self.options.patch_seconds
                ),
                batch_size=self.options.batch_size,
            ).numpy()
            for i in range(len(rows))
        ]
        owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return LabelledPatches(np.concatenate(parts), owners, self.found.labels[rows])


def _train(embedder: AudioEmbedder, waves: _Waves, options: TorchProbeOptions) -> TorchProbe:
    # Seeded aside: neither dropout nor initial weights disturb the caller's random numbers.
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(options.seed)
        model = copy.deepcopy(embedder)
        classifier = nn.Linear(model.embedding_dim, len(waves.found.classes)).to(model.device)
        model.requires_grad_(False)
        model.encoder.requires_grad_(options.train_encoder)
        trained = [*classifier.parameters(), *(p for p in model.parameters() if p.requires_grad)]
        optimiser = torch.optim.SGD(
            trained,
            lr=options.learning_rate,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
        )
        decays = [max(1, round(share * options.epochs)) for share in DECAYS]
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, decays)
        has_val = len(waves.found.rows("val")) > 0
        best, kept, history = -1.0, (0, model, classifier), []
        for epoch in track(range(options.epochs), label="Training", total=options.epochs):
            row = {"epoch": epoch + 1, "loss": _epoch(model, classifier, optimiser, waves, epoch)}
            schedule.step()
            last = epoch + 1 == options.epochs
            if has_val and (last or (epoch + 1) % options.validate_every == 0):
                score = _validate(TorchProbe(model, classifier, epoch, []), waves)
                row[f"val_{CHOSEN_BY}"] = score
                if score > best:
                    best, kept = score, (epoch + 1, *copy.deepcopy((model, classifier)))
            elif last:
                kept = (epoch + 1, model, classifier)
            history.append(row)
    number, model, classifier = kept
    return TorchProbe(model.eval(), classifier, number, history)


def _epoch(
    model: AudioEmbedder,
    classifier: nn.Linear,
    optimiser: torch.optim.Optimizer,
    waves: _Waves,
    epoch: int,
) -> float:
    """Train on every training clip once; give the mean loss."""
    options = waves.options
    _set_mode(model, options)
    total, count = 0.0, 0
    for waveforms, lengths, labels in waves.batches(epoch):
        with torch.set_grad_enabled(options.train_encoder):
            embeddings = model(waveforms.to(model.device), lengths.to(model.device))
        loss = cross_entropy(classifier(embeddings), labels.to(model.device))
        if not bool(loss.isfinite()):
            raise DataError(
                f"the loss is {loss.item()} in epoch {epoch + 1}: lower the learning rate, or "
                "check the embeddings of the model"
            )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimiser.step()
        total, count = total + loss.item() * len(labels), count + len(labels)
    return total / count


def _set_mode(model: AudioEmbedder, options: TorchProbeOptions) -> None:
    """Let layers learn, drop out and normalise as the options say."""
    model.eval()
    model.encoder.train(options.train_encoder or options.batch_norm == "train")
    if options.batch_norm == "frozen":
        for layer in model.encoder.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()


def _validate(probe: TorchProbe, waves: _Waves) -> float:
    patches = waves.patches(probe.embedder, "val")
    judged = Judged(patches, len(waves.found.classes))
    return judged.by_probability(probe.probabilities(patches.embeddings))[0][CHOSEN_BY].value
