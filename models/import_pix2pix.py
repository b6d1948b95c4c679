"""The reference implementation of pix2pix (pytorch-CycleGAN-and-pix2pix), and its kin with a latent z, BicycleGAN and
MSGAN: which network a state dict is follows from the names of its layers, the widths from the shapes."""

from torch import Tensor

from engine.errors import UserError
from models.foreign import Imported
from models.foreign_torch import (
    Layer,
    Stage,
    add_zero_biases,
    fold_biases,
    imported,
    matching,
    norm_of,
    numbers_in,
    stages_of,
    table_of,
)

REFERENCE, BICYCLE = "pytorch-CycleGAN-and-pix2pix", "BicycleGAN or MSGAN"
USUAL_Z = 8  # of BicycleGAN and MSGAN


# ---- generators


def resnet(layers: dict[str, Layer]) -> Imported | None:
    """The reference's ResNet generator: 7x7, two strided layers, blocks, two transposed layers, 7x7."""
    outer = stages_of(matching(layers, r"model\.\d+"))
    numbers = sorted({numbers_in(layer.name)[0] for layer in matching(layers, r"model\.\d+\.conv_block\.\d+")})
    blocks = [stages_of(matching(layers, rf"model\.{number}\.conv_block\.\d+")) for number in numbers]
    if len(outer) != 6 or not blocks or any(len(block) != 2 for block in blocks):
        return None
    if blocks[0][0].conv.slot == 0:
        raise UserError(
            "a ResNet generator with zero padding, ours reflects the borders; use one of the reference's default"
        )
    outer_places = [(f"downs.{i}", f"down_norms.{i}") for i in range(3)]
    outer_places += [(f"ups.{i}", f"up_norms.{i}") for i in range(2)]
    table = table_of(outer, [*outer_places, ("to_picture", "")])
    for i, block in enumerate(blocks):
        table |= table_of(block, [(f"blocks.{i}.conv{k}", f"blocks.{i}.norm{k}") for k in (1, 2)])
    inner = [stage for block in blocks for stage in block] + outer[:-1]
    norm = norm_of(inner)
    dropout = blocks[0][1].conv.slot - blocks[0][0].conv.slot == 5  # a module between them more than without
    model = {
        "generator": "resnet",
        "blocks": len(blocks),
        "width": outer[0].conv.shape[0],
        "in_channels": outer[0].conv.shape[1],
        "out_channels": outer[-1].conv.shape[0],
        "norm": norm,
        "dropout": 0.5 if dropout else 0.0,
    }
    options = {
        "model": model,
        "sample": {"norm_stats": "batch", "dropout": dropout},
    }  # its test program, without --eval
    found = imported(layers, table, "G", "pix2pix", f"{REFERENCE}, ResNet generator", options, [])
    if norm == "none":
        add_zero_biases(found, inner, table)
    return found


def _unet_blocks(layers: dict[str, Layer]) -> list[tuple[list[Stage], list[Stage]]]:
    """(way down, way up) of each level, outermost first; [] if this is no U-Net.

    The levels are nested: model.model.1.model.3..., or, where z enters all of them, model.submodule.submodule.down...
    """
    levels: dict[int, tuple[list[Layer], list[Layer]]] = {}
    nested = matching(layers, r"model(\.model\.\d+)+")
    if nested:
        *within, _ = numbers_in(max(nested, key=lambda layer: len(numbers_in(layer.name))).name)
        for layer in nested:
            level = len(numbers_in(layer.name)) - 1
            up = layer.slot > ([*within, 1])[level]  # behind the next level; the innermost convolves down in slot 1
            levels.setdefault(level, ([], []))[up].append(layer)
    else:
        for layer in matching(layers, r"model(\.submodule)*\.(down|up)\.\d+"):
            levels.setdefault(layer.name.count("submodule"), ([], []))[".up." in layer.name].append(layer)
    blocks = [(stages_of(down), stages_of(up)) for _, (down, up) in sorted(levels.items())]
    return blocks if len(blocks) > 1 and all(len(down) == len(up) == 1 for down, up in blocks) else []


