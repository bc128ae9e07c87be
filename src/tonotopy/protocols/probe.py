"""How much a frozen encoder knows of classes that it was not told: probes on any labelled clips."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

from tonotopy._errors import UsageError
from tonotopy.clips import ClipTable
from tonotopy.embedder import AudioEmbedder
from tonotopy.protocols._probe_data import SPLITS, ProbeClips, probe_clips
from tonotopy.protocols._probe_finetune import finetune
from tonotopy.protocols._probe_methods import Judged, probe_linear, probe_neighbours
from tonotopy.protocols._probe_patches import LabelledPatches, embed_patches
from tonotopy.protocols._probe_subsets import few_shot, learning_curves
from tonotopy.training.config import SplitOptions

FORMAT = 1
PATCHES_FOLDER = "patches"

ProbeMethod = Literal["linear", "knn", "few-shot", "finetune"]


@dataclass(frozen=True)
class ProbeOptions:
    """What is measured, and how.

    Args:
        methods: Of `"linear"`, `"knn"`, `"few-shot"` and `"finetune"`; the last trains a whole
            model. Learning curves are drawn of the first two.
        patch_seconds: Clips are cut into patches of this length, half of one apart.
        split: Folds or shares; see `probe_embedder`.
        shots: Numbers k of clips per class for few-shot.
        draws: How often the k clips are drawn.
        curve_draws: How often the clips of each size of the learning curves are drawn.
        bootstrap: Resamples of the test clips behind every interval.
        epochs: Of fine-tuning.
        seed: Of shares, draws, resamples and fine-tuning.
    """

    methods: tuple[ProbeMethod, ...] = ("linear", "knn", "few-shot")
    patch_seconds: float = 1.0
    split: SplitOptions = field(default_factory=SplitOptions)
    shots: tuple[int, ...] = (1, 5, 10)
    draws: int = 50
    curve_draws: int = 5
    bootstrap: int = 1000
    epochs: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        known = get_args(ProbeMethod)
        for method in self.methods:
            if method not in known:
                raise UsageError(f"--methods knows {', '.join(known)}, not {method!r}")
        if not self.methods:
            raise UsageError(f"--methods needs one of {', '.join(known)}")
        positive = {
            "patch_seconds": self.patch_seconds,
            "shots": min(self.shots, default=0),
            "draws": self.draws,
            "curve_draws": self.curve_draws,
            "epochs": self.epochs,
        }
        for name, value in positive.items():
            if not value > 0:
                raise UsageError(f"--{name} must be positive, got {value}")


def probe_embedder(
    embedder: AudioEmbedder,
    clips: ClipTable,
    options: ProbeOptions | None = None,
    *,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Measure how well classes can be read off the embeddings of a frozen model.

    Every clip is cut into patches; a classifier decides about patches and, by the mean of their
    probabilities (of the nearest neighbours, by their majority), about clips. The model is in
    evaluation mode throughout. The penalty of the linear probe and the number of neighbours are
    chosen on validation clips; the test clips are looked at once. Without validation clips
    defaults are taken, and the result says so.

    The split is given by the folds of `options.split`; otherwise by the column `split` (`train`,
    `val`, `test`) of the table; otherwise its shares are drawn, as for training.

    Args:
        embedder: Any model: a run's, a released one, or one with random weights.
        clips: Labelled clips, whose classes need not be those of the model.
        options: What is measured.
        folder: Keeps the embeddings of the patches, by model and content of the clips, so that
            another call need not embed again, and the fine-tuned run. None keeps nothing.

    Returns:
        - `model`, `classes`, `clips` and `patches` by split, `split_by`, `cautions`, `options`;
        - `linear`: `accuracy`, `penalty`, what was `tried`, `confusion`;
        - `knn`: `accuracy`, `k`, what was `tried`;
        - `few_shot`: rows by k of `centroid` and `linear`; `learning_curves`: rows by number of
          clips of `linear` and `knn`; see `tonotopy.protocols._probe_subsets`;
        - `finetune`: `accuracy`, `confusion`, `run`.

        What was not measured is None. An `accuracy` holds the five of
        `tonotopy.metrics.CLIP_ACCURACIES`, each with `value`, `low` and `high`, a 95 % bootstrap
        interval over the test clips.

    Raises:
        UsageError: The split cannot be made, or fine-tuning has no folder.
        DataError: There are no labels, or fewer than two classes to learn.
        AudioError: A clip's audio is missing, unreadable, or not what the table says.
    """
    options = options or ProbeOptions()
    if "finetune" in options.methods and folder is None:
        raise UsageError("fine-tuning leaves a run behind: name a folder for it")
    found = probe_clips(clips, options.split, seed=options.seed)
    sets = _embed(embedder, found, options, folder)
    result = _about(embedder, found, sets, options)
    result |= _frozen(sets, len(found.classes), options)
    result["finetune"] = None
    if "finetune" in options.methods:
        assert folder is not None
        result["finetune"] = finetune(
            embedder,
            found,
            folder,
            seconds=options.patch_seconds,
            epochs=options.epochs,
            bootstrap=options.bootstrap,
            seed=options.seed,
        )
    return result


def _embed(
    embedder: AudioEmbedder, found: ProbeClips, options: ProbeOptions, folder: Path | None
) -> dict[str, LabelledPatches]:
    patches = embed_patches(
        embedder,
        found.clips,
        found.labels,
        seconds=options.patch_seconds,
        cache=None if folder is None else folder / PATCHES_FOLDER,
    )
    rows = {split: found.rows(split) for split in SPLITS}
    return {split: patches.subset(own) for split, own in rows.items() if len(own)}


def _frozen(
    sets: dict[str, LabelledPatches], num_classes: int, options: ProbeOptions
) -> dict[str, Any]:
    """Measure all that leaves the encoder as it is."""
    train, val = sets["train"], sets.get("val")
    test = Judged(sets["test"], num_classes, options.bootstrap, options.seed)
    once = Judged(sets["test"], num_classes)  # the spread over draws is asked for there
    linear = probe_linear(train, val, test) if "linear" in options.methods else None
    knn = probe_neighbours(train, val, test) if "knn" in options.methods else None
    shots = curves = None
    if "few-shot" in options.methods:
        shots = few_shot(train, once, shots=options.shots, draws=options.draws, seed=options.seed)
    if linear or knn:
        curves = learning_curves(
            train,
            once,
            penalty=linear["penalty"] if linear else None,
            neighbours=knn["k"] if knn else None,
            draws=options.curve_draws,
            seed=options.seed,
        )
    return {"linear": linear, "knn": knn, "few_shot": shots, "learning_curves": curves}


def _about(
    embedder: AudioEmbedder,
    found: ProbeClips,
    sets: dict[str, LabelledPatches],
    options: ProbeOptions,
) -> dict[str, Any]:
    sizes = Counter(found.clips.frame["split"].to_list())
    return {
        "format": FORMAT,
        "tonotopy": version("tonotopy"),
        "model": {"fingerprint": embedder.fingerprint, "embedding_dim": embedder.embedding_dim},
        "classes": found.classes,
        "clips": {split: sizes[split] for split in SPLITS},
        "patches": {split: len(sets[split].owners) if split in sets else 0 for split in SPLITS},
        "split_by": found.split_by,
        "cautions": found.cautions,
        "options": asdict(options),
    }
