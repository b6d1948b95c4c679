"""run.average and run.mean: the gradients of two real processes."""

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.run import Run
from options.common import RunOptions


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    for p in network[0].parameters():
        p.grad = torch.full_like(p, float(rank + 1))
    Run(RunOptions(dir=folder, device="cpu")).average(network)
    part = torch.tensor([1.0, 2.0]).mul(rank + 1).requires_grad_()
    whole = Run.mean(part)
    (whole.sum() * (rank + 1)).backward()
    torch.save([whole, part.grad, *(p.grad for p in network.parameters())], Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_gradients_are_averaged_over_processes(tmp_path):
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        whole, slope, *grads = torch.load(tmp_path / f"{rank}.pt")
        assert whole.tolist() == [1.5, 3.0]
        assert slope.tolist() == [1.5, 1.5], "the mean of what both losses ask of it"
        assert all((grad == 1.5).all() for grad in grads[:2])
        assert grads[2:] == [None, None], "what has no gradient keeps none"


def test_one_process_has_nothing_to_average(tmp_path):
    network = nn.Linear(2, 2)
    network.weight.grad = torch.ones(2, 2)
    Run(RunOptions(dir=str(tmp_path), device="cpu")).average(network)
    assert (network.weight.grad == 1).all()