def unet(layers: dict[str, Layer]) -> Imported | None:
    """The reference's U-Net, and BicycleGAN's and MSGAN's with z at the input or at all levels."""
    blocks = _unet_blocks(layers)
    if not blocks:
        return None
    depth = len(blocks)
    downs, ups = [down for (down,), _ in blocks], [up for _, (up,) in reversed(blocks)]
    deconv = ups[0].conv.shape[2] == 4
    at = "" if deconv else ".1"  # behind the resizing
    table = table_of(downs, [(f"downs.{i}", f"down_norms.{i - 1}") for i in range(depth)])
    table |= table_of(ups[:-1], [(f"ups.{i}{at}", f"up_norms.{i}") for i in range(depth - 1)])
    table |= table_of(ups[-1:], [(f"to_picture{at}", "")])
    norm, z_at, channels, z = _unet_norm(layers, downs), *_latent(layers, downs)
    bicycle = z > 0 or not deconv or (norm != "instance" and "bias" in downs[0].conv.arrays)
    if bicycle and norm == "batch":
        raise UserError(f"a U-Net of {BICYCLE} with batch norm has biases that ours lacks; use one with instance norm")
    model = {
        "generator": "unet",
        "width": downs[0].conv.shape[0],
        "in_channels": channels,
        "out_channels": ups[-1].conv.shape[1 if deconv else 0],
        "norm": norm,
        "dropout": 0.0 if bicycle else 0.5,
        "upsample": "deconv" if deconv else "bilinear",
        "z": z,
        "z_at": z_at,
    }
    # BicycleGAN's and MSGAN's test programs call eval(); the reference's, without --eval, stays in training mode
    sample = {"norm_stats": "running" if bicycle else "batch", "dropout": not bicycle}
    options = {"data": {"size": [2**depth, 2**depth]}, "model": model, "sample": sample}
    origin = f"{BICYCLE if bicycle else REFERENCE}, U-Net generator"
    found = imported(layers, table, "G", "pix2pix", origin, options, [_unet_note(bicycle, z_at, channels, z)])
    if norm == "none":
        add_zero_biases(found, downs + ups, table)
    if bicycle:
        _swap_skips(found.states["G"], [table[up.conv.name] for up in ups[1:]], 0 if deconv else 1)
    return found


def _unet_note(bicycle: bool, z_at: str, channels: int, z: int) -> str:
    """What the file leaves open, and how it was decided."""
    if not bicycle:
        return "dropout is not in the file: taken as on, the reference's default; else --set model.dropout=0"
    if z_at == "all":
        return f"no norm is in the file: taken as instance, the default of {BICYCLE}; else --set model.norm=none"
    return f"the {channels + z} input channels are taken as {channels} of the picture and z of {z}"


def _unet_norm(layers: dict[str, Layer], downs: list[Stage]) -> str:
    """As norm_of. Without a norm BicycleGAN has biases too, and no gap before the next level."""
    second = downs[1].conv
    adjacent = f"{second.name.rpartition('.')[0]}.{second.slot + 1}."
    return "none" if any(name.startswith(adjacent) for name in layers) else norm_of(downs)


def _latent(layers: dict[str, Layer], downs: list[Stage]) -> tuple[str, int, int]:
    """(z_at, channels of the picture, length of z). At the input the file holds their sum only."""
    total = downs[0].conv.shape[1]
    if any(".submodule." in name for name in layers):
        z = downs[1].conv.shape[1] - downs[0].conv.shape[0]
        return "all", total - z, z
    if total - USUAL_Z in (1, 3):
        return "input", total - USUAL_Z, USUAL_Z
    channels = 3 if total >= 3 else 1
    return "input", channels, total - channels


