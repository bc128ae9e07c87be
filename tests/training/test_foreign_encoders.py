"""A classifier is trained on a foreign encoder, frozen or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tonotopy import AudioEmbedder
from tonotopy._components import Component
from tonotopy.clips import ClipTable
from tonotopy.training import FitConfig, OptimiserOptions, SplitOptions, fit


@pytest.fixture
def base(tmp_path: Path, write_tone: Callable[..., Path]) -> FitConfig:
    for label, frequency in (("low", 300.0), ("high", 3000.0)):
        for number in range(8):
            path = tmp_path / "data" / label / f"{number}.wav"
            write_tone(path, seconds=0.1, frequency=frequency * (1 + 0.02 * number))
    return FitConfig(
        data=tmp_path / "data",
        run=tmp_path / "run",
        batches=Component("PKBatchSampler", {"classes_per_batch": 2, "clips_per_class": 4}),
        split=SplitOptions(test_fraction=0.2, val_fraction=0.25),
        optimiser=OptimiserOptions(epochs=3, learning_rate=0.01, warmup_epochs=1),
        augmentations=[],
        accelerator="cpu",
        threads=1,
        cache=tmp_path / "cache",
    )


def trained(config: FitConfig, front_end: Component, encoder: Component) -> AudioEmbedder:
    from dataclasses import replace

    run = fit(replace(config, front_end=front_end, encoder=encoder))
    embedder = AudioEmbedder.from_pretrained(run)
    clips = ClipTable.read(run / "clips.parquet")
    probabilities = embedder.probabilities(embedder.embed(clips.paths))
    assert probabilities.isfinite().all()
    return embedder


def test_a_classifier_learns_on_an_onnx_network(base: FitConfig, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2], keepdims=0)],
        "mean",
        [helper.make_tensor_value_info("x", real, ["b", 16, "t"])],
        [helper.make_tensor_value_info("y", real, ["b", 16])],
    )
    file = tmp_path / "mean.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), file)
    embedder = trained(
        base,
        Component("LogMel", {"n_mels": 16}),
        Component("OnnxEncoder", {"file": str(file), "axes": "batch bins time"}),
    )
    wave = np.random.default_rng(0).normal(size=1600).astype(np.float32)
    features, _ = embedder.front_end(torch.from_numpy(wave)[None])
    torch.testing.assert_close(embedder.embed([wave]), features.mean(-1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_model_of_transformers_is_trained(base: FitConfig, tmp_path: Path, frozen: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf-audio")
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.ASTConfig(**sizes, intermediate_size=24, num_mel_bins=32, max_length=32)
    torch.manual_seed(0)
    model = transformers.ASTModel(config)
    model.save_pretrained(tmp_path / "model")
    transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=32).save_pretrained(
        tmp_path / "model"
    )
    embedder = trained(
        base,
        Component("RawWaveform"),
        Component("HuggingFaceEncoder", {"source": str(tmp_path / "model"), "frozen": frozen}),
    )
    before = model.state_dict()
    same = [torch.equal(v, before[k]) for k, v in embedder.encoder.model.state_dict().items()]  # type: ignore[union-attr]
    assert all(same) == frozen
