"""Models that others have released, in the form of an `AudioEmbedder`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tonotopy._errors import DataError, UsageError
from tonotopy.audio import PeakLogMel
from tonotopy.embedder.audio_embedder import AudioEmbedder
from tonotopy.encoders import Encoder, PatchCRNN, PatchVGG

InputNormalisation = Literal["estimated", "original"]


@dataclass(frozen=True)
class _Inputs:
    """What the networks were fed: (log-mel - mean) / std * scale."""

    mean: float
    std: float
    scale: float


# The authors' deviation lacks a factor √N for N values, so that their inputs were tens of
# thousands of times larger than standardised ones.
_INPUTS: dict[InputNormalisation, _Inputs] = {
    # Chosen so that the first normalisation sees the variance that it remembers, on ESC-50.
    "estimated": _Inputs(mean=-1.326, std=2.902, scale=30000.0),
    # Divided by 6.0493e-05; the true deviation there is about 2.2.
    "original": _Inputs(mean=-1.40038, std=2.2, scale=2.2 / 6.0493e-05),
}

_VGG_LAYERS = {
    **{f"conv{at}.conv": f"convs.{at}" for at in range(6)},
    **{f"conv{at}.bn": f"norms.{at}" for at in range(6)},
    "dense1": "linear",
}
_CRNN_LAYERS = {
    **{f"conv{at + 1}.conv": f"convs.{at}" for at in range(3)},
    **{f"conv{at + 1}.bn": f"norms.{at}" for at in range(3)},
    "rnn1": "gru",
}


def load_released(
    path: Path | str, *, input_normalisation: InputNormalisation = "estimated"
) -> AudioEmbedder:
    """Load the VGG or CRNN of Fonseca et al. (2021), the base of the angular contrastive paper.

    They were trained on FSDnoisy18k without labels. The front end is `PeakLogMel`; embeddings are
    the mean over patches of a second, every half second. Audio below 22,050 Hz is resampled, and
    its upper bands stay empty.

    The released networks expect inputs some 30,000 times as large as standardised ones, because
    of a slip in how the authors computed the deviation. Here the front end standardises and the
    first batch normalisation is rescaled instead, which gives the same embeddings: its running
    mean is divided by the scale and its running variance by the square. So the model can be
    trained on as it is, and `front_end.fit_normalisation` may replace mean and deviation by those
    of other clips.

    Args:
        path: The safetensors file, or a folder with no other.
        input_normalisation: How log-mel values become inputs. `"original"` uses the mean and the
            deviation of the authors' training clips, which the angular contrastive paper's code
            holds; `"estimated"` those of ESC-50, and the scale for which the first normalisation
            sees the variance that it remembers.

    Returns:
        A model without classifier, in `eval()`: 512 values an embedding for VGG, 64 for CRNN.

    Raises:
        UsageError: There is no such file, or the folder holds several.
        DataError: The file is damaged, or its tensors are not those of either network.

    Source: Fonseca et al., "Unsupervised Contrastive Learning of Sound Event Representations",
    ICASSP 2021.
    """
    if input_normalisation not in _INPUTS:
        raise UsageError(
            f"input_normalisation: expected one of {', '.join(_INPUTS)}, "
            f"got {input_normalisation!r}"
        )
    file = _find(Path(path).expanduser())
    tensors = _read(file)
    front_end = PeakLogMel()
    encoder: PatchVGG | PatchCRNN
    if "rnn1.weight_ih_l0" in tensors:
        encoder, layers = PatchCRNN(front_end.num_bins), _CRNN_LAYERS
    else:
        encoder, layers = PatchVGG(front_end.num_bins), _VGG_LAYERS
    _fill(encoder, tensors, layers, file)
    inputs = _INPUTS[input_normalisation]
    front_end.mean.fill_(inputs.mean)
    front_end.std.fill_(inputs.std)
    _rescale(encoder.norms[0], inputs.scale)
    return AudioEmbedder(front_end, encoder).eval()


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else []
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise UsageError(f"{path}: expected one safetensors file, found {found}; name the file")
    return files[0]


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise DataError(f"cannot read {file}, damaged or no safetensors file: {error}") from error


def _fill(
    encoder: Encoder, tensors: Mapping[str, Tensor], layers: Mapping[str, str], file: Path
) -> None:
    """Give the encoder the tensors under its own names; every one must be there and fit."""
    state = encoder.state_dict()
    renamed = {}
    for theirs, ours in layers.items():
        for name in (name for name in state if name.startswith(f"{ours}.")):
            source = theirs + name.removeprefix(ours)
            if source not in tensors:
                found = ", ".join(sorted(tensors)[:4])
                raise DataError(
                    f"{file} holds neither the released VGG nor the CRNN: expected a tensor "
                    f"{source}, found {found}, ..."
                )
            if tensors[source].shape != state[name].shape:
                raise DataError(
                    f"{file}: expected {source} of shape {tuple(state[name].shape)}, "
                    f"found {tuple(tensors[source].shape)}"
                )
            renamed[name] = tensors[source]
    encoder.load_state_dict(renamed)


@torch.no_grad()
def _rescale(norm: nn.Module, scale: float) -> None:
    """Let a normalisation behind a convolution without bias expect inputs `scale` times smaller."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean /= scale
    norm.running_var += norm.eps
    norm.running_var /= scale**2
    norm.running_var -= norm.eps  # what is added to the variance is not scaled
