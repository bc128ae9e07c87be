"""Any TensorFlow Lite network as an encoder."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tonotopy._errors import DataError, MissingExtraError, UsageError
from tonotopy.encoders._foreign_file import ForeignFileEncoder, Session


class TFLiteEncoder(ForeignFileEncoder):
    """Embed with a frozen TensorFlow Lite network, on the CPU; needs the extra `tflite`.

    A saved model holds the content of the file among its tensors and names its SHA-256. A clip is
    given to the network at its own length or in patches, so padding plays no part. Quantised
    tensors are converted.

    Args:
        num_bins: Height F of the features; 1 for waveforms (`RawWaveform`).
        file: The `.tflite` file; None in a saved model, which holds it.
        axes: What the axes of its input are, in their order: `batch`, `bins`, `time`, and `1` for
            an axis of one. Without `batch` it reads one clip at a time. For instance `"time"` or
            `"batch time"` for waveforms, `"batch time bins"` for spectrograms.
        output: Name of the tensor that is the embedding, also an inner one; None for the first
            output. Axes of one are dropped; of frames by dimensions, the mean over frames is taken.
        patch_frames: Frames of a patch, whose vectors are averaged; None for whole clips, or what
            the input prescribes.
        patch_hop: Frames from patch to patch; None for patches side by side.
        embedding_dim: Length D of the embedding; found by a trial when it is not given.
        sha256: Of the file's content; a file that has another is refused.

    Raises:
        MissingExtraError: ai-edge-litert is not installed.
        DataError: The file is damaged, or not the one that `sha256` names.
        UsageError: The file cannot be read, or does not fit `num_bins`, `axes` or `output`.
    """

    def __init__(
        self,
        num_bins: int = 1,
        file: str | None = None,
        axes: str = "batch time",
        output: str | None = None,
        patch_frames: int | None = None,
        patch_hop: int | None = None,
        embedding_dim: int | None = None,
        sha256: str | None = None,
    ) -> None:
        super().__init__(
            num_bins, file, axes, output, patch_frames, patch_hop, embedding_dim, sha256
        )

    def open_session(self, content: bytes) -> Session:
        """See `ForeignFileEncoder.open_session`."""
        return _TFLiteSession(content, self.output)


class _TFLiteSession:
    """A network in LiteRT with one input and one tensor of interest."""

    def __init__(self, content: bytes, output: str | None) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise MissingExtraError("TFLiteEncoder", "tflite") from error
        options: dict[str, Any] = {"num_threads": torch.get_num_threads()}
        if output is not None:
            # Inner tensors are overwritten unless told otherwise, and never there in a delegate.
            options["experimental_preserve_all_tensors"] = True
            options["experimental_op_resolver_type"] = (
                OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            )
        try:
            self._interpreter = Interpreter(model_content=content, **options)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise DataError(f"TFLiteEncoder: the file is no TFLite network: {error}") from error
        inputs = self._interpreter.get_input_details()
        if len(inputs) != 1:
            raise UsageError(f"TFLiteEncoder: expected one input, found {len(inputs)}")
        self._input = inputs[0]
        self._output = self._find(output)
        signature = self._input["shape_signature"]
        self.input_shape = tuple(int(size) if size >= 0 else None for size in signature)
        self._shape = tuple(int(size) for size in self._input["shape"])

    def run(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the named tensor."""
        try:
            if values.shape != self._shape:
                self._interpreter.resize_tensor_input(self._input["index"], values.shape)
                self._interpreter.allocate_tensors()
                self._shape = values.shape
            self._interpreter.set_tensor(self._input["index"], _quantised(values, self._input))
            self._interpreter.invoke()
            out = self._interpreter.get_tensor(self._output["index"])
        except (ValueError, RuntimeError) as error:
            raise DataError(
                f"TFLiteEncoder: the network fails on an input of shape {values.shape}: {error}"
            ) from error
        return _dequantised(out, self._output)

    def _find(self, name: str | None) -> dict[str, Any]:
        outputs: list[dict[str, Any]] = self._interpreter.get_output_details()
        if name is None:
            return outputs[0]
        known: dict[str, dict[str, Any]] = {
            detail["name"]: detail for detail in self._interpreter.get_tensor_details()
        }
        if name in known:
            return known[name]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        names = ", ".join(output["name"] for output in outputs)
        raise UsageError(
            f"TFLiteEncoder: no tensor {name!r} in the network{hint}; its outputs: {names}"
        )


def _quantised(values: NDArray[np.float32], detail: dict[str, Any]) -> NDArray[Any]:
    """Give values in the type of a tensor: round(value / scale) + zero point for integers."""
    dtype = detail["dtype"]
    if not np.issubdtype(dtype, np.integer):
        same: NDArray[Any] = values.astype(dtype)
        return same
    scale, zero = detail["quantization"]
    limits = np.iinfo(dtype)
    whole = np.round(values / (scale or 1.0)) + zero
    clipped: NDArray[Any] = np.clip(whole, limits.min, limits.max).astype(dtype)
    return clipped


def _dequantised(values: NDArray[Any], detail: dict[str, Any]) -> NDArray[np.float32]:
    """Give (value - zero point) · scale for integers, the values themselves for floats."""
    if not np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32)
    scale, zero = detail["quantization"]
    floats: NDArray[np.float32] = np.float32(scale or 1.0) * (values.astype(np.float32) - zero)
    return floats.astype(np.float32)
