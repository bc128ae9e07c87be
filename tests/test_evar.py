"""What EVAR calls of a representation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tonotopy import AudioEmbedder
from tonotopy._errors import UsageError
from tonotopy.audio import PeakLogMel
from tonotopy.encoders import PatchResNet18
from tonotopy.evar import AR_Tonotopy


@pytest.fixture
def cfg(tmp_path: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    embedder = AudioEmbedder(PeakLogMel(), PatchResNet18(num_bins=96, width=2))
    embedder.save_pretrained(tmp_path)
    return {"weight_file": str(tmp_path), "feature_d": 16, "sample_rate": 22050}


def test_audio_becomes_one_vector_a_clip(cfg: dict[str, Any]) -> None:
    representation = AR_Tonotopy(cfg).eval()
    representation.precompute(torch.device("cpu"), [])
    audio = torch.rand(3, 30000) - 0.5
    with torch.no_grad():
        embeddings = representation(audio)
    assert embeddings.shape == (3, cfg["feature_d"])
    torch.testing.assert_close(
        embeddings, AudioEmbedder.from_pretrained(cfg["weight_file"]).embed(list(audio))
    )


def test_frames_come_last(cfg: dict[str, Any]) -> None:
    frames = AR_Tonotopy(cfg).encode_frames(torch.rand(2, 22050) - 0.5)
    assert frames.shape == (2, cfg["feature_d"], 21)


def test_fine_tuning_reaches_the_weights(cfg: dict[str, Any]) -> None:
    representation = AR_Tonotopy(cfg).train()
    representation(torch.rand(2, 30000) - 0.5).square().sum().backward()
    gradients = [parameter.grad for parameter in representation.embedder.encoder.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize(("name", "value"), [("feature_d", 512), ("sample_rate", 16000)])
def test_a_configuration_of_another_model_is_refused(
    cfg: dict[str, Any], name: str, value: int
) -> None:
    with pytest.raises(UsageError, match=f"write {name}: {cfg[name]}"):
        AR_Tonotopy(cfg | {name: value})


def test_augmentations_of_other_features_are_refused(cfg: dict[str, Any]) -> None:
    representation = AR_Tonotopy(cfg)
    representation.set_augment_tf_feature_fn(SimpleNamespace(spec_aug=None, rrc=None))  # type: ignore[arg-type]  # EVAR's, with nothing on
    with pytest.raises(UsageError, match="ft_freq_mask"):
        representation.set_augment_tf_feature_fn(SimpleNamespace(spec_aug=abs, rrc=None))  # type: ignore[arg-type]  # EVAR's
