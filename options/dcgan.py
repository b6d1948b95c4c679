"""Options of the dcgan family (Radford et al. 2016, arXiv:1511.06434). One YAML per experiment: options/dcgan*.yaml."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from options.common import LEAST_COMPARED, DataOptions, EMAOptions, KidSampleOptions, RunOptions, check_validation
from options.fields import choice, group, integer, list_of, number, option, path, size, text

DEFAULT_FILE = Path(__file__).with_suffix(".yaml")
SIZES = (64, 96, 128)


@dataclass(frozen=True)
class DcganDataOptions(DataOptions):
    root: str = option(
        "drawn",
        path("a folder, a zip or drawn"),
        "the pictures, or drawn: faces of drawn characters, made on first use",
    )
    batch: int = option(64, integer(1), "pictures in a step")
    workers: int = option(2, integer(0, 128), "threads that decode the pictures once, for the cache")
    size: Any = option((64, 64), size(), "side of the pictures: 64, 96 or 128")
    labels: str = option(
        "none",
        path("none, folders or a CSV file"),
        "class-conditional training: by sub-folder, or by a CSV of file,tag[,tag...] lines; none: one kind of picture",
    )
    classes: tuple = option(
        (), list_of(text()), "the classes to train on; empty: all that data.labels holds, up to 1,000"
    )
    cache: str = option(
        "auto",
        choice("auto", "disk", "ram", "device"),
        "where the decoded pictures are: a mapped file, memory, the GPU; auto: the GPU if they fit well, else a file",
    )
    augment: tuple = option(("mirror",), list_of(choice("mirror")), "mirror: left-right by lot")
    drawn_train: int = option(2000, integer(2), "drawn set: pictures")

    def __post_init__(self):
        if self.size not in [(side, side) for side in SIZES]:
            shown = self.size if isinstance(self.size, str) else self.size[0] if len(set(self.size)) == 1 else self.size
            raise ValueError(
                f"data.size={shown}: the networks are made for {', '.join(map(str, SIZES))}; use one of them"
            )
        if self.classes and self.labels == "none":
            raise ValueError(f"data.classes={list(self.classes)}: data.labels=none gives no picture a class; set it")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"data.classes={list(self.classes)}: a class stands there twice; name each once")


@dataclass(frozen=True)
class DcganModelOptions:
    variant: str = option(
        "dcgan",
        choice("dcgan", "illustration", "fc"),
        "animeGAN's model 1, 2 (fully connected layers, dropout, decoder of z) or 3 (2 without decoder)",
    )
    z: int = option(100, integer(1), "length of the latent")
    latent: str = option("gaussian", choice("gaussian", "binary"), "z of N(0, 1), or of {-1, 1}")
    g_width: int = option(64, integer(1), "G's channels before its last layer")
    d_width: int = option(64, integer(1), "D's channels after its first layer")
    n_extra_g: int = option(1, integer(0, 16), "variant dcgan: 3x3 layers before G's last")
    n_extra_d: int = option(0, integer(0, 16), "variant dcgan: 3x3 layers before D's last")
    g_norm: str = option("batch", choice("batch", "instance", "none"), "G's normalisation")
    d_norm: str = option("batch", choice("batch", "instance", "none"), "D's normalisation")
    d_conv_norm: str = option("none", choice("none", "spectral"), "spectral normalisation of D's layers")


@dataclass(frozen=True)
class DcganLossOptions:
    gan: str = option("bce", choice("bce", "hinge", "lsgan", "relativistic"), "adversarial loss")
    label_smoothing: float = option(0.0, number(0, 0.5), "one-sided: D's target for real pictures is 1 less this")
    label_flip: float = option(0.0, number(0, 0.5), "share of the pairs whose labels real and fake D gets swapped")
    instance_noise: float = option(
        0.0, number(0), "standard deviation of the noise on D's input at the start; falls linearly to 0 at the end"
    )
    diffaugment: tuple = option(
        (), list_of(choice("color", "translation", "cutout")), "DiffAugment on all that D sees, for small sets"
    )
    r1: float = option(0.0, number(0), "gamma of R1, the penalty of D's gradient at real pictures")
    r2: float = option(0.0, number(0), "gamma of R2, at fake ones")
    penalty_every: int = option(1, integer(1), "lazy: the penalties only in every k-th step, k times as strong")
    z: float = option(1.0, number(0), "variant illustration: weight of the decoder's squared error")


@dataclass(frozen=True)
class DcganOptimOptions:
    g_lr: float = option(2e-4, number(0), "learning rate of G")
    g_betas: tuple = option((0.5, 0.999), list_of(number(0, 0.9999), 2), "Adam betas of G")
    d_lr: float = option(2e-4, number(0), "learning rate of D")
    d_betas: tuple = option((0.5, 0.999), list_of(number(0, 0.9999), 2), "Adam betas of D")
    decay_start: float = option(1.0, number(0, 1), "share of the training after which the rates fall to 0; 1: never")


@dataclass(frozen=True)
class DcganSampleOptions(KidSampleOptions):
    kid_count: int = option(
        1000,
        integer(LEAST_COMPARED, 100_000),
        "generated pictures that KID compares with as many training pictures, or all if these are fewer",
    )


@dataclass(frozen=True)
class DcganOptions:
    family: ClassVar[str] = "dcgan"

    run: RunOptions = group(RunOptions)
    data: DcganDataOptions = group(DcganDataOptions)
    model: DcganModelOptions = group(DcganModelOptions)
    loss: DcganLossOptions = group(DcganLossOptions)
    optim: DcganOptimOptions = group(DcganOptimOptions)
    ema: EMAOptions = group(EMAOptions)
    sample: DcganSampleOptions = group(DcganSampleOptions)

    network_keys: ClassVar[tuple[str, ...]] = ("model.", "data.size", "data.classes")

    def __post_init__(self):
        loss = self.loss
        if loss.label_smoothing and loss.gan not in ("bce", "lsgan"):
            raise ValueError(
                f"loss.label_smoothing={loss.label_smoothing:g}: {loss.gan} has no target to smooth; use bce or lsgan"
            )
        check_validation(self.run, self.sample)
        self._refuse_without_effect()

    def _refuse_without_effect(self) -> None:
        """An option set away from its default that these others leave without any effect is a mistake."""
        variant, penalized = self.model.variant, self.loss.r1 > 0 or self.loss.r2 > 0
        layers = f"model.variant={variant} has no such layers; use model.variant=dcgan"
        decoder = f"model.variant={variant} has no decoder; use model.variant=illustration"
        for group_name, name, works, remedy in (
            ("model", "n_extra_g", variant == "dcgan", layers),
            ("model", "n_extra_d", variant == "dcgan", layers),
            ("loss", "z", variant == "illustration", decoder),
            ("loss", "penalty_every", penalized, "there is no penalty; set loss.r1 or loss.r2"),
            ("sample", "kid_count", self.sample.takes_kid, "there is no validation; set sample.kid_features"),
        ):
            options = getattr(self, group_name)
            value = getattr(options, name)
            if not works and value != getattr(type(options)(), name):
                raise ValueError(f"{group_name}.{name}={value:g}: {remedy}, or leave it out")

    def with_classes(self, names: tuple[str, ...]) -> "DcganOptions":
        """The options with the classes that the data hold, for the checkpoint."""
        return replace(self, data=replace(self.data, classes=tuple(names)))
