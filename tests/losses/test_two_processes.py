"""Two real processes give the gradient of one, for every loss.

Run as a program, this file is one of the two processes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode does not

from loss_table import ROWS, Row, batch


def shards(dim: int = 5) -> tuple[Tensor, Tensor]:
    """Equally many labelled clips on both ranks, so that a mean over samples is that of ranks."""
    z, labels = batch(dim)
    known = labels >= 0
    return z[known][:8].reshape(2, 4, dim), labels[known][:8].reshape(2, 4)


class _Gather(torch.autograd.Function):
    """Concatenate over ranks; the gradient of all ranks' copies is summed."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        parts = [torch.empty_like(local) for _ in range(2)]
        torch.distributed.all_gather(parts, local)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous()
        torch.distributed.all_reduce(total)
        return total.chunk(2)[torch.distributed.get_rank()]


def _rank_main(rank: int, folder: Path) -> None:
    """Train step of one of two processes: local clips, gathered embeddings, averaged gradients."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2
    )
    all_z, all_labels = shards()
    averaged = {}
    for row in ROWS:
        loss, encoder = row.build(5), _encoder()
        z, labels = encoder(all_z[rank]), all_labels[rank]
        if loss.kind == "batch":
            z = _Gather.apply(z)  # type: ignore[no-untyped-call]  # torch's own
            labels = all_labels.flatten()
        loss(z, labels).backward()
        grads = _gradients(encoder, loss)
        for grad in grads:
            torch.distributed.all_reduce(grad)
        averaged[row.name] = [grad / 2 for grad in grads]
    torch.save(averaged, folder / f"rank{rank}.pt")
    torch.distributed.destroy_process_group()


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
    z, labels = shards()
    loss(encoder(z.flatten(0, 1)), labels.flatten()).backward()
    expected = _gradients(encoder, loss)
    for averaged in two_processes:
        torch.testing.assert_close(averaged[row.name], expected, rtol=1e-9, atol=1e-12)


if __name__ == "__main__":
    _rank_main(int(sys.argv[1]), Path(sys.argv[2]))
