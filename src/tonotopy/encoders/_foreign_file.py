"""Networks in files of other frameworks: what all of them have in common."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy.encoders._masking import as_image
from tonotopy.encoders._patches import PATCHES_AT_ONCE, check_patches, cut_patches, mean_of_patches
from tonotopy.encoders.encoder import Encoder

_AXES = ("batch", "bins", "time", "1")
TRIAL_FRAMES = 100
TRIAL_SAMPLES = 16000


class Session(Protocol):
    """A network that is ready to run."""

    input_shape: tuple[int | None, ...]
    """Sizes of its input; None where any will do."""

    def run(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the tensor that was asked for."""


class ForeignFileEncoder(Encoder, ABC):
    """Embed with a frozen network of another framework, on the CPU.

    A saved model holds the content of the file among its tensors, so that it needs no other file;
    the architecture names the SHA-256 of that content, which is checked when it is loaded.

    A clip is given to the network at its own length, alone or beside clips as long; or, with
    `patch_frames`, in patches whose vectors are averaged. There is no gradient.

    Args:
        num_bins: Height F of the features; 1 for waveforms.
        file: The network; None in a saved model, which holds it.
        axes: What the axes of its input are, in their order: `batch`, `bins`, `time` and `1`
            for an axis of one. Without `batch` it reads one clip at a time.
        output: Name of the tensor that is the embedding; None for the first output. Its axes of
            one are dropped; of frames by dimensions, the mean over frames is taken.
        patch_frames: Frames of a patch; None for whole clips, or what the input prescribes.
        patch_hop: Frames from patch to patch; None for patches side by side.
        embedding_dim: Length D of the embedding, found by a trial; a saved model tells it.
        sha256: Of the file's content in a saved model; the file must have it if it is given.
    """

    framework: str

    def __init__(
        self,
        num_bins: int,
        file: str | None,
        axes: str,
        output: str | None,
        patch_frames: int | None,
        patch_hop: int | None,
        embedding_dim: int | None,
        sha256: str | None,
    ) -> None:
        super().__init__(num_bins, embedding_dim or 0)
        self.axes = _parse_axes(axes)
        self.output = output
        self.sha256 = sha256
        self.content: bytes | None = None
        self._session: Session | None = None
        self.patch_frames = patch_frames
        self.patch_hop = patch_hop
        if file is None:
            if embedding_dim is None or sha256 is None:
                raise UsageError(f"{type(self).__name__} needs a file: give its path")
        else:
            self._read(Path(file).expanduser(), embedding_dim)
        if self.patch_frames is not None:
            self.patch_hop = self.patch_frames if patch_hop is None else patch_hop
            check_patches(type(self).__name__, self.patch_frames, self.patch_hop)
        elif patch_hop is not None:
            raise UsageError(f"{type(self).__name__}: patch_hop needs patch_frames")
        self.component.init_args.update(
            file=None,
            patch_frames=self.patch_frames,
            patch_hop=self.patch_hop,
            embedding_dim=self.embedding_dim,
            sha256=self.sha256,
        )

    @abstractmethod
    def open_session(self, content: bytes) -> Session:
        """Make the network ready to run.

        Raises:
            MissingExtraError: Its framework is not installed.
            DataError: The content is no network of the framework.
            UsageError: It has no tensor named `output`.
        """

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Encoder.forward`."""
        image, lengths = as_image(features, lengths, self.num_bins)
        clips = image[:, 0].detach()
        if lengths is None:
            lengths = torch.full((len(clips),), clips.shape[-1], device=clips.device)
        if len(clips) == 0:
            return features.new_zeros(0, self.embedding_dim)
        if self.patch_frames is not None and self.patch_hop is not None:
            patches, owners = cut_patches(clips, lengths, self.patch_frames, self.patch_hop)
            vectors = self._embed(patches.transpose(1, 2))
            return mean_of_patches(vectors, owners, len(clips))
        vectors = features.new_zeros(len(clips), self.embedding_dim)
        for length in sorted(set(lengths.tolist())):
            rows = lengths == length
            vectors[rows] = self._embed(clips[rows, :, :length]).to(vectors.dtype)
        return vectors

    def get_extra_state(self) -> Tensor:
        """Give the content of the file as bytes (uint8), to be saved with the model."""
        content = self._content()
        return torch.frombuffer(bytearray(content), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the content of the file from a saved model.

        Raises:
            DataError: It is not the content that the architecture names.
        """
        self._take(state.cpu().numpy().tobytes(), "the saved model")

    def __getstate__(self) -> dict[str, Any]:
        # A session cannot be copied or sent to another process; it is opened again there.
        return {**self.__dict__, "_session": None}

    def _read(self, file: Path, embedding_dim: int | None) -> None:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise UsageError(f"{type(self).__name__}: cannot read {file}: {error}") from error
        self._take(content, str(file))
        shape = self._open().input_shape
        self._check_input(shape, file)
        time = shape[self.axes.index("time")]
        if time is not None:
            if self.patch_frames not in (None, time):
                raise UsageError(
                    f"{file} reads exactly {time} frames: expected patch_frames={time}, "
                    f"got {self.patch_frames}"
                )
            self.patch_frames = time
        trial = TRIAL_SAMPLES if self.num_bins == 1 else TRIAL_FRAMES
        frames = self.patch_frames or trial
        self.embedding_dim = self._embed(torch.zeros(1, self.num_bins, frames)).shape[1]
        if embedding_dim not in (None, self.embedding_dim):
            raise UsageError(
                f"{file} gives embeddings of {self.embedding_dim}, expected {embedding_dim}: "
                "leave embedding_dim out, or name another output"
            )

    def _take(self, content: bytes, origin: str) -> None:
        found = hashlib.sha256(content).hexdigest()
        if self.sha256 not in (None, found):
            raise DataError(
                f"{type(self).__name__}: {origin} holds another network than the one expected: "
                f"expected SHA-256 {self.sha256}, found {found}"
            )
        self.sha256, self.content, self._session = found, content, None

    def _content(self) -> bytes:
        if self.content is None:
            raise UsageError(
                f"{type(self).__name__} has no network yet: load the weights of the saved model"
            )
        return self.content

    def _open(self) -> Session:
        if self._session is None:
            self._session = self.open_session(self._content())
        return self._session

    def _check_input(self, shape: tuple[int | None, ...], file: Path) -> None:
        names = " ".join(self.axes)
        if len(shape) != len(self.axes):
            raise UsageError(
                f"{file} reads an input of shape {shape}, which axes={names!r} do not fit: name "
                f"each of the {len(shape)}, for instance 'batch time bins' for three"
            )
        wanted = {"bins": self.num_bins, "1": 1}
        for name, size in zip(self.axes, shape, strict=True):
            if name in wanted and size not in (None, wanted[name]):
                raise UsageError(
                    f"{file} reads an input of shape {shape}: with axes={names!r} the front end "
                    f"must give {size} {name}, it gives {wanted[name]}"
                )

    @torch.no_grad()
    def _embed(self, clips: Tensor) -> Tensor:
        """Map (N, F, T) clips of one length to (N, D), as many at once as the network allows."""
        session = self._open()
        batched = "batch" in self.axes
        given = session.input_shape[self.axes.index("batch")] if batched else 1
        at_once = given or min(len(clips), PATCHES_AT_ONCE)
        vectors = []
        for part in torch.split(clips.float().cpu(), at_once):
            size = given or len(part)
            out = torch.from_numpy(session.run(_arranged(part, self.axes, size)).copy())
            vectors.append(self._vectors(out if batched else out[None], size)[: len(part)])
        return torch.cat(vectors).to(clips.device)

    def _vectors(self, out: Tensor, count: int) -> Tensor:
        """Make one vector a clip of the named tensor."""
        kept = [size for size in out.shape[1:] if size != 1] or [1]
        if out.shape[:1] != (count,) or len(kept) > 2:
            raise UsageError(
                f"{type(self).__name__}: output {self.output or 'number 1'} has shape "
                f"{tuple(out.shape)} for {count} clips, expected (clips, dimensions) or "
                "(clips, frames, dimensions): name another output"
            )
        out = out.reshape(count, *kept)
        return out if len(kept) == 1 else out.mean(dim=1)


def _parse_axes(axes: str) -> tuple[str, ...]:
    names = tuple(axes.split())
    once = [names.count(name) for name in ("batch", "bins", "time")]
    if set(names) - set(_AXES) or max(once) > 1 or "time" not in names:
        raise UsageError(
            f"axes: expected some of batch, bins, time and 1, each but 1 once and time among "
            f"them, got {axes!r}"
        )
    return names


def _arranged(clips: Tensor, axes: tuple[str, ...], batch: int) -> NDArray[np.float32]:
    """Give clips (N, F, T) the axes of the input; a batch that is too small is filled up."""
    if len(clips) < batch:
        clips = torch.cat([clips, clips[-1:].expand(batch - len(clips), -1, -1)])
    sizes = dict(zip(("batch", "bins", "time"), clips.shape, strict=True))
    order = [("batch", "bins", "time").index(name) for name in axes if name != "1"]
    left_out = [at for at in range(3) if at not in order]
    moved = clips.permute(*order, *left_out)  # those left out have a size of one
    values: NDArray[np.float32] = moved.reshape([sizes.get(name, 1) for name in axes]).numpy()
    return np.ascontiguousarray(values)
