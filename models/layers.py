"""Layers that the families share: spectral normalisation, convolutions, norms, sub-pixel conv, padding."""

from collections.abc import Callable
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPECTRAL_EPS = 1e-6

Perturb = Callable[[Tensor], Tensor]  # features [B, C, H, W] -> the same shape


def unchanged(features: Tensor) -> Tensor:
    """The Perturb that does nothing."""
    return features


class _DivideBySigma(torch.autograd.Function):
    """W / sigma with sigma = u' W v, u and v constants: dL/dW = (g - <g, W> / sigma u v') / sigma, in three passes.

    Autograd's own way over the quotient takes twice as many. Gradient penalties can go through the formula: for them
    sigma is computed again, as a function of W.
    """

    @staticmethod
    def forward(matrix: Tensor, u: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
        return matrix * sigma.reciprocal()

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        matrix, u, v, sigma = ctx.saved_tensors
        if torch.is_grad_enabled():
            sigma = torch.dot(u, torch.mv(matrix, v))
        inverse = sigma.reciprocal()
        share = torch.dot(grad.reshape(-1), matrix.reshape(-1)) * inverse
        return torch.addr(grad, u, -share * v).mul_(inverse), None, None, None


def spectral_weight(weight: Tensor, u: Tensor, out_dim: int, write_back: bool) -> Tensor:
    """W / sigma(W), sigma estimated by one power iteration (Miyato et al. 2018, arXiv:1802.05957, Alg. 1).

    `out_dim` is the axis of the output channels, `u` [out] the left singular vector so far, overwritten if
    `write_back`. As in the Chainer originals v is not kept and 1e-6 is added to the norms. u and v are constants
    for backward, sigma is a function of W; all of it in the parameters' precision, also under autocast.
    """
    with torch.autocast(weight.device.type, enabled=False):
        rows = weight.transpose(0, out_dim)
        matrix = rows.flatten(1)
        with torch.no_grad():
            v = torch.mv(matrix.t(), u)
            v = v / (torch.linalg.vector_norm(v) + SPECTRAL_EPS)
            left = torch.mv(matrix, v)
            new_u = left / (torch.linalg.vector_norm(left) + SPECTRAL_EPS)
            if write_back:
                u.copy_(new_u)
        return _DivideBySigma.apply(matrix, new_u, v, torch.dot(new_u, left)).view_as(rows).transpose(0, out_dim)


class SNConv2d(nn.Conv2d):
    """nn.Conv2d with W / sigma(W). State: weight, bias, u [out channels].

    In train mode each forward moves u, also under no_grad; in eval mode none does.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("u", torch.randn(self.out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B,Cin,H,W] -> [B,Cout,H',W']."""
        return self._conv_forward(x, spectral_weight(self.weight, self.u, 0, self.training), self.bias)


class SNConvTranspose2d(nn.ConvTranspose2d):
    """nn.ConvTranspose2d with W / sigma(W), W with the output channels as rows; otherwise as SNConv2d."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("u", torch.randn(self.out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B,Cin,H,W] -> [B,Cout,H',W']."""
        weight = spectral_weight(self.weight, self.u, 1, self.training)
        return F.conv_transpose2d(
            x, weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class SNLinear(nn.Linear):
    """nn.Linear with W / sigma(W); otherwise as SNConv2d."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("u", torch.randn(self.out_features))

    def forward(self, x: Tensor) -> Tensor:
        """[B,in] -> [B,out]."""
        return F.linear(x, spectral_weight(self.weight, self.u, 0, self.training), self.bias)


def he_init(layer: nn.Module) -> nn.Module:
    """N(0, sqrt(2 / fan_in)) weights and zero biases (He et al. 2015, arXiv:1502.01852, Eq. 10).

    fan_in is shape[1] * kernel area, as Chainer counts it, also for transposed convolutions.
    """
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, 0.0, (2.0 / fan_in) ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def conv(
    cin: int,
    cout: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    bias: bool = True,
    conv_norm: str = "none",
) -> nn.Conv2d:
    """A He-initialised convolution; conv_norm: none | spectral."""
    assert conv_norm in ("none", "spectral"), conv_norm
    layer = SNConv2d if conv_norm == "spectral" else nn.Conv2d
    return he_init(layer(cin, cout, kernel, stride, padding, dilation, bias=bias))


def deconv(
    cin: int,
    cout: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    bias: bool = True,
    conv_norm: str = "none",
) -> nn.ConvTranspose2d:
    """A He-initialised transposed convolution; conv_norm: none | spectral."""
    assert conv_norm in ("none", "spectral"), conv_norm
    layer = SNConvTranspose2d if conv_norm == "spectral" else nn.ConvTranspose2d
    return he_init(layer(cin, cout, kernel, stride, padding, bias=bias))


def linear(cin: int, cout: int, bias: bool = True, conv_norm: str = "none") -> nn.Linear:
    """A linear layer as torch starts it; conv_norm: none | spectral."""
    return (SNLinear if conv_norm == "spectral" else nn.Linear)(cin, cout, bias)


def _one_value(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """The norm of a single value: x - mean = 0, so y = bias. torch raises instead; Chainer defines it."""
    zero = x - x
    if weight is None:
        return zero
    return zero * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


class BatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d that also trains on one value per channel (1x1 at batch 1): y = beta, variance 0."""

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        if not self.training or x.numel() > x.shape[1]:
            return super().forward(x)
        if self.track_running_stats:
            with torch.no_grad():
                self.running_mean.lerp_(x.flatten().to(self.running_mean.dtype), self.momentum)
                self.running_var.mul_(1 - self.momentum)
                self.num_batches_tracked.add_(1)
        return _one_value(x, self.weight, self.bias)


class InstanceNorm2d(nn.InstanceNorm2d):
    """nn.InstanceNorm2d that also accepts 1x1 maps (y = beta)."""

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        if x.shape[2] * x.shape[3] > 1:
            return super().forward(x)
        return _one_value(x, self.weight, self.bias)


def norm_layer(kind: str, channels: int, eps: float = 1e-5, affine: bool = True) -> nn.Module:
    """kind: batch (momentum 0.1) | instance (no running statistics) | none."""
    assert kind in ("batch", "instance", "none"), kind
    if kind == "batch":
        return BatchNorm2d(channels, eps=eps, momentum=0.1, affine=affine)
    if kind == "instance":
        return InstanceNorm2d(channels, eps=eps, affine=affine)
    return nn.Identity()


class SubPixelConv(nn.Module):
    """3x3 conv to factor^2 * cout channels, then pixel_shuffle (Shi et al. 2016, arXiv:1609.05158, Eq. 4)."""

    def __init__(self, cin: int, cout: int, factor: int = 2, conv_norm: str = "none"):
        super().__init__()
        self.factor = factor
        self.conv = conv(cin, cout * factor**2, 3, padding=1, conv_norm=conv_norm)

    def forward(self, x: Tensor) -> Tensor:
        """[B,Cin,H,W] -> [B,Cout,factor*H,factor*W]."""
        return F.pixel_shuffle(self.conv(x), self.factor)


def up_conv(cin: int, cout: int, kind: str = "deconv", kernel: int = 4, bias: bool = True) -> nn.Module:
    """Twice the size: [B,cin,H,W] -> [B,cout,2H,2W].

    kind: deconv, a transposed convolution (kernel 3 or 4), or bilinear | nearest before a 3x3 convolution, which
    leaves no checkerboard (Odena et al. 2016, doi:10.23915/distill.00003).
    """
    assert kind in ("deconv", "bilinear", "nearest"), kind
    if kind == "deconv":
        return nn.ConvTranspose2d(cin, cout, kernel, 2, 1, output_padding=kernel % 2, bias=bias)
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode=kind),
        nn.Conv2d(cin, cout, 3, padding=1, padding_mode="reflect", bias=bias),
    )


