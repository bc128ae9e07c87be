"""Networks of other frameworks as encoders: what they read, what they give, how they are saved."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonotopy import AudioEmbedder
from tonotopy._components import build
from tonotopy._errors import DataError, MissingExtraError, UsageError
from tonotopy.audio import LogMel, RawWaveform
from tonotopy.embedder import load_yamnet
from tonotopy.encoders import Encoder, OnnxEncoder, TFLiteEncoder

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

WEIGHTS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def network(
    path: Path,
    shape: list[int | str],
    nodes: list[tuple[str, list[str], str, dict[str, Any]]],
    output: list[int | str],
) -> str:
    """Write an ONNX network of nodes (operator, inputs, output, attributes) that reads `x`."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node(op, ins, [out], **options) for op, ins, out, options in nodes],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1][2], TensorProto.FLOAT, output)],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return str(path)


def spectral(path: Path, time: int | str = "t", batch: int | str = "b") -> str:
    """(batch, time, 5 bins) to frames by 3 dimensions, their mean and its ReLU."""
    nodes: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("MatMul", ["x", "w"], "frames", {}),
        ("ReduceMean", ["frames"], "mean", {"axes": [1], "keepdims": 0}),
        ("Relu", ["mean"], "relu", {}),
    ]
    return network(path, [batch, time, 5], nodes, [batch, 3])


def clips(lengths: list[int]) -> list[NDArray[np.float32]]:
    generator = np.random.default_rng(1)
    return [generator.normal(size=(5, length)).astype(np.float32) for length in lengths]


def padded(items: list[NDArray[np.float32]]) -> Tensor:
    batch = torch.full((len(items), 5, max(item.shape[1] for item in items) + 2), torch.nan)
    for row, item in zip(batch, items, strict=True):
        row[:, : item.shape[1]] = torch.from_numpy(item)
    return batch


@pytest.mark.parametrize("batch", ["b", 1, 2])
def test_each_clip_is_read_at_its_own_length(tmp_path: Path, batch: int | str) -> None:
    encoder = OnnxEncoder(5, spectral(tmp_path / "a.onnx", batch=batch), "batch time bins")
    lengths = [7, 3, 7, 1, 7]
    items = clips(lengths)
    got = encoder(padded(items), torch.tensor(lengths))
    expected = np.stack([np.maximum((item.T @ WEIGHTS).mean(0), 0) for item in items])
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert encoder.embedding_dim == 3
    assert encoder(torch.zeros(0, 5, 4)).shape == (0, 3)


@pytest.mark.parametrize(("output", "rectified"), [("mean", False), ("frames", False)])
def test_an_inner_tensor_can_be_the_embedding(tmp_path: Path, output: str, rectified: bool) -> None:
    file = spectral(tmp_path / "a.onnx")
    encoder = OnnxEncoder(5, file, "batch time bins", output=output)
    (item,) = clips([6])
    got = encoder(torch.from_numpy(item)[None])[0].numpy()
    np.testing.assert_allclose(got, (item.T @ WEIGHTS).mean(0), rtol=1e-5, atol=1e-6)
    assert (got < 0).any(), "before the ReLU"


def test_a_network_of_fixed_length_reads_patches(tmp_path: Path) -> None:
    file = spectral(tmp_path / "a.onnx", time=4)
    encoder = OnnxEncoder(5, file, "batch time bins", patch_hop=3)
    assert encoder.patch_frames == 4
    long, short = clips([11, 3])
    got = encoder(padded([long, short]), torch.tensor([11, 3])).numpy()
    pieces = [np.maximum((long[:, at : at + 4].T @ WEIGHTS).mean(0), 0) for at in (0, 3, 6)]
    np.testing.assert_allclose(got[0], np.mean(pieces, axis=0), rtol=1e-5, atol=1e-6)
    repeated = np.concatenate([short, short[:, :1]], axis=1)
    np.testing.assert_allclose(
        got[1], np.maximum((repeated.T @ WEIGHTS).mean(0), 0), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(UsageError, match="expected patch_frames=4, got 5"):
        OnnxEncoder(5, file, "batch time bins", patch_frames=5)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [(["b", "t"], "batch time"), (["b", 1, "t"], "batch 1 time"), (["t", "b"], "time batch")],
)
def test_waveforms_come_in_any_arrangement(
    tmp_path: Path, shape: list[int | str], axes: str
) -> None:
    time = shape.index("t")
    maximum = ("ReduceMax", ["x"], "y", {"axes": [time], "keepdims": 0})
    file = network(tmp_path / "a.onnx", shape, [maximum], [n for n in shape if n != "t"])
    waves = torch.arange(24.0).reshape(2, 1, 12)
    assert OnnxEncoder(1, file, axes)(waves).tolist() == [[11.0], [23.0]]


