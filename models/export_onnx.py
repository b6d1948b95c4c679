"""ONNX files of the networks that predict, compared with PyTorch before they are written."""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from engine.errors import UserError
from models.export import Function, Port, fixed
from models.layers import predicting

BOUND = 1e-4  # the largest difference from PyTorch that is let through
NATIVE = (256, 256)  # the size of the comparison where the options give none


def require_onnx() -> None:
    """Import what ONNX files need, all of it optional.

    Raises:
        UserError: a package is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install -r requirements-extra.txt") from None


def to_onnx(network: nn.Module, function: Function, norm_stats: str, size: Any, metadata: dict[str, str]) -> bytes:
    """The ONNX file of `function`, batch dynamic, height and width where the network allows.

    size: data.size. metadata: entries of the file's metadata_props.

    Raises:
        UserError: the installed torch cannot convert it.
    """
    unit = None if function.multiple is None else max(function.multiple, 8)
    height, width = size if unit is None else (5 * unit, 7 * unit)  # no numbers that a network could have
    inputs = random_inputs(function, 3, height, width)
    try:
        with _quiet(), _TorchCoordinates(), torch.no_grad():
            program = torch.onnx.export(
                _Module(fixed(network, norm_stats), function),
                (inputs,),
                dynamo=True,
                input_names=[port.name for port in function.inputs],
                output_names=[function.output.name],
                dynamic_shapes=([_dynamic(port, function.multiple) for port in function.inputs],),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f"torch {torch.__version__} cannot convert it; update torch and onnxscript") from error
    model = program.model_proto
    _strip(model.graph)
    model.producer_name = "atelier"
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString()


def _strip(graph: Any) -> None:
    """Drop what the exporter notes on its source, half the size of a small network."""
    del graph.value_info[:], graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""


def _dynamic(port: Port, multiple: int | None) -> dict[int, Any]:
    batch = {0: torch.export.Dim("batch")}
    if multiple is None or port.share is None:
        return batch
    times = multiple // port.share
    names = ("height", "width") if multiple == 1 else ("rows", "columns")  # of multiples
    sides = map(torch.export.Dim, names)
    return batch | {axis: side if times == 1 else times * side for axis, side in zip((2, 3), sides, strict=True)}


class _Module(nn.Module):
    """A function and its network as the module that torch.onnx.export wants."""

    def __init__(self, network: nn.Module, function: Function):
        super().__init__()
        self.network, self.call, self.pad = network, function.call, function.pad
        self.eval()

    def forward(self, inputs: list[Tensor]) -> Tensor:
        if self.pad == 1:
            return self.call(self.network, *inputs)
        height, width = inputs[0].shape[2:]
        return self.call(self.network, pad_evenly(inputs[0], self.pad))[..., :height, :width]


def pad_evenly(x: Tensor, multiple: int) -> Tensor:
    """models.layers.pad_to_multiple in a graph for every size: that asks whether there is anything to pad."""
    for axis in (2, 3):
        side = x.shape[axis]
        places = torch.arange((side + multiple - 1) // multiple * multiple, device=x.device)
        x = x.index_select(axis, places.clamp(max=side - 1))
    return x


class _TorchCoordinates(TorchFunctionMode):
    """Bilinear resizing with aligned corners, written out.

    ONNX's Resize rounds coordinates otherwise than torch: in a deep SPADE generator that adds up to more than BOUND.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        given = kwargs or {}
        if func is F.interpolate and given.get("mode") == "bilinear" and given.get("align_corners"):
            return resize_aligned(args[0], given["size"], given["scale_factor"])
        return func(*args, **given)


def resize_aligned(x: Tensor, size: tuple[int, int] | None, factor: int | None) -> Tensor:
    """F.interpolate(x, size, factor, "bilinear", align_corners=True) in torch's arithmetic, [B,C,H,W] -> [B,C,H',W'].

    Of size (H', W') and factor one is None.
    """
    for axis in (2, 3):
        before = x.shape[axis]
        after = int(factor) * before if size is None else size[axis - 2]
        step = x.new_full((), before - 1) / x.new_full((), after - 1).clamp(min=1)
        place = torch.arange(after, device=x.device).to(x.dtype) * step
        low = place.floor().long().clamp(max=before - 1)
        share = (place - low)[:, None] if axis == 2 else place - low
        x = x.index_select(axis, low) * (1 - share) + x.index_select(axis, (low + 1).clamp(max=before - 1)) * share
    return x


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on its own doings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)


def random_inputs(function: Function, batch: int, height: int, width: int) -> list[Tensor]:
    """Inputs of a batch of pictures, each drawn from its range."""
    return [_draw(port.values, (batch, *port.shape(height, width))) for port in function.inputs]


def _draw(values: str, shape: tuple[int, ...]) -> Tensor:
    if values == "one_hot":
        ids = torch.randint(shape[1] + 1, (shape[0], *shape[2:]))  # one more: no class
        return F.one_hot(ids, shape[1] + 1)[..., :-1].movedim(-1, 1).float().contiguous()
    if values == "normal":
        return torch.randn(shape)
    drawn = torch.rand(shape)
    return drawn if values == "unit" else drawn * 2 - 1 if values == "signed" else drawn.round() * 2 - 1


def parity(file: bytes, network: nn.Module, function: Function, norm_stats: str, size: Any) -> Iterator[tuple]:
    """Compare an ONNX file in onnxruntime with the network as prediction runs it, every picture alone.

    size: data.size. Yields the shape of each output and its largest difference: at several batch sizes and, where
    they are dynamic, sizes.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    for case in cases(function.multiple, size):
        inputs = random_inputs(function, *case)
        with torch.inference_mode(), predicting(network, norm_stats):
            alone = zip(*(part.split(1) for part in inputs), strict=True)
            expected = torch.cat([function.call(network, *(part.clone() for part in one)) for one in alone])
        fed = {port.name: part.numpy() for port, part in zip(function.inputs, inputs, strict=True)}
        found = torch.from_numpy(session.run(None, fed)[0])
        difference = (found - expected).abs().max().item() if found.shape == expected.shape else math.inf
        yield tuple(found.shape), difference


def cases(multiple: int | None, size: Any) -> list[tuple[int, int, int]]:
    """(batch, height, width) of the comparison. Not below data.size: maps of a few values have no sound statistics."""
    height, width = NATIVE if size == "native" else size
    more = multiple or 0
    return [(1, height, width), (2, height + more, width), (3, height, width + more)]
