"""The networks of the two Chainer originals, read from the files that chainer.serializers.save_npz wrote.

Anime-Semantic-Segmentation-GAN: ResNetDeepLab, DilatedFCN, UNet and the FCN discriminator; SPADE-pix2pix-for-Anime: the
generator and the patch discriminator. With and without the spectral-norm hook, of any width and number of classes.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.palette import ANIME
from engine.errors import UserError
from models.chainer_tables import (
    DILATED_FCN,
    FCN,
    LEAVES,
    RESNET_DEEPLAB,
    SPADE_DISCRIMINATOR,
    SPADE_GENERATOR,
    SUB_PIXEL,
    UNET,
    UNUSED,
)
from models.foreign import Imported


@dataclass(frozen=True)
class Network:
    """One network of the originals.

    Attributes:
        options: of `model.`, what the network itself says.
        widths: of `model.`, option -> our parameter and the axis that is as long.
        notes: what a user should know of it.
    """

    name: str
    family: str
    role: str
    table: dict[str, str]
    options: dict[str, Any]
    widths: dict[str, tuple[str, int]]
    notes: list[str] = field(default_factory=list)


NETWORKS = (
    Network(
        "ResNetDeepLab",
        "seg",
        "G",
        RESNET_DEEPLAB,
        {"generator": "resnet_deeplab", "encoder": "msra101"},
        {"aspp_width": ("aspp.convs.0.weight", 0)},
    ),
    Network(
        "DilatedFCN",
        "seg",
        "G",
        DILATED_FCN,
        {"generator": "dilated_fcn"},
        {"width": ("conv1.weight", 0), "aspp_width": ("aspp.convs.0.weight", 0)},
        ["the original's label maps have half the picture's size; here they are resized to the whole"],
    ),
    Network(
        "UNet",
        "seg",
        "G",
        UNET,
        {"generator": "unet"},
        {"width": ("down1.weight", 0)},
        ["the original's predict.py left dropout on; here it is off"],
    ),
    Network("FCN discriminator", "seg", "D", FCN, {}, {"d_width": ("conv1.weight", 0)}),
    Network(
        "SPADEGenerator",
        "spade",
        "G",
        SPADE_GENERATOR,
        {"generator": "mapping"},
        {"width": ("blocks.6.conv1.weight", 1), "code_width": ("label_mapping.convs.3.weight", 0)},
    ),
    Network(
        "PatchDiscriminator",
        "spade",
        "D",
        SPADE_DISCRIMINATOR,
        {"discriminator": "attention"},
        {"d_width": ("conv1.weight", 0)},
    ),
)


def recognise(arrays: dict[str, Any]) -> Imported | None:
    """The network of a Chainer file, by its names; None for a file of anything else.

    Both originals save each network on its own (snapshot_object), so no key has a trainer's prefix.

    Raises:
        UserError: a network of the originals that has no counterpart here.
    """
    if not arrays or not all(isinstance(array, np.ndarray) for array in arrays.values()):
        return None
    network = max(NETWORKS, key=lambda one: _share(arrays, one.table))
    if _share(arrays, network.table) < 0.5:
        return None
    if network.table is SPADE_GENERATOR:
        _refuse_deconv(arrays)
    state, sources, unused = state_dict(arrays, network.table)
    notes = list(network.notes)
    if unused:
        notes.append(f"left out: {len(unused)} keys of {', '.join(UNUSED)}, stages that the network never runs")
    data, more = _data_options(network, state)
    options = {"data": data, "model": _model_options(network, state)}
    if network.role == "G":
        options["sample"] = {"norm_stats": "batch"}
        more.append(
            "sample.norm_stats=batch, each picture's own statistics, as the original's predict.py had it; "
            "predict.py --norm-stats running takes the running averages"
        )
    return Imported(
        network.family,
        options,
        {network.role: state},
        f"Chainer {network.name}",
        notes + more,
        unused,
        {network.role: sources},
    )


def state_dict(
    arrays: dict[str, np.ndarray], table: dict[str, str]
) -> tuple[dict[str, Tensor], dict[str, str], list[str]]:
    """Chainer arrays under our keys, our keys' names in the file, and the keys that the network never runs.

    A key that no table names stays under its own name.
    """
    state, sources, unused = {}, {}, []
    for key, array in arrays.items():
        if key.startswith(UNUSED):
            unused.append(key)
            continue
        ours = _our_key(key, table)
        if ours is None or ours in state:  # c1/W beside c1/c/W
            ours = key
        elif ours.rpartition(".")[0] in SUB_PIXEL:
            array = pixel_shuffle_order(array)
        kind = np.float32 if array.dtype.kind == "f" else np.int64
        state[ours] = torch.from_numpy(np.array(array, kind))
        sources[ours] = key
    return state, sources, unused


def pixel_shuffle_order(array: np.ndarray, factor: int = 2) -> np.ndarray:
    """Output channels (axis 0) from depth2space's order (ry, rx, c) to pixel_shuffle's (c, ry, rx)."""
    if array.ndim == 0 or len(array) % factor**2:  # not what it should be: told with the other misfits
        return array
    return array.reshape(factor**2, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def _our_key(key: str, table: dict[str, str]) -> str | None:
    if key in table:  # a parameter without a layer of its own
        return table[key]
    path, _, leaf = key.rpartition("/")
    module = table.get(path) or table.get(path.removesuffix("/c"))
    return f"{module}.{LEAVES[leaf]}" if module and leaf in LEAVES else None


def _share(arrays: dict[str, np.ndarray], table: dict[str, str]) -> float:
    """How much of a file a network's table explains, 0 to 1."""
    keys = [key for key in arrays if not key.startswith(UNUSED)]
    return sum(_our_key(key, table) is not None for key in keys) / max(1, len(keys))