def test_a_network_may_read_one_clip_and_give_its_frames(tmp_path: Path) -> None:
    nodes: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Constant", [], "s", {"value_ints": [-1, 4]}),
        ("Reshape", ["x", "s"], "y", {}),  # (T,) to (frames, 4 samples)
    ]
    file = network(tmp_path / "a.onnx", ["t"], nodes, ["p", 4])
    got = OnnxEncoder(1, file, "time")(torch.arange(24.0).reshape(2, 1, 12))
    assert got.tolist() == [[4.0, 5.0, 6.0, 7.0], [16.0, 17.0, 18.0, 19.0]]


def test_a_saved_model_needs_no_other_file(tmp_path: Path) -> None:
    file = Path(spectral(tmp_path / "a.onnx"))
    front_end = LogMel(n_mels=5, n_fft=256)
    embedder = AudioEmbedder(front_end, OnnxEncoder(5, str(file), "batch time bins")).eval()
    embedder.save_pretrained(tmp_path / "model")
    waves = [torch.randn(900), torch.randn(5000)]
    expected = embedder.embed(waves)
    file.unlink()
    again = AudioEmbedder.from_pretrained(tmp_path / "model")
    assert torch.equal(again.embed(waves), expected)
    assert again.device == torch.device("cpu")
    assert isinstance(again.encoder, OnnxEncoder)
    assert again.encoder.component.init_args["sha256"] == again.encoder.sha256
    for copied in (copy.deepcopy(again), pickle.loads(pickle.dumps(again))):
        assert torch.equal(copied.embed(waves), expected)


def test_another_file_than_the_one_named_is_refused(tmp_path: Path) -> None:
    first = OnnxEncoder(5, spectral(tmp_path / "a.onnx"), "batch time bins")
    other_file = spectral(tmp_path / "b.onnx", time=4)
    message = f"expected SHA-256 {first.sha256}, found [0-9a-f]{{64}}"
    with pytest.raises(DataError, match=message):
        OnnxEncoder(5, other_file, "batch time bins", sha256=first.sha256)
    empty = build(first.component, Encoder, "tonotopy.encoders")
    with pytest.raises(UsageError, match="no network yet"):
        empty(torch.zeros(1, 5, 4))
    other = OnnxEncoder(5, other_file, "batch time bins")
    with pytest.raises(DataError, match=message):
        empty.load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bins": 6}, "must give 5 bins, it gives 6"),
        ({"axes": "batch time"}, r"shape \(None, None, 5\), which axes='batch time' do not fit"),
        ({"axes": "batch bins"}, "time among them"),
        ({"axes": "batch time freq"}, "axes: expected some of"),
        ({"output": "meen"}, "did you mean 'mean'.*its outputs: relu"),
        ({"embedding_dim": 4}, "gives embeddings of 3, expected 4"),
        ({"patch_hop": 4}, "patch_hop needs patch_frames"),
        ({"file": "nowhere.onnx"}, "cannot read nowhere.onnx"),
        ({"file": None}, "needs a file"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "num_bins": 5,
        "file": spectral(tmp_path / "a.onnx"),
        "axes": "batch time bins",
    }
    with pytest.raises(UsageError, match=message):
        OnnxEncoder(**(given | options))


