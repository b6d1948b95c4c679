"""State dicts of other PyTorch programs, read as layers; recognised ones become an `Imported` by a table of layers."""

import re
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.foreign import Imported


class Layer(NamedTuple):
    """The arrays of a layer, by leaf name; `slot` is its number in the nn.Sequential that holds it."""

    name: str
    slot: int
    arrays: dict[str, Tensor]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.arrays["weight"].shape) if "weight" in self.arrays else ()


class Stage(NamedTuple):
    """A convolution and the norm behind it, if the file holds any arrays of one."""

    conv: Layer
    norm: Layer | None


def read_layers(arrays: dict[str, Any]) -> dict[str, Layer]:
    """The layers by name, without the `module.` of DataParallel, in the order of the numbers in their names."""
    if not all(isinstance(value, Tensor) for value in arrays.values()):
        return {}
    prefix = "module." if all(key.startswith("module.") for key in arrays) else ""
    grouped: dict[str, dict[str, Tensor]] = {}
    for key, value in arrays.items():
        name, _, leaf = key.removeprefix(prefix).rpartition(".")
        grouped.setdefault(name, {})[leaf] = value.float() if value.is_floating_point() else value
    numbers = {name: numbers_in(name) for name in grouped}
    return {name: Layer(name, ([-1] + numbers[name])[-1], grouped[name]) for name in sorted(grouped, key=numbers.get)}


def numbers_in(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d{1,9}", name)]


def matching(layers: dict[str, Layer], pattern: str) -> list[Layer]:
    return [layer for name, layer in layers.items() if re.fullmatch(pattern, name)]


def stages_of(layers: list[Layer]) -> list[Stage]:
    """Each convolution with the norm behind it."""
    stages = []
    for layer in layers:
        if len(layer.shape) == 4:
            stages.append(Stage(layer, None))
        elif stages and stages[-1].norm is None and len(layer.shape) < 2:
            stages[-1] = Stage(stages[-1].conv, layer)
        else:
            return []
    return stages


def norm_of(stages: list[Stage]) -> str:
    """Batch norm has weights, instance norm has none; in front of no norm the reference's layers have no bias."""
    if any(stage.norm and stage.norm.shape for stage in stages):
        return "batch"
    return "instance" if any("bias" in stage.conv.arrays for stage in stages) else "none"


def table_of(stages: list[Stage], places: list[tuple[str, str]]) -> dict[str, str]:
    """The file's layers -> ours. Norms without weights have no place in our networks, nor in the table."""
    table = {}
    for (conv, norm), (our_conv, our_norm) in zip(stages, places, strict=True):
        table[conv.name] = our_conv
        if norm and norm.shape:
            table[norm.name] = our_norm
    return table


def imported(
    layers: dict[str, Layer],
    table: dict[str, str],
    role: str,
    family: str,
    origin: str,
    options: dict,
    notes: list[str],
) -> Imported:
    """The state under our names by a table of layers; a layer that it does not name keeps its own.

    Files of before PyTorch 0.4 have no num_batches_tracked, and running statistics that instance norm never used.
    """
    state, sources, unused = {}, {}, []
    for name, layer in layers.items():
        if name not in table and layer.arrays.keys() <= {"running_mean", "running_var", "num_batches_tracked"}:
            unused += [f"{name}.{leaf}" for leaf in layer.arrays]
            continue
        for leaf, value in layer.arrays.items():
            key = f"{table.get(name, name)}.{leaf}"
            state[key], sources[key] = value, f"{name}.{leaf}"
        if name in table and "running_mean" in layer.arrays:
            state.setdefault(f"{table[name]}.num_batches_tracked", torch.tensor(0))
    return Imported(family, options, {role: state}, origin, notes, unused, {role: sources})


def add_zero_biases(found: Imported, stages: list[Stage], table: dict[str, str]) -> None:
    """The reference's layers without a norm have no bias where ours have one."""
    state = next(iter(found.states.values()))
    for conv, _ in stages:
        key = table[conv.name]
        state.setdefault(f"{key}.bias", torch.zeros(conv.shape[1 if key.startswith("ups.") else 0]))


def fold_biases(found: Imported, stages: list[Stage], table: dict[str, str]) -> None:
    """A batch norm takes out the bias of the convolution before it, so the bias can go into the running mean."""
    state = next(iter(found.states.values()))
    for conv, norm in stages:
        bias, mean = conv.arrays.get("bias"), norm and norm.arrays.get("running_mean")
        if bias is not None and mean is not None and norm.name in table and bias.shape == mean.shape:
            state[f"{table[norm.name]}.running_mean"] = mean - state.pop(f"{table[conv.name]}.bias")
