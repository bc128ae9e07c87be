"""Any ONNX network as an encoder."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tonotopy._errors import DataError, MissingExtraError, UsageError
from tonotopy.encoders._foreign_file import ForeignFileEncoder, Session


class OnnxEncoder(ForeignFileEncoder):
    """Embed with a frozen ONNX network, on the CPU; needs the extra `onnx`.

    A saved model holds the content of the file among its tensors and names its SHA-256. A clip is
    given to the network at its own length, so padding plays no part.

    Args:
        num_bins: Height F of the features; 1 for waveforms (`RawWaveform`).
        file: The `.onnx` file, with its weights inside; None in a saved model, which holds it.
        axes: What the axes of its input are, in their order: `batch`, `bins`, `time`, and `1` for
            an axis of one. Without `batch` it reads one clip at a time. For instance
            `"batch time"` for waveforms, `"batch 1 bins time"` or `"batch time bins"` for
            spectrograms.
        output: Name of the tensor that is the embedding, also an inner one; None for the first
            output. Axes of one are dropped; of frames by dimensions, the mean over frames is taken.
        patch_frames: Frames of a patch, whose vectors are averaged; None for whole clips, or what
            the input prescribes.
        patch_hop: Frames from patch to patch; None for patches side by side.
        embedding_dim: Length D of the embedding; found by a trial when it is not given.
        sha256: Of the file's content; a file that has another is refused.

    Raises:
        MissingExtraError: onnxruntime is not installed.
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
        return _OnnxSession(content, self.output)


class _OnnxSession:
    """A network in onnxruntime with one input and one tensor of interest."""

    def __init__(self, content: bytes, output: str | None) -> None:
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("OnnxEncoder", "onnx") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            model = onnx.ModelProto.FromString(content)
            if output is not None and output not in (o.name for o in model.graph.output):
                _check_tensor(model, output)
                model.graph.output.append(onnx.ValueInfoProto(name=output))
                content = model.SerializeToString()
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except UsageError:
            raise
        except Exception as error:  # protobuf's and onnxruntime's errors share no base class
            raise DataError(f"OnnxEncoder: the file is no ONNX network: {error}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            found = ", ".join(f"{item.name} {item.type}" for item in inputs)
            raise UsageError(
                f"OnnxEncoder: expected one input of type tensor(float), found {found}"
            )
        self._input = inputs[0].name
        self._output = output or self._session.get_outputs()[0].name
        self.input_shape = tuple(
            size if isinstance(size, int) else None for size in inputs[0].shape
        )

    def run(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the named tensor."""
        try:
            (out,) = self._session.run([self._output], {self._input: values})
        except Exception as error:  # onnxruntime's errors share no public base class
            raise DataError(
                f"OnnxEncoder: the network fails on an input of shape {values.shape}: {error}"
            ) from error
        return np.asarray(out, dtype=np.float32)


def _check_tensor(model: Any, name: str) -> None:
    known = [tensor for node in model.graph.node for tensor in node.output]
    if name in known:
        return
    outputs = ", ".join(output.name for output in model.graph.output)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise UsageError(
        f"OnnxEncoder: no tensor {name!r} in the network{hint}; its outputs: {outputs}"
    )