def with_latent(x: Tensor, z: Tensor) -> Tensor:
    """x [B,C,H,W] with z [B,Z] as Z constant maps beside: [B,C+Z,H,W]."""
    maps = z.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
    last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.cat((x, maps.contiguous(memory_format=torch.channels_last) if last else maps), 1)


def pad_to_multiple(x: Tensor, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """Repeat the last row and column until H and W are multiples of `multiple`.

    x [B,C,H,W] -> (padded, (H, W)); crop the network's output back by `[..., :H, :W]`.
    """
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if bottom or right:
        x = F.pad(x, (0, right, 0, bottom), mode="replicate")
    return x, (height, width)


@contextmanager
def batch_statistics(module: nn.Module):
    """Inside, batch norms normalise by the current batch's statistics and leave the running ones as they are.

    Everything else keeps its mode (dropout and power iterations stay in eval), so does a batch norm that its
    network keeps frozen in train mode.
    """
    modes = [(m, m.training) for m in module.modules()]
    module.train()  # lets a network that freezes some of its norms (models/resnet.py) have its say
    norms = [
        m for m, _ in modes if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training and m.track_running_stats
    ]
    for m, mode in modes:
        m.training = mode
    for m in norms:
        m.training, m.track_running_stats = True, False
    try:
        yield
    finally:
        for m in norms:
            m.track_running_stats = True
        for m, mode in modes:
            m.training = mode


@contextmanager
def predicting(module: nn.Module, norm_stats: str = "running", dropout: bool = False):
    """The network in eval mode, with batch statistics if norm_stats is "batch", its dropout on if `dropout`.

    Afterwards as it was.
    """
    training = module.training
    module.eval()
    for m in module.modules():
        if isinstance(m, nn.modules.dropout._DropoutNd):
            m.train(dropout)
    try:
        with batch_statistics(module) if norm_stats == "batch" else nullcontext():
            yield module
    finally:
        module.train(training)
