"""Networks of other PyTorch programs, for the tests of their import."""

import torch
from torch import Tensor, nn

from models.imports import FAMILIES, read_sources
from models.layers import predicting


class Program(nn.Module):
    """A network of named parts; `forward` as given, else its one part."""

    def __init__(self, forward=None, **parts: nn.Module):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.run = forward or next(iter(parts.values())).forward

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.run(*inputs)


def lively(network: nn.Module) -> nn.Module:
    """Every weight, bias and running statistic has a value of its own."""
    for key, value in network.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point():
            scale = key.endswith("weight") and value.dim() == 1  # of a norm
            value.normal_(float(scale), 0.3 if value.dim() == 1 else 1.5 / value[0].numel() ** 0.5)
    return network


def imported(state: dict[str, Tensor], tmp_path, overrides: dict | None = None):
    """(our network, what was found, the options) of a file with that state dict."""
    torch.save(state, tmp_path / "latest_net.pth")
    found, opt = read_sources([tmp_path / "latest_net.pth"], overrides)
    ((role, ours),) = found.states.items()
    network = FAMILIES[found.family][1][role](opt)
    network.load_state_dict(ours)
    return network, found, opt


def assert_same(theirs: nn.Module, ours: nn.Module, *inputs: Tensor, pick=lambda y: y) -> None:
    for mode in ("running", "batch"):
        with torch.no_grad(), predicting(theirs, mode), predicting(ours, mode):
            expected, got = theirs(*inputs), pick(ours(*inputs))
        assert expected.std() > 1e-3
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def as_old(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """As PyTorch 0.3 saved it from several GPUs: no num_batches_tracked, statistics of instance norms, `module.`."""
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    for name, module in network.named_modules():
        if isinstance(module, nn.InstanceNorm2d):
            old |= {f"{name}.running_mean": torch.ones(9), f"{name}.running_var": torch.ones(9)}
    return {f"module.{key}": value for key, value in old.items()}
