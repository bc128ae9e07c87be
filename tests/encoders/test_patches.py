"""Patches of fixed size: how clips are cut, and the networks of the angular contrastive paper."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tonotopy._errors import UsageError
from tonotopy.encoders import Encoder, PatchConvNet, PatchCRNN, PatchResNet18, PatchVGG
from tonotopy.encoders._patches import PATCHES_AT_ONCE, cut_patches


@pytest.mark.parametrize(("size", "hop"), [(4, 2), (4, 4), (3, 5), (1, 1)])
def test_patches_are_those_of_a_loop(size: int, hop: int) -> None:
    lengths = [1, 3, 4, 5, 6, 13]
    features = torch.randn(len(lengths), 2, 15)
    expected, owners = [], []
    for clip, (row, length) in enumerate(zip(features.numpy(), lengths, strict=True)):
        valid = row[:, :length]
        if length < size:
            valid = np.tile(valid, -(-size // length))[:, :size]
        for start in range(0, valid.shape[1] - size + 1, hop):
            expected.append(valid[:, start : start + size].T)
            owners.append(clip)
    patches, clips = cut_patches(features, torch.tensor(lengths), size, hop)
    assert clips.tolist() == owners
    assert np.array_equal(patches.numpy(), np.stack(expected))


def test_a_long_clip_is_the_mean_of_its_patches() -> None:
    torch.manual_seed(0)
    encoder = PatchVGG(8, embedding_dim=6, patch_frames=8, patch_hop=3).eval()
    count = PATCHES_AT_ONCE + 5  # more than one pass
    clip = torch.randn(1, 8, 8 + 3 * (count - 1) + 2)
    with torch.no_grad():
        parts = [encoder(clip[:, :, 3 * at : 3 * at + 8]) for at in range(count)]
        torch.testing.assert_close(encoder(clip), torch.cat(parts).mean(0, keepdim=True))


def test_published_sizes() -> None:
    published = 11_689_512 - 513_000 - 2 * 64 * 49  # one channel for three, no classifier
    encoder = PatchResNet18(96)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == published
    assert encoder.embedding_dim == 512
    supervised = PatchConvNet(96)
    biases = 24 + 48  # before normalisations, which take them away
    classifier = 64 * 20 + 20
    count = sum(parameter.numel() for parameter in supervised.parameters())
    assert count + biases + classifier == 531_238
    assert supervised.linear.in_features == 6_912


def test_the_crnn_gives_the_product_of_both_directions_at_the_last_frame() -> None:
    torch.manual_seed(0)
    encoder = PatchCRNN(40, hidden_size=3, patch_frames=16).eval()
    patches = torch.randn(2, 1, 16, 40)
    seen: list[torch.Tensor] = []
    encoder.gru.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.no_grad():
        got = encoder.embed_patches(patches)
        (sequence,) = seen
        assert sequence.shape == (2, 2, 128)
        forward = torch.nn.GRUCell(128, 3)
        backward = torch.nn.GRUCell(128, 3)
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(forward, part).copy_(getattr(encoder.gru, f"{part}_l0"))
            getattr(backward, part).copy_(getattr(encoder.gru, f"{part}_l0_reverse"))
        last = forward(sequence[:, 1], forward(sequence[:, 0]))
        torch.testing.assert_close(got, last * backward(sequence[:, 1]))


def test_the_supervised_network_activates_before_and_after_its_convolutions() -> None:
    """Layer by layer from the paper's text, with normalisations that have seen data."""
    torch.manual_seed(0)
    encoder = PatchConvNet(96)
    patches = torch.randn(3, 1, 100, 96)
    with torch.no_grad():
        encoder(torch.randn(4, 96, 100) + 1.0)  # running statistics that are not 0 and 1
        encoder.eval()
        raw: list[torch.Tensor] = []
        handle = encoder.convs[2].register_forward_hook(lambda _, __, out: raw.append(out))
        got = encoder.embed_patches(patches)
        handle.remove()
        x = encoder.input_norm(patches).relu()
        x = encoder.norms[0](encoder.convs[0](x)).relu()
        assert x.shape == (3, 24, 100, 96)
        x = encoder.pooled_norms[0](torch.nn.functional.max_pool2d(x, (4, 2))).relu()
        x = encoder.norms[1](encoder.convs[1](x)).relu()
        assert x.shape == (3, 48, 25, 48)
        x = encoder.pooled_norms[1](torch.nn.functional.max_pool2d(x, (4, 2))).relu()
        x = encoder.convs[2](x)
        assert x.shape == (3, 48, 6, 24)
        torch.testing.assert_close(raw[0], x)
        assert (x < 0).any()  # neither normalised nor rectified
        x = encoder.norms[2](x).relu().flatten(1)
        torch.testing.assert_close(got, encoder.linear(x).relu())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PatchConvNet(3), "at least 4 bins and 16 frames, got 3 and 100"),
        (lambda: PatchVGG(7), "at least 8 bins and 8 frames, got 7 and 101"),
        (lambda: PatchCRNN(39), "at least 40 bins and 8 frames, got 39 and 101"),
        (lambda: PatchVGG(8, patch_frames=7), "got 8 and 7"),
        (lambda: PatchResNet18(8, patch_hop=0), "at least 1, got 101 and 0"),
    ],
)
def test_impossible_patches_are_refused(make: Callable[[], Encoder], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
