"""Gradients of a loss over large batches, with an encoder that sees a few clips at a time.

Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP
2021.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.losses._base import Labels

RandomState = list[Tensor]
"""Of the processor, and of the accelerator where there is one."""


class GradCache:
    """Give the encoder the gradient of a whole batch in the memory of a chunk of it.

    The clips are encoded chunk by chunk without a graph; the loss of all embeddings and its
    gradient with respect to them follow; then every chunk is encoded again, with a graph and the
    same random numbers, and takes its part of that gradient. The result is exact for every loss, at
    the price of a second forward pass. Gradients add up in `.grad`, of the encoder and of the
    loss's own parameters, as after `loss.backward()`.

    Batch normalisation in training mode is the exception: its statistics are those of a chunk, not
    of the batch, and its running averages move twice a step. Freeze it (`eval()`), or use group or
    layer normalisation.

    Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021.

    Args:
        encoder: (B, ...) inputs to (B, D) embeddings. Of a `DistributedDataParallel` the gradients
            are exchanged once, with the last chunk.
        loss: Called with all embeddings and the labels; with several processes, one that gathers,
            as `functools.partial(global_loss, loss)`.
        chunk_size: Clips that the encoder sees at once, at least 1.

    Raises:
        UsageError: `chunk_size` is below 1.

    Examples:
        >>> from tonotopy.losses import SupConLoss
        >>> encoder = nn.Linear(6, 3)
        >>> engine = GradCache(encoder, SupConLoss(), chunk_size=4)
        >>> value = engine.backward(torch.randn(10, 6), torch.arange(10) % 3)
        >>> value.requires_grad, encoder.weight.grad is not None
        (False, True)
    """

    def __init__(
        self, encoder: nn.Module, loss: Callable[[Tensor, Labels], Tensor], chunk_size: int
    ) -> None:
        if chunk_size < 1:
            raise UsageError(f"chunk_size must be at least 1, got {chunk_size}")
        self.encoder = encoder
        self.loss = loss
        self.chunk_size = chunk_size

    def backward(
        self,
        inputs: Tensor,
        labels: Labels,
        *,
        scale: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Add the gradient of the loss of a batch to that of the parameters.

        Call it in the same autocast context as an ordinary forward pass.

        Args:
            inputs: (B, ...) what the encoder takes, on its device.
            labels: Of the B clips, as the loss takes them.
            scale: Applied to the loss before it is differentiated, such as `GradScaler.scale`.

        Returns:
            The loss, a scalar without gradient, not scaled.
        """
        chunks = torch.split(inputs, self.chunk_size)
        states, parts = [], []
        with torch.no_grad():
            for chunk in chunks:
                states.append(_random_state(inputs.device))
                parts.append(self.encoder(chunk))
        after = _random_state(inputs.device)
        embeddings = torch.cat(parts).detach().requires_grad_()
        value = self.loss(embeddings, labels)
        torch.autograd.backward(value if scale is None else scale(value))
        gradient = embeddings.grad
        if gradient is not None:  # None where the loss does not look at them
            self._second_pass(chunks, torch.split(gradient, self.chunk_size), states)
            _set_random_state(inputs.device, after)
        return value.detach()

    def _second_pass(
        self, chunks: tuple[Tensor, ...], gradients: tuple[Tensor, ...], states: list[RandomState]
    ) -> None:
        last = len(chunks) - 1
        for index, (chunk, gradient, state) in enumerate(
            zip(chunks, gradients, states, strict=True)
        ):
            _set_random_state(chunk.device, state)
            with nullcontext() if index == last else _no_exchange(self.encoder):
                torch.autograd.backward(self.encoder(chunk), gradient)


def _no_exchange(encoder: nn.Module) -> AbstractContextManager[None]:
    no_sync = getattr(encoder, "no_sync", nullcontext)
    return cast("AbstractContextManager[None]", no_sync())


def _random_state(device: torch.device) -> RandomState:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def _set_random_state(device: torch.device, states: RandomState) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states[1])
