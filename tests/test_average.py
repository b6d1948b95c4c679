"""run.average and run.mean: the gradients of two real processes, and their norms in the log."""

import json
from pathlib import Path

import pytest
import torch
from test_run import toy
from torch import nn

from engine.ema import EMA
from engine.errors import UserError
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


def test_a_line_has_the_norm_of_the_gradients_of_its_own_step(tmp_path):
    """Every network's, of the last of its moves in the step; what has no gradient counts for nothing."""
    opt = toy(tmp_path, steps=5, log_every=2)
    run, G, D = Run(opt.run), nn.Linear(4, 2), nn.Linear(3, 1)
    D.bias.requires_grad_(False)
    run.start(opt, G=G, G_ema=EMA(G, 10), D=D)
    expected = []
    while run.running():
        for scale in (1, 2):
            G.weight.grad, G.bias.grad = (scale * torch.randn_like(p) for p in (G.weight, G.bias))
            run.average(G)
        D.weight.grad = torch.full((1, 3), run.step + 1.0)
        run.average(D)
        run.step += 1
        values = [value for p in G.parameters() for value in p.grad.flatten().tolist()]
        expected.append((run.step, sum(v * v for v in values) ** 0.5, 3**0.5 * run.step))
        run.log(loss=1.0)
    run.finish()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    assert list(lines[0]) == ["step", "loss", "grad_G", "grad_D", "images_per_s"]
    for line, norms in zip(lines, (expected[1], expected[3], expected[4]), strict=True):
        assert (line["step"], line["grad_G"], line["grad_D"]) == pytest.approx(norms, rel=1e-6)


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    opt, G = toy(tmp_path, log_every=1), nn.Linear(4, 2)
    run = Run(opt.run)
    run.start(opt, G=G)
    G.weight.grad = torch.full((2, 4), float("nan"))
    run.average(G)
    run.step += 1
    with pytest.raises(UserError, match="step 1: term grad_G is nan"):
        run.log(loss=1.0)
    run._close()
