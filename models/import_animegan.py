"""animeGAN (github.com/jayleicn/animeGAN): its networks by the names of their layers, widths from the shapes."""

from engine.errors import UserError
from models.foreign import Imported
from models.foreign_torch import Layer, Stage, imported, matching, numbers_in, stages_of, table_of

ANIMEGAN = "animeGAN"
SIDES = {4: 64, 5: 96}  # kernel at the picture -> side of the picture


def dcgan(layers: dict[str, Layer]) -> Imported | None:
    """animeGAN's model 1. Its layers' names have dots, or underscores where PyTorch no longer allows dots."""
    stages = stages_of(matching(layers, r"main\.\d+"))
    last = stages_of(matching(layers, r"main\.final[-_]layers?[._](de)?conv"))
    if len(stages) != 4 or len(last) != 1:
        return None
    extras = matching(layers, r"main\.extra[-_]layers[-_]\d+[._]\d+[._](conv|batchnorm)")
    extras.sort(key=lambda layer: (numbers_in(layer.name), len(layer.shape) < 4))
    stages += [*stages_of(extras), *last]
    if not last[0].conv.name.endswith("deconv"):
        table = _down_table(stages, "to_logit")
        return _discriminator(layers, table, stages, {"variant": "dcgan", "n_extra_d": len(stages) - 5})
    model = {"variant": "dcgan", "z": stages[0].conv.shape[0], "n_extra_g": len(stages) - 5}
    return _generator(layers, _up_table(stages), stages, model)


def fc_generator(layers: dict[str, Layer]) -> Imported | None:
    """animeGAN's model 2, with a decoder of z, and 3."""
    stages = _fc_stages(layers)
    if not stages or layers["fcs.3"].shape[0] == 1:
        return None
    table = {"fcs.0": "fc1", "fcs.3": "fc2", "decode_fcs.0": "decoder.0", "decode_fcs.3": "decoder.3"}
    variant = "illustration" if "decode_fcs.0" in layers else "fc"
    model = {"variant": variant, "z": layers["fcs.0"].shape[1]}
    return _generator(layers, table | _up_table(stages), stages, model)


def fc_discriminator(layers: dict[str, Layer]) -> Imported | None:
    """animeGAN's discriminator of models 2 and 3; its program trains 2."""
    stages = _fc_stages(layers)
    if not stages or layers["fcs.3"].shape[0] != 1:
        return None
    table = {"fcs.0": "fc", "fcs.3": "to_logit"} | _down_table(stages, "to_hidden")
    return _discriminator(layers, table, stages, {"variant": "illustration"})


def _fc_stages(layers: dict[str, Layer]) -> list[Stage]:
    """The convolutions beside two linear layers, [] if there are others."""
    linear = [len(layer.shape) for layer in matching(layers, r"fcs\.[03]")]
    stages = stages_of(matching(layers, r"convs\.\d+"))
    return stages if linear == [2, 2] and len(stages) == 5 else []


def _up_table(stages: list[Stage]) -> dict[str, str]:
    places = [(f"ups.layers.{i}", f"ups.norms.{i}") for i in range(len(stages) - 1)]
    return table_of(stages, [*places, ("ups.to_picture", "")])


def _down_table(stages: list[Stage], last: str) -> dict[str, str]:
    places = [(f"downs.layers.{i}", f"downs.norms.{i}") for i in range(len(stages) - 2)]
    return table_of(stages, [("downs.from_picture", ""), *places, (last, "")])


def _generator(layers: dict[str, Layer], table: dict[str, str], stages: list[Stage], model: dict) -> Imported:
    last = stages[-1].conv
    options = {
        "data": {"size": _side(last)},
        "model": model | {"g_width": last.shape[0], "g_norm": "batch"},
        "sample": {"norm_stats": "running"},
    }
    notes = ["how z was drawn is not in the file: taken as gaussian; if by --binary, --set model.latent=binary"]
    return imported(layers, table, "G", "dcgan", f"{ANIMEGAN}, generator", options, notes)


def _discriminator(layers: dict[str, Layer], table: dict[str, str], stages: list[Stage], model: dict) -> Imported:
    first = stages[0].conv
    options = {"data": {"size": _side(first)}, "model": model | {"d_width": first.shape[0], "d_norm": "batch"}}
    return imported(layers, table, "D", "dcgan", f"{ANIMEGAN}, discriminator", options, [])


def _side(at_picture: Layer) -> list[int]:
    """animeGAN's pictures are of 64 or, with a 5x5 kernel at the picture, of 96."""
    kernel = at_picture.shape[2]
    if kernel not in SIDES:
        raise UserError(f"an {ANIMEGAN} network with a {kernel}x{kernel} kernel at the picture; known are 4x4 and 5x5")
    return [SIDES[kernel], SIDES[kernel]]


NETWORKS = (dcgan, fc_generator, fc_discriminator)