def _refuse_deconv(arrays: dict[str, np.ndarray]) -> None:
    """upsampling_mode=deconv: `up1/W`, or `up1/c/W` as sub-pixel without the hook, but with as many channels as before.

    Raises:
        UserError: it is that.
    """
    weight = arrays.get("up1/W", arrays.get("up1/c/W"))
    if weight is not None and weight.ndim == 4 and weight.shape[0] == weight.shape[1]:
        raise UserError(
            "SPADEGenerator with upsampling_mode=deconv: of stride 1, it paints pictures of 4x4 pixels and has no "
            "counterpart here; use a network of another upsampling_mode"
        )


def _model_options(network: Network, state: dict[str, Tensor]) -> dict[str, Any]:
    """What names and shapes say; an option whose parameter is missing is left out."""
    normed = any(key.endswith("running_mean") and not key.startswith("encoder.") for key in state)
    found = {
        "conv_norm": "spectral" if any(key.endswith(".u") for key in state) else "none",
        "d_norm" if (network.family, network.role) == ("spade", "D") else "norm": "batch" if normed else "none",
        "norm_eps": 2e-5,
    }
    for option, (key, axis) in network.widths.items():
        if (length := _length(state, key, axis)) is not None:
            found[option] = length
    if network.table is SPADE_GENERATOR:
        found["upsample"] = "subpixel" if any(key.startswith("ups.") for key in state) else "bilinear"
    return network.options | found


def _data_options(network: Network, state: dict[str, Tensor]) -> tuple[dict[str, Any], list[str]]:
    """Classes, and for spade the colour branch; with notes on what the file does not say."""
    if network.family == "seg":
        count = _length(state, *(("to_class.weight", 0) if network.role == "G" else ("conv1.weight", 1)))
        return ({}, []) if count is None else _classes(count)
    if network.role == "G":
        color = any(key.startswith("color_mapping.") for key in state)
        labels = _length(state, "label_mapping.convs.0.weight", 1)
    else:  # the picture's three channels and, unless four classes of label remain without them, the colour's
        channels = _length(state, "conv1.weight", 1)
        color = channels != len(ANIME) - 1 + 3
        labels = None if channels is None else channels - (6 if color else 3)
    if labels is None or labels < 1:
        return {"color": color}, []
    data, notes = _classes(labels + 1)
    if data["classes"] != "anime":
        data["background"] = data["classes"][-1]
        data["hair"] = data["classes"][min(2, labels - 1)]
        notes.append(f"data.hair={data['hair']}: a guess of the class that the colours are for; --set data.hair=...")
    if network.role == "G" and not any(key.startswith("ups.") for key in state):
        notes.append(
            "bilinear and nearest upsampling look the same in a file: bilinear is the original's default; "
            "for the other --set model.upsample=nearest"
        )
    return {"color": color, **data}, notes


def _classes(count: int) -> tuple[dict[str, Any], list[str]]:
    if count == len(ANIME):
        return {"classes": "anime"}, []
    names = [f"class{i}" for i in range(count)]
    return {"classes": names}, [
        f"{count} classes without names: called {names[0]} to {names[-1]}; --set data.classes=..."
    ]


def _length(state: dict[str, Tensor], key: str, axis: int) -> int | None:
    return state[key].shape[axis] if key in state and state[key].ndim > axis else None
