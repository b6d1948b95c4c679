"""Write the network that predicts, alone, from a run or a checkpoint.

    python scripts/export_weights.py --weights RUN --output seg.pt             # or seg.safetensors, seg.onnx

.pt and .safetensors hold the averaged generator and its options, without discriminator and optimisers: predict.py and
run.init_from read them as they read checkpoints. .onnx is for other programs: batch size, height and width are free
where the network allows, chance (latents, noise) comes in as inputs, and each picture of a batch is computed as if it
were alone. It is compared with PyTorch in onnxruntime before it is written. Its metadata entry "atelier" says as JSON
what goes in and what comes out. .safetensors and .onnx need requirements-extra.txt.

Exit code 0: written; 1: weights that cannot be read or exported; 2: wrong arguments.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import nn

from data.palette import palette_of
from engine import checkpoint
from engine.errors import UserError, door
from engine.files import require_writable, whole_file
from models import pretrained
from models.export import VALUES, Function, Port, function_of
from models.export_onnx import BOUND, parity, require_onnx, to_onnx
from options.load import to_dict
from predict import load_network


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    write = WRITERS.get(args.output.suffix)
    if write is None:
        raise UserError(f"--output {args.output}: what format? End its name in {', '.join(WRITERS)}", 2)
    if args.output.is_dir():
        raise UserError(f"--output {args.output}: is a folder; name a file", 2)
    if args.output.exists() and not args.overwrite:
        raise UserError(f"--output {args.output}: is there already; add --overwrite, or name another file", 2)
    require_writable(args.output.parent)
    path = pretrained.find(args.weights)
    network, opt, _ = load_network(str(path), torch.device("cpu"))
    write(args.output, network, opt, head(path, opt))
    print(f"written: {args.output} ({args.output.stat().st_size / 1e6:.1f} MB)")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--weights", required=True, metavar="W", help="a run folder, a checkpoint file or a name")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help=f"the file to write: {', '.join(WRITERS)}"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output that is there")
    return parser.parse_args(arguments)


def head(path: Path, opt: Any) -> dict[str, Any]:
    """What a checkpoint says about itself."""
    content = checkpoint.load(path)
    origin = {"origin": content["origin"]} if "origin" in content else {}
    return {"family": opt.family, "step": content["step"], "options": to_dict(opt), **origin}


def write_pt(output: Path, network: nn.Module, opt: Any, head: dict[str, Any]) -> None:
    """G and its average are the same tensors, stored once."""
    state = network.state_dict()
    checkpoint.save(output, {**head, "G": state, "G_ema": state})


def write_safetensors(output: Path, network: nn.Module, opt: Any, head: dict[str, Any]) -> None:
    try:
        from safetensors.torch import save
    except ImportError:
        raise UserError(f"{output}: safetensors is not installed: pip install -r requirements-extra.txt") from None
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    metadata = {checkpoint.HEAD: json.dumps({"format": checkpoint.FORMAT, **head})}
    with whole_file(output) as part:
        part.write_bytes(save(state, metadata))


def write_onnx(output: Path, network: nn.Module, opt: Any, head: dict[str, Any]) -> None:
    require_onnx()
    function, norm_stats, size = function_of(network, opt), opt.sample.norm_stats, opt.data.size
    told = {key: value for key, value in head.items() if key != "options"} | description(function, opt)
    for note in told["notes"]:
        print(f"note: {note}")
    print("converting; a deep network takes half a minute")
    torch.manual_seed(0)  # of the random inputs
    file = to_onnx(network, function, norm_stats, size, {checkpoint.HEAD: json.dumps(told)})
    for shape, difference in parity(file, network, function, norm_stats, size):
        print(f"{function.output.name} {list(shape)}: largest difference from PyTorch {difference:.1e}")
        if not difference <= BOUND:
            raise UserError(f"{output}: differs from PyTorch by {difference:.1e}, above {BOUND:g}: not written")
    with whole_file(output) as part:
        part.write_bytes(file)


WRITERS = {".pt": write_pt, ".safetensors": write_safetensors, ".onnx": write_onnx}


def description(function: Function, opt: Any) -> dict[str, Any]:
    """What a user of the ONNX file has to know, for its metadata."""
    dynamic = function.multiple is not None
    told = {
        "format": checkpoint.FORMAT,
        "inputs": [port_words(port, function.multiple, opt.data.size) for port in function.inputs],
        "outputs": [port_words(function.output, function.multiple, opt.data.size)],
        "trained_size": opt.data.size,
        "dynamic_size": dynamic,
        "multiple_of": function.multiple,
        "norm_stats": opt.sample.norm_stats,
        "preprocessing": preprocessing(opt),
        "postprocessing": POSTPROCESSING["seg" if opt.family == "seg" else "pictures"],
        "notes": notes(opt),
        "model": to_dict(opt)["model"],
    }
    if opt.family in ("seg", "spade"):
        palette = palette_of(opt.data.classes)
        told |= {"classes": palette.names, "palette": palette.colors}
    if opt.family == "spade":
        channels = [name for name in palette.names if name != opt.data.background]
        told |= {"label_channels": channels, "hair_channel": opt.data.hair_channel}
    if opt.family == "dcgan":
        told["classes"] = opt.data.classes
    return told


def port_words(port: Port, multiple: int | None, size: Any) -> dict[str, Any]:
    """A tensor's name, shape, values and meaning."""
    axes: list[int | str] = ["batch", port.channels]
    if port.share is not None and multiple is None:
        axes += size
    elif port.share is not None:
        axes += [side if port.share == 1 else f"{side}/{port.share}" for side in ("height", "width")]
    return {"name": port.name, "shape": axes, "values": VALUES[port.values], "meaning": port.meaning}


FITTING = (
    "predict.py scales a picture to fit trained_size, bicubic (ids by nearest neighbour), and pads it by repeating its "
    "edges; afterwards it cuts the padding off and scales back, bilinear"
)
POSTPROCESSING = {
    "seg": "softmax over the channels, then back to the picture's size; a pixel's class is the largest channel, its "
    "colour the palette's",
    "pictures": "pixel = floor((value + 1) * 127.5 + 0.5), clipped to 0..255",
}


def preprocessing(opt: Any) -> str:
    """How the inputs are made of what predict.py reads."""
    if opt.family == "seg":
        return f"RGB pixels / 255. {FITTING}"
    if opt.family == "pix2pix":
        grey = "RGB" if opt.model.in_channels == 3 else "grey (ITU-R BT.601)"
        return f"{grey} pixels / 127.5 - 1. {FITTING}"
    if opt.family == "spade":
        color = "; color: RGB of the asked colour / 255, times label's hair_channel" if opt.data.color else ""
        return f"label: channel k is 1 where the class is label_channels[k]{color}. {FITTING}"
    return "none"


def notes(opt: Any) -> list[str]:
    """Where the file differs from what one may expect."""
    found = []
    if opt.family == "pix2pix" and opt.predict_dropout:
        found.append("sample.dropout: predict.py draws dropout masks, the ONNX file has no dropout")
    if opt.sample.norm_stats == "batch":
        found.append("sample.norm_stats=batch: norms take the statistics of each picture, as predict.py does")
    if opt.family == "spade" and opt.model.style:
        found.append("the encoder that gives a picture's style is not in the file; style is an input")
    return found


if __name__ == "__main__":
    door(main)
