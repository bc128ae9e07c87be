"""The whole model trained on from its weights, on the clips of a probe."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from tonotopy._components import Component
from tonotopy._errors import UsageError
from tonotopy._files import write_text
from tonotopy.clips import clip_starts
from tonotopy.embedder import AudioEmbedder
from tonotopy.protocols._probe_data import ProbeClips
from tonotopy.protocols._probe_methods import Judged, as_json
from tonotopy.protocols._probe_patches import embed_patches
from tonotopy.training import fit, resume
from tonotopy.training.config import FitConfig, OptimiserOptions, SplitOptions

LEARNING_RATE = 3e-4
BATCH_CLIPS = 64
FOLDER = "finetuned"


def finetune(
    embedder: AudioEmbedder,
    found: ProbeClips,
    folder: Path,
    *,
    seconds: float,
    epochs: int,
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Train front end, encoder and a new linear classifier, and judge them on the test clips.

    Training sees a random patch of every clip an epoch, and minimises cross-entropy by AdamW with a
    peak learning rate of 3e-4; the epoch with the highest validation accuracy is kept. A finished
    run of the same model, clips and options is judged again, an interrupted one goes on; a run of
    others is replaced.

    Args:
        embedder: Where training starts; it is left as it is.
        found: Clips, classes and split.
        folder: Gets the run, `finetuned/run`.
        seconds: Length of a patch.
        epochs: Passes over the training clips.
        bootstrap: Resamples behind the intervals.
        seed: Of everything.

    Returns:
        `accuracy`, `confusion`, `epochs` and `run`.

    Raises:
        UsageError: `finetuned` holds something that no fine-tuning has left there.
    """
    job = _job(embedder, found, seconds, epochs, seed)
    run = _train(embedder, found, folder / FOLDER, job, seconds, epochs, seed)
    tuned = AudioEmbedder.from_pretrained(run).to(embedder.device)
    rows = found.rows("test")
    clips = found.clips.filter((found.clips.frame["split"] == "test").to_list())
    test = embed_patches(tuned, clips, found.labels[rows], seconds=seconds)
    assert tuned.tree is not None, "training with labels writes their tree"
    places = [tuned.tree.leaf_names.index(name) for name in found.classes]
    with torch.no_grad():
        embeddings = torch.from_numpy(test.embeddings).to(tuned.device)
        probabilities = tuned.probabilities(embeddings)[:, places].cpu().numpy()
    judged = Judged(test, len(found.classes), bootstrap, seed)
    accuracies, decided = judged.by_probability(probabilities)
    return {
        "accuracy": as_json(accuracies),
        "confusion": judged.confusion(decided),
        "epochs": epochs,
        "run": str(run),
    }


def _train(
    embedder: AudioEmbedder,
    found: ProbeClips,
    folder: Path,
    job: str,
    seconds: float,
    epochs: int,
    seed: int,
) -> Path:
    run, mark = folder / "run", folder / "job"
    if mark.is_file() and mark.read_text() == job and (run / "config.yaml").is_file():
        return resume(run)
    if folder.exists():
        if not mark.is_file():
            raise UsageError(f"{folder} is no fine-tuning of a probe: choose another --out")
        shutil.rmtree(folder)
    write_text(mark, job)  # first, so that an interrupted call can be told from other files
    embedder.save_pretrained(folder / "start")
    # Training makes its split itself; named as folds, it makes this one.
    table = folder / "clips.parquet"
    found.clips.with_columns(found.clips.frame["split"].alias("fold")).write(table)
    return fit(
        FitConfig(
            data=table,
            run=run,
            pretrained=folder / "start",
            losses={"ce": Component("CrossEntropyLoss")},
            batches=Component("ShuffledBatchSampler", {"batch_size": BATCH_CLIPS}),
            augmentations=[],
            clip_seconds=seconds,
            split=SplitOptions(
                test_fold="test",
                val_fold="val" if len(found.rows("val")) else None,
                val_fraction=0.0,
            ),
            optimiser=OptimiserOptions(epochs=epochs, learning_rate=LEARNING_RATE, warmup_epochs=1),
            seed=seed,
            accelerator="cpu" if embedder.device.type == "cpu" else "auto",
        )
    )


def _job(embedder: AudioEmbedder, found: ProbeClips, seconds: float, epochs: int, seed: int) -> str:
    """Name what a run of fine-tuning depends on."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([embedder.fingerprint, seconds, epochs, seed, found.classes]).encode())
    digest.update(np.asarray(found.labels).tobytes())
    frame = found.clips.frame.select(
        "content", "split", pl.Series("start", clip_starts(found.clips.frame), dtype=pl.Float64)
    )
    digest.update(frame.write_csv().encode())
    return digest.hexdigest()
