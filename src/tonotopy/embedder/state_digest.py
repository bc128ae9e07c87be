"""A hash of the weights of a model."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn


class Digest(Protocol):
    """What `hashlib` calls a hash."""

    def update(self, data: bytes, /) -> None: ...


def hash_state(digest: Digest, module: nn.Module) -> None:
    """Add names and values of a module's parameters and buffers, of any type, to a hash."""
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        # As bytes: numpy knows no bfloat16.
        digest.update(
            value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        )
