"""Options of the pix2pix family (Isola et al. 2017, arXiv:1611.07004). One YAML per experiment: pix2pix*.yaml."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from options.common import EMAOptions, KidSampleOptions, RunOptions, SplitDataOptions, check_validation
from options.fields import choice, flag, group, integer, list_of, number, option, optional

DEFAULT_FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class Pix2PixDataOptions(SplitDataOptions):
    batch: int = option(1, integer(1), "pictures in a step")
    direction: str = option("AtoB", choice("AtoB", "BtoA"), "which of A|B is the input and which the target")
    preprocess: str = option(
        "resize_and_crop",
        choice("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"),
        "resize_and_crop: to data.load_size, then a random window; crop: a random window at native scale; scale_width: "
        "to data.size's width, middle; scale_width_and_crop: to data.load_size wide, then a random window; none: no "
        "chance, scaled to cover data.size, middle; where a picture does not fill the window its border is repeated",
    )
    load_size: int | None = option(
        None, optional(integer(16, 16384)), "side before the random window; none: 286/256 of data.size"
    )
    augment: tuple = option(("mirror",), list_of(choice("mirror")), "mirror: half of the pairs flipped left-right")
    drawn_train: int = option(400, integer(2), "drawn set: training pairs")
    drawn_val: int = option(50, integer(1), "drawn set: validation pairs")

    def __post_init__(self):
        if self.size == "native":
            raise ValueError("data.size=native: pix2pix trains at one size; give N (pictures may have any size)")
        if self.load_size is not None and self.load_size < max(self.size):
            raise ValueError(
                f"data.load_size={self.load_size}: below data.size={max(self.size)}; make it larger, or none"
            )


@dataclass(frozen=True)
class Pix2PixModelOptions:
    generator: str = option("unet", choice("unet", "resnet"), "the generator G")
    blocks: int = option(9, integer(1, 64), "residual blocks of the resnet (6 below 256 pixels, 9 from there)")
    width: int = option(64, integer(1), "channels of G's first layer")
    in_channels: int = option(3, choice(1, 3), "channels of the input: 3, or 1 for grey")
    out_channels: int = option(3, choice(1, 3), "channels of the picture")
    norm: str = option("batch", choice("batch", "instance", "none"), "normalisation in G")
    dropout: float = option(0.5, number(0, 0.95), "G's dropout, 0: none")
    upsample: str = option(
        "deconv", choice("deconv", "bilinear", "nearest"), "bilinear, nearest: resize, then convolve (no checkerboard)"
    )
    z: int = option(0, integer(0, 1024), "length of the latent z, 0: none")
    z_at: str = option("input", choice("input", "all"), "z enters at the input, or at every encoder level")
    discriminator: str = option("patch", choice("patch", "pixel"), "D: PatchGAN, or one logit per pixel")
    d_layers: int = option(3, integer(1, 6), "strided layers of the PatchGAN (3: a logit sees 70x70)")
    d_width: int = option(64, integer(1), "channels of D's first layer")
    d_norm: str = option("batch", choice("batch", "instance", "none"), "normalisation in D")
    num_discriminators: int = option(1, integer(1, 4), "PatchGANs, each on half the size and width of the one before")
    init: str = option("normal", choice("normal", "xavier", "orthogonal"), "initial weights")
    init_gain: float = option(0.02, number(0), "standard deviation of normal, factor of xavier and orthogonal")

    def __post_init__(self):
        if self.discriminator == "pixel" and self.num_discriminators > 1:
            raise ValueError(
                f"model.num_discriminators={self.num_discriminators}: a pixel discriminator stands alone; make it 1 "
                "or model.discriminator=patch"
            )


@dataclass(frozen=True)
class Pix2PixLossOptions:
    gan: str = option("lsgan", choice("bce", "lsgan", "hinge", "wgan-gp"), "adversarial loss (the paper: bce)")
    adv: float = option(1.0, number(0), "weight of G's adversarial term")
    l1: float = option(100.0, number(0), "weight of the L1 term")
    mode_seeking: float = option(0.0, number(0), "weight of the mode-seeking term (needs model.z)")
    feature_matching: float = option(0.0, number(0), "weight of the feature matching term")
    d_weight: float = option(0.5, number(0), "factor of D's whole loss (the paper: 0.5)")
    gp: float = option(10.0, number(0), "wgan-gp: weight of the gradient penalty")
    gp_target: float = option(1.0, number(0), "wgan-gp: the gradient norm that it asks for")
    r1: float = option(0.0, number(0), "gamma of R1, the penalty of D's gradient at the targets (not with wgan-gp)")
    penalty_every: int = option(1, integer(1), "lazy: R1 only in every k-th D step, k times as strong")
    diffaugment: tuple = option(
        (),
        list_of(choice("color", "translation", "cutout")),
        "DiffAugment on all that D sees, for small sets: color on the picture, the others on input and picture alike",
    )

    @property
    def gan_mode(self) -> str:
        """The mode of losses/gan.py."""
        return self.gan.removesuffix("-gp")


@dataclass(frozen=True)
class Pix2PixOptimOptions:
    g_lr: float = option(2e-4, number(0), "learning rate of G")
    g_betas: tuple = option((0.5, 0.999), list_of(number(0, 0.9999), 2), "Adam betas of G")
    d_lr: float = option(2e-4, number(0), "learning rate of D")
    d_betas: tuple = option((0.5, 0.999), list_of(number(0, 0.9999), 2), "Adam betas of D")
    decay: str = option("linear", choice("linear", "cosine"), "how the rates fall to 0")
    decay_start: float = option(0.5, number(0, 1), "share of the training after which they fall; 1: never")
    d_steps: int = option(1, integer(1, 100), "D steps, each on new pictures, per G step")
    g_first: bool = option(False, flag(), "G steps against D before its step (MSGAN); else after it (the paper)")

    def __post_init__(self):
        if self.g_first and self.d_steps > 1:
            raise ValueError(f"optim.d_steps={self.d_steps}: with optim.g_first D has one step; set one of them back")


@dataclass(frozen=True)
class Pix2PixSampleOptions(KidSampleOptions):
    norm_stats: str = option(
        "batch", choice("running", "batch"), "batch norm in prediction: each picture's own statistics, or running ones"
    )
    dropout: bool = option(False, flag(), "dropout in prediction too, as the paper: its only noise")


@dataclass(frozen=True)
class Pix2PixOptions:
    family: ClassVar[str] = "pix2pix"
    run: RunOptions = group(RunOptions)
    data: Pix2PixDataOptions = group(Pix2PixDataOptions)
    model: Pix2PixModelOptions = group(Pix2PixModelOptions)
    loss: Pix2PixLossOptions = group(Pix2PixLossOptions)
    optim: Pix2PixOptimOptions = group(Pix2PixOptimOptions)
    ema: EMAOptions = group(EMAOptions)
    sample: Pix2PixSampleOptions = group(Pix2PixSampleOptions)

    def __post_init__(self):
        self._check_size()
        if self.loss.gan == "wgan-gp" and self.model.d_norm == "batch":
            raise ValueError(
                "model.d_norm=batch: under wgan-gp no sample's gradient may depend on others; use instance or none"
            )
        if self.loss.mode_seeking and not self.model.z:
            raise ValueError(
                f"loss.mode_seeking={self.loss.mode_seeking:g}: there is no latent to seek with; set model.z (MSGAN: 8)"
            )
        self._check_small_data()
        check_validation(self.run, self.sample, "val_l1")

    @property
    def adversarial(self) -> bool:
        """Whether there is anything for D to do."""
        return self.loss.adv > 0 or self.loss.feature_matching > 0

    @property
    def predict_dropout(self) -> bool:
        """Whether prediction draws dropout masks."""
        return bool(self.sample.dropout and self.model.dropout)

    @property
    def network_keys(self) -> tuple[str, ...]:
        """Changing one of these would change the network: refused on resume. A U-Net's depth follows from the size."""
        return ("model.", "data.direction", *(["data.size"] if self.model.generator == "unet" else []))

    def _check_small_data(self):
        loss = self.loss
        if loss.r1 and loss.gan == "wgan-gp":
            raise ValueError(f"loss.r1={loss.r1:g}: wgan-gp has a penalty of its own (loss.gp); leave it out")
        if loss.penalty_every > 1 and not loss.r1:
            remedy = "leave it out" if loss.gan == "wgan-gp" else "set loss.r1, or leave it out"
            raise ValueError(f"loss.penalty_every={loss.penalty_every}: there is no R1; {remedy}")
        for name, value in (("r1", f"{loss.r1:g}"), ("diffaugment", ",".join(loss.diffaugment))):
            if getattr(loss, name) and not self.adversarial:
                raise ValueError(
                    f"loss.{name}={value}: D is not trained (loss.adv=0, loss.feature_matching=0); leave it out"
                )

    def _check_size(self):
        sides = self.data.size
        shown = sides[0] if sides[0] == sides[1] else list(sides)
        if self.model.generator == "unet" and any(side < 64 or side & (side - 1) for side in sides):
            near = [min(max(64, 2 ** round(math.log2(side))), 8192) for side in sides]
            better = near[0] if near[0] == near[1] else near
            raise ValueError(
                f"data.size={shown}: the U-Net halves it down to 1, so use a power of two from 64 up, such as {better}"
            )
        if self.model.generator == "resnet" and any(side < 16 or side % 4 for side in sides):
            raise ValueError(f"data.size={shown}: the resnet needs a multiple of 4 from 16 up")
        m = self.model
        least = 3 * 2 ** (m.d_layers + m.num_discriminators - 1)
        if m.discriminator == "patch" and min(sides) < least:
            raise ValueError(
                f"data.size={shown}: model.d_layers={m.d_layers} with model.num_discriminators={m.num_discriminators} "
                f"needs {least} or more; lower one of them"
            )
