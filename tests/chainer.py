"""The Chainer originals' networks for the tests: weights loaded strictly, or generated from a formula."""

import zlib
from pathlib import Path

import numpy as np
import torch

from models import import_chainer
from models.chainer_tables import LEAVES


def state_dict(arrays: dict[str, np.ndarray], table: dict[str, str]) -> dict[str, torch.Tensor]:
    """Chainer arrays under our keys."""
    return import_chainer.state_dict(arrays, table)[0]


def load(module: torch.nn.Module, arrays: dict[str, np.ndarray], table: dict[str, str]) -> torch.nn.Module:
    """Load a complete Chainer file: every key of the file and of the module must be met."""
    module.load_state_dict(state_dict(arrays, table), strict=True)
    return module


def formula_array(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights that the reference run generated from a parameter's name instead of storing them."""
    n = np.random.RandomState(zlib.crc32(key.encode("ascii"))).standard_normal(size=shape)
    leaf = key.rsplit("/", 1)[1]
    if leaf == "W":
        n = n * np.sqrt(2 / np.prod(shape[1:])) if len(shape) == 4 else 0.01 * n
    value = {
        "b": lambda: 0.05 * n,
        "gamma": lambda: 1 + 0.1 * n,
        "beta": lambda: 0.1 * n,
        "avg_mean": lambda: np.zeros(shape),
        "avg_var": lambda: np.ones(shape),
    }.get(leaf, lambda: n)()
    return value.astype(np.float32)


def formula_file(network: torch.nn.Module, table: dict[str, str]) -> dict[str, np.ndarray]:
    """A Chainer file for `network`, with the hook where it is spectral; its arrays follow from their keys."""
    arrays = {}
    state = network.state_dict()
    for path, module in table.items():
        if module in state:  # a parameter without a layer of its own
            arrays[path] = formula_array(path, tuple(state[module].shape))
        is_norm = f"{module}.running_mean" in state
        leaves = ("gamma", "beta", "avg_mean", "avg_var") if is_norm else ("W", "b", "W_u")
        wrapped = "/c" if f"{module}.u" in state else ""
        for leaf in leaves:
            tensor = state.get(f"{module}.{LEAVES[leaf]}")
            if tensor is not None:
                key = f"{path}{wrapped}/{leaf}"
                arrays[key] = formula_array(key, tuple(tensor.shape))
        if is_norm:
            arrays[f"{path}/N"] = np.zeros((), np.int64)
    return arrays


def save(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path
