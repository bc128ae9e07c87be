"""Reading an inner layer of an encoder: which can be read, what they give, and the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tonotopy import AudioEmbedder
from tonotopy.audio import FrontEnd, LogMel, Waveform
from tonotopy.encoders import (
    CRNN,
    ConvNet,
    Encoder,
    MaxPoolConvNet,
    PatchConvNet,
    PatchCRNN,
    PatchVGG,
    ResNet18,
    TwoBranchNet,
)
from tonotopy.losses import AngularMarginContrastiveLoss, CrossEntropyLoss, WeightedSumLoss
from tonotopy.training import OptimiserOptions
from tonotopy.training._layer_reading import LayerReading, readable_layers
from tonotopy.training.intermediate import IntermediateLosses, pool_layer
from tonotopy.training.intermediate_options import Pooling
from tonotopy.training.task import EmbeddingTask

BINS = 40
POOLINGS: tuple[Pooling, ...] = ("max", "mean")

ENCODERS: dict[str, Callable[[], Encoder]] = {
    "ConvNet": lambda: ConvNet(BINS, embedding_dim=6, width=4),
    "ResNet18": lambda: ResNet18(BINS, width=4),
    "CRNN": lambda: CRNN(BINS, hidden_size=4),
    "MaxPoolConvNet": lambda: MaxPoolConvNet(BINS, embedding_dim=6, width=4),
    "PatchVGG": lambda: PatchVGG(BINS, embedding_dim=6, patch_frames=20, patch_hop=10),
    "PatchConvNet": lambda: PatchConvNet(BINS, 6, patch_frames=20, patch_hop=10),
    "PatchCRNN": lambda: PatchCRNN(BINS, hidden_size=4, patch_frames=20, patch_hop=10),
}


def front_end() -> FrontEnd:
    return LogMel(n_mels=BINS)


def read(encoder: Encoder, layer: str, pooling: Pooling) -> IntermediateLosses:
    reading = readable_layers(encoder, front_end(), 1.0)[layer]
    assert isinstance(reading, LayerReading), reading
    losses = {"amc": AngularMarginContrastiveLoss(weights=(1.0, 1.0))}
    return IntermediateLosses(layer, reading, pooling, losses, {})


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", ENCODERS)
def test_every_layer_gives_of_a_clip_in_a_batch_what_it_gives_of_it_alone(
    name: str, pooling: Pooling
) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS[name]()
    lengths = [33, 100, 1, 64, 17]
    clips = [torch.randn(BINS, frames) - 4.0 for frames in lengths]
    batch = torch.full((len(clips), BINS, 113), math.nan)
    for row, clip in zip(batch, clips, strict=True):
        row[:, : clip.shape[1]] = clip
    layers = readable_layers(encoder, front_end(), 1.0)
    usable = [layer for layer, reading in layers.items() if isinstance(reading, LayerReading)]
    assert len(usable) > 3
    encoder.eval()
    with torch.no_grad():
        for layer in usable:
            losses = read(encoder, layer, pooling)
            embeddings, vectors = losses.encode(encoder, batch, torch.tensor(lengths))
            assert vectors.shape == (len(clips), losses.reading.channels)
            torch.testing.assert_close(embeddings, encoder(batch, torch.tensor(lengths)))
            for row, clip in zip(vectors, clips, strict=True):
                alone = losses.encode(encoder, clip[None], torch.tensor([clip.shape[1]]))[1]
                torch.testing.assert_close(row[None], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_is_that_of_a_loop(pooling: Pooling) -> None:
    output = torch.randn(3, 2, 4, 5)
    valid = [5, 2, 1]
    expected = torch.zeros(3, 2)
    for clip in range(3):
        for channel in range(2):
            values = [
                float(output[clip, channel, f, t]) for f in range(4) for t in range(valid[clip])
            ]
            expected[clip, channel] = max(values) if pooling == "max" else sum(values) / len(values)
    poisoned = output.clone()
    for clip, frames in enumerate(valid):
        poisoned[clip, :, :, frames:] = math.nan
    torch.testing.assert_close(pool_layer(poisoned, torch.tensor(valid), pooling), expected)
    flat = output[:, :, 0]
    torch.testing.assert_close(
        pool_layer(flat, torch.tensor(valid), pooling),
        pool_layer(flat[:, :, None], torch.tensor(valid), pooling),
    )
    everything = pool_layer(output, None, pooling)
    torch.testing.assert_close(pool_layer(output, torch.tensor([5, 5, 5]), pooling), everything)
    assert torch.equal(pool_layer(flat[:, :, 0], None, pooling), flat[:, :, 0])


def test_patches_are_averaged_over_their_clip() -> None:
    torch.manual_seed(0)
    encoder = PatchConvNet(BINS, patch_frames=20, patch_hop=10).eval()
    losses = read(encoder, "convs.2", "max")
    clip = torch.randn(1, BINS, 45)
    with torch.no_grad():
        whole = losses.encode(encoder, clip, torch.tensor([45]))[1]
        parts = [
            losses.encode(encoder, clip[:, :, at : at + 20], torch.tensor([20]))[1]
            for at in (0, 10, 20)
        ]
    torch.testing.assert_close(whole, torch.cat(parts).mean(dim=0, keepdim=True))


@pytest.mark.parametrize(
    ("name", "layer", "reason"),
    [
        ("ConvNet", "layers.3.norm", "the first axis of what it gives is not the clips"),
        ("ConvNet", "input_norm", "a single channel"),
        ("ResNet18", "blocks.0.relu", "more than once"),
        ("PatchCRNN", "gru", "frames before channels"),
    ],
)
def test_layers_that_give_nothing_of_a_clip_are_known(name: str, layer: str, reason: str) -> None:
    found = readable_layers(ENCODERS[name](), front_end(), 1.0)[layer]
    assert isinstance(found, str)
    assert reason in found


class _Sideways(Encoder):
    """Frames before channels, as transformers have them."""

    def __init__(self) -> None:
        super().__init__(BINS, 6)
        self.linear = nn.Linear(BINS, 6)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        out: Tensor = self.linear(features.transpose(1, 2))
        return out.mean(dim=1)


def test_frames_before_channels_are_found_out() -> None:
    found = readable_layers(_Sideways(), front_end(), 1.0)["linear"]
    assert isinstance(found, str)
    assert "second axis" in found


def test_an_encoder_of_one_length_is_tried_with_it() -> None:
    front = Waveform(sample_rate=4000, seconds=1.0)
    layers = readable_layers(TwoBranchNet(num_samples=4000), front, 1.0)
    reading = layers["spectrogram_branch.units.14"]
    assert reading == LayerReading(channels=128, stride=0)


def test_looking_for_layers_changes_nothing() -> None:
    encoder = ConvNet(BINS)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    readable_layers(encoder, front_end(), 1.0)
    assert torch.equal(torch.rand(3), expected)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(module._forward_hooks for module in encoder.modules())


def test_the_gradient_is_that_of_the_sum_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.7 CE on the embeddings + 0.3 AMC on the raw last convolution, both from their formulas."""
    torch.manual_seed(0)
    encoder = PatchConvNet(BINS, embedding_dim=5, dropout=0.0, patch_frames=16, patch_hop=16)
    front = LogMel(n_mels=BINS)
    ce = CrossEntropyLoss(num_classes=3, embedding_dim=5)
    intermediate = IntermediateLosses(
        "convs.2",
        LayerReading(48, 0),
        "max",
        {"amc": AngularMarginContrastiveLoss(reduction="published", divisor=50.0)},
        {"amc": 0.3},
    )
    labels = torch.tensor([0, 1, 0, 2, 1])
    task = EmbeddingTask(
        AudioEmbedder(front, encoder),
        WeightedSumLoss({"ce": ce}, {"ce": 0.7}),
        labels,
        optimiser=OptimiserOptions(),
        intermediate=intermediate,
    )
    logged: dict[str, Tensor] = {}
    monkeypatch.setattr(task, "log_dict", lambda values, **_: logged.update(values))
    waveforms = torch.randn(5, 2400)
    lengths = torch.full((5,), 2400)
    batch = {"waveforms": waveforms, "lengths": lengths, "index": torch.arange(5)}
    loss = task.training_step(batch, 0)
    parameters = [*encoder.parameters(), *ce.parameters()]
    got = torch.autograd.grad(loss, parameters)

    features, frames = front(waveforms, lengths)
    assert frames.tolist() == [16] * 5
    x = encoder.input_norm(features[:, None].transpose(2, 3)).relu()
    for at in range(2):
        x = encoder.norms[at](encoder.convs[at](x)).relu()
        x = encoder.pooled_norms[at](nn.functional.max_pool2d(x, (4, 2))).relu()
    x = encoder.convs[2](x)
    inner = nn.functional.normalize(x.amax(dim=(2, 3)), dim=1)
    embeddings = encoder.linear(encoder.norms[2](x).relu().flatten(1)).relu()
    pairs = torch.zeros(())
    for i in range(5):
        for j in range(5):
            if i != j:
                angle = torch.arccos((inner[i] @ inner[j]).clamp(-1 + 1e-7, 1 - 1e-7))
                same = labels[i] == labels[j]
                pairs = pairs + (angle if same else (0.5 - angle).clamp_min(0.0)).square()
    entropy = nn.functional.cross_entropy(ce.classifier(embeddings), labels)
    expected = 0.7 * entropy + 0.3 * pairs / 50
    torch.testing.assert_close(loss, expected)
    for mine, theirs in zip(got, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(logged["train/amc"], pairs.detach() / 50)
    torch.testing.assert_close(logged["train/ce"], entropy.detach())
    assert "train/amc/positive_angle" in logged


def test_an_encoder_of_patches_may_get_no_clip() -> None:
    encoder = PatchConvNet(BINS, patch_frames=16)
    losses = read(encoder, "convs.2", "max")
    none = torch.zeros(0, BINS, 20)
    embeddings, vectors = losses.encode(encoder, none, torch.zeros(0, dtype=torch.long))
    assert embeddings.shape == (0, 64)
    assert vectors.shape == (0, 48)
