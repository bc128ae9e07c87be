"""Two real processes give the gradient of one, for every loss.

Run as a program, this file is one of the two processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loss_row import Row
from loss_table import ROWS
from torch import Tensor, nn

from tonotopy.losses import AngularContrastiveLoss, MomentumContrast, ProjectionHead
from tonotopy.training.collectives import gather_rows, global_loss

QUEUED = "momentum-contrast"
"""A loss whose keys come from all processes."""

SIZES = [5, 6]  # uneven, with an unlabelled clip on each rank


def _rank_main(rank: int, folder: Path) -> None:
    """Train step of one of two processes: local clips, averaged gradients."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2
    )
    averaged = {}
    for row in ROWS:
        loss, encoder = row.build(5), _encoder()
        z, labels = (torch.split(part, SIZES)[rank] for part in row.batch(5))
        torch.autograd.backward(global_loss(loss, encoder(z), labels))
        grads = _gradients(encoder, loss)
        for grad in grads:
            torch.distributed.all_reduce(grad)
        averaged[row.name] = [grad / 2 for grad in grads]
    gradients, queue = _queued_steps(rank)
    for grad in gradients:
        torch.distributed.all_reduce(grad)
    averaged[QUEUED] = [*(grad / 2 for grad in gradients), queue]
    torch.save(averaged, folder / f"rank{rank}.pt")
    torch.distributed.destroy_process_group()


def _queued_steps(rank: int | None) -> tuple[list[Tensor], Tensor]:
    """Give the gradients of a second step with keys and a queue, and the queue after it."""
    torch.manual_seed(4)
    loss = MomentumContrast(AngularContrastiveLoss(ProjectionHead(5, [3])), 16, 5).double()
    encoder = _encoder()
    part = slice(None) if rank is None else (slice(0, 5), slice(5, 11))[rank]
    for step in range(2):
        encoder.zero_grad()
        loss.zero_grad()
        inputs, keys = torch.randn(2, 11, 5, dtype=torch.float64)
        clips = torch.arange(11) + 3 * step  # some clips are in both steps
        mine = clips[part]
        loss.set_keys(gather_rows(keys[part]), gather_rows(mine), gather_rows(mine))
        torch.autograd.backward(global_loss(loss, encoder(inputs[part]), mine))
    return _gradients(encoder, loss), loss.queue


def _encoder() -> nn.Linear:
    torch.manual_seed(9)
    return nn.Linear(5, 5).double()


def _gradients(encoder: nn.Module, loss: nn.Module) -> list[Tensor]:
    parameters = [*encoder.parameters(), *loss.parameters()]
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Tensor]]]:
    """Averaged gradients of every loss, as each of two real processes got them."""
    folder = tmp_path_factory.mktemp("ranks")
    commands = [[sys.executable, __file__, str(rank), str(folder)] for rank in range(2)]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_two_processes_give_the_gradient_of_one(
    row: Row, two_processes: list[dict[str, list[Tensor]]]
) -> None:
    loss, encoder = row.build(5), _encoder()
    z, labels = row.batch(5)
    loss(encoder(z), labels).backward()
    expected = _gradients(encoder, loss)
    for averaged in two_processes:
        torch.testing.assert_close(averaged[row.name], expected, rtol=1e-9, atol=1e-12)


def test_two_processes_share_keys_and_queue(two_processes: list[dict[str, list[Tensor]]]) -> None:
    gradients, queue = _queued_steps(None)
    for averaged in two_processes:
        torch.testing.assert_close(averaged[QUEUED], [*gradients, queue], rtol=1e-9, atol=1e-12)


if __name__ == "__main__":
    _rank_main(int(sys.argv[1]), Path(sys.argv[2]))
    # What was asked for is on the disk. Threads of gloo may outlive their group, and an interpreter
    # that ends below them aborts now and then.
    os._exit(0)