def _swap_skips(state: dict[str, Tensor], convs: list[str], dim: int) -> None:
    """BicycleGAN puts what comes up before the skip, the reference and we behind it."""
    for conv in convs:
        weight = state[f"{conv}.weight"]
        state[f"{conv}.weight"] = weight.roll(weight.shape[dim] // 2, dim)


# ---- discriminators


def _patch_table(stages: list[Stage], prefix: str = "") -> dict[str, str]:
    places = [(f"{prefix}convs.{i}", f"{prefix}norms.{i - 1}") for i in range(len(stages) - 1)]
    return table_of(stages, [*places, (f"{prefix}to_logit", "")])


def _is_patch(stages: list[Stage]) -> bool:
    return len(stages) >= 3 and stages[-1].conv.shape[0] == 1 and all(stage.conv.shape[2] == 4 for stage in stages)


def patch(layers: dict[str, Layer]) -> Imported | None:
    """The PatchGAN of the reference, of any depth, and a single one of BicycleGAN."""
    return _patches(layers, [stages_of(matching(layers, r"model\.\d+"))], REFERENCE)


def multiscale(layers: dict[str, Layer]) -> Imported | None:
    """BicycleGAN's and MSGAN's discriminators: model_0, model_1, ..., in older files model0, model1, ..."""
    numbers = sorted({numbers_in(layer.name)[0] for layer in matching(layers, r"model_?\d+\.\d+")})
    return _patches(layers, [stages_of(matching(layers, rf"model_?{k}\.\d+")) for k in numbers], BICYCLE)


def _patches(layers: dict[str, Layer], scales: list[list[Stage]], origin: str) -> Imported | None:
    if not scales or not all(_is_patch(stages) for stages in scales):
        return None
    prefixes = [f"scales.{k}." if len(scales) > 1 else "" for k in range(len(scales))]
    tables = [_patch_table(stages, prefix) for stages, prefix in zip(scales, prefixes, strict=True)]
    first = scales[0]
    inner = [stage for stages in scales for stage in stages[1:-1]]
    model = {
        "discriminator": "patch",
        "d_layers": len(first) - 2,
        "d_width": first[0].conv.shape[0],
        "d_norm": norm_of(inner),
        "num_discriminators": len(scales),
        **_seen_channels(first[0].conv.shape[1]),
    }
    table = {name: ours for part in tables for name, ours in part.items()}
    found = imported(layers, table, "D", "pix2pix", f"{origin}, patch discriminator", {"model": model}, [])
    if model["d_norm"] == "none":
        add_zero_biases(found, inner, table)
    fold_biases(found, inner, table)
    return found


def _seen_channels(total: int) -> dict[str, int]:
    """What D's input says of G: it is input and picture; 4 are 1 and 3 or 3 and 1, as G's file says."""
    if total in (1, 3):
        raise UserError(
            f"a discriminator of {total} channels judges pictures alone, ours input and picture; leave it out"
        )
    return {"in_channels": total // 2, "out_channels": total // 2} if total in (2, 6) else {}


def pixel(layers: dict[str, Layer]) -> Imported | None:
    """The reference's 1x1 discriminator."""
    stages = stages_of(matching(layers, r"net\.\d+"))
    if len(stages) != 3 or any(stage.conv.shape[2] != 1 for stage in stages):
        return None
    table = table_of(stages, [("conv1", ""), ("conv2", "norm2"), ("to_logit", "")])
    first = stages[0].conv
    model = {
        "discriminator": "pixel",
        "d_width": first.shape[0],
        "d_norm": norm_of(stages[1:2]),
        **_seen_channels(first.shape[1]),
    }
    found = imported(layers, table, "D", "pix2pix", f"{REFERENCE}, pixel discriminator", {"model": model}, [])
    if model["d_norm"] == "none":
        add_zero_biases(found, stages, table)
    return found


NETWORKS = (resnet, unet, patch, multiscale, pixel)