@pytest.mark.parametrize(
    ("encoder", "library"), [(OnnxEncoder, "onnxruntime"), (TFLiteEncoder, "ai_edge_litert")]
)
def test_a_damaged_file_is_refused(
    tmp_path: Path, encoder: type[OnnxEncoder | TFLiteEncoder], library: str
) -> None:
    pytest.importorskip(library, reason="needs an extra")
    (tmp_path / "bad").write_bytes(b"not a network at all")
    with pytest.raises(DataError, match="the file is no"):
        encoder(1, str(tmp_path / "bad"))


@pytest.mark.parametrize(
    ("module", "encoder", "extra"),
    [
        ("onnxruntime", OnnxEncoder, "onnx"),
        ("ai_edge_litert.interpreter", TFLiteEncoder, "tflite"),
    ],
)
def test_a_missing_extra_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    encoder: type[OnnxEncoder | TFLiteEncoder],
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(MissingExtraError, match=rf"pip install 'tonotopy\[{extra}\]'"):
        encoder(1, str(tmp_path / "a"))


@pytest.fixture(scope="module")
def yamnet(shared_data: Path) -> Path:
    pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")
    return shared_data / "encoders" / "yamnet"


def test_yamnet_embeds_clips_of_any_length(yamnet: Path, tmp_path: Path) -> None:
    embedder = load_yamnet(yamnet / "yamnet_spectra_in.tflite")
    assert embedder.embedding_dim == 1024
    wave = np.fromfile(yamnet / "yamnet_test_audio.bin", dtype=np.int16) / 32768
    clips = [torch.from_numpy(wave).float(), torch.randn(40000), torch.randn(300)]
    embeddings = embedder.embed(clips)
    assert torch.equal(embeddings[:1], embedder.embed(clips[:1]))
    embedder.save_pretrained(tmp_path)
    assert torch.equal(AudioEmbedder.from_pretrained(tmp_path).embed(clips), embeddings)


def test_yamnet_scores_are_those_of_its_own_classifier(yamnet: Path) -> None:
    """The inner tensor, put through the classifier's weights, gives the scores of the output."""
    from ai_edge_litert.interpreter import Interpreter

    file = yamnet / "yamnet_spectra_in.tflite"
    spectrum = np.fromfile(yamnet / "yamnet_test_spectra.bin", dtype=np.float32).reshape(96, 64)
    features = torch.from_numpy(spectrum.T.copy())[None]
    inner = load_yamnet(file).encoder(features)[0].numpy()
    scores = load_yamnet(file, output=None).encoder(features)[0].numpy()
    assert scores.shape == (521,)
    assert 0 <= scores.min() < 0.1 < 0.5 < scores.max() <= 1
    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    details = {detail["name"]: detail for detail in interpreter.get_tensor_details()}
    weight, bias = details["tower0/network/layer29/fc/MatMul"], details["network/layer29/fc/biases"]
    scale = weight["quantization_parameters"]["scales"]
    logits = (interpreter.get_tensor(weight["index"]).astype(np.float32) * scale[:, None]) @ inner
    logits += interpreter.get_tensor(bias["index"]) * bias["quantization_parameters"]["scales"]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), scores, atol=0.05)


def test_the_wrong_front_end_is_named(yamnet: Path) -> None:
    file = str(yamnet / "yamnet_spectra_in.tflite")
    with pytest.raises(UsageError, match="must give 64 bins, it gives 40"):
        TFLiteEncoder(40, file, "batch time bins")
    with pytest.raises(UsageError, match="reads exactly 96 frames"):
        TFLiteEncoder(64, file, "batch time bins", patch_frames=50)
    with pytest.raises(UsageError, match="did you mean 'tower0/network/layer28/reduce_mean'"):
        TFLiteEncoder(64, file, "batch time bins", output="tower0/network/layer28/mean")
    assert RawWaveform().num_bins == 1
