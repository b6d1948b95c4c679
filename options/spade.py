"""Options of the spade family (Park et al. 2019, arXiv:1903.07291). One YAML per experiment: options/spade*.yaml."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from data.palette import ANIME, MATCHES
from options.common import EMAOptions, KidSampleOptions, RunOptions, SplitDataOptions, check_validation
from options.fields import choice, classes, flag, group, integer, list_of, number, option, optional, path, text

DEFAULT_FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class SpadeDataOptions(SplitDataOptions):
    batch: int = option(1, integer(1), "pictures in a step")
    classes: Any = option("anime", classes(), "names and label colours")
    label_colors: str = option(
        "threshold",
        choice(*MATCHES),
        "how label colours match: channel > 0.4, nearest within 60, closest (any distance: a JPEG's), exact",
    )
    ignore: tuple = option((255,), list_of(integer(0, 255)), "label ids left empty in the label")
    background: str | None = option("background", optional(text("a class")), "the class left out of the label")
    color: bool = option(True, flag(), "the hair-colour branch; false: labels alone")
    hair: str = option("hair", text("a class"), "the class that the colour map colours")
    recolor: float = option(
        0.0, number(0, 1), "share of the training pictures whose hair gets a random colour, in picture and colour map"
    )
    rough: str | None = option(
        None, optional(path("a folder")), "a second training set with rougher labels, such as predicted ones"
    )
    augment: tuple = option(
        ("mirror",),
        list_of(choice("mirror", "scale", "crop")),
        "mirror, scale 0.75 to 1.5, random crop: picture, label and colours alike",
    )
    drawn_train: int = option(400, integer(2), "drawn set: training pictures")
    drawn_val: int = option(100, integer(1), "drawn set: validation pictures")

    def __post_init__(self):
        if self.size == "native":
            raise ValueError("data.size=native: spade trains at one size; give N (pictures may have any size)")
        for key in ("background", "hair") if self.color else ("background",):
            name = getattr(self, key)
            if name is not None and name not in self.class_names:
                near = "none or one of" if key == "background" else "data.color=false, or one of"
                names = ", ".join(
                    other for other in self.class_names if key == "background" or other != self.background
                )
                raise ValueError(f"data.{key}={name}: there is no such class; use {near} {names}")
        if self.recolor and not self.color:
            raise ValueError(f"data.recolor={self.recolor:g}: there are no hair colours (data.color=false); set it 0")
        if self.color and self.hair == self.background:
            raise ValueError(f"data.hair={self.hair}: is the background, which no label holds; name another")

    @property
    def class_names(self) -> tuple[str, ...]:
        return ANIME.names if self.classes == "anime" else tuple(name for name, _ in self.classes)

    @property
    def background_id(self) -> int | None:
        return None if self.background is None else self.class_names.index(self.background)

    @property
    def label_channels(self) -> int:
        """Classes of the one-hot label: all but the background."""
        return len(self.class_names) - (self.background is not None)

    @property
    def hair_channel(self) -> int | None:
        """The label's channel that the colour map is masked by."""
        return self.class_channel(self.hair) if self.color else None

    def class_channel(self, name: str) -> int:
        """The label's channel of a class."""
        return [other for other in self.class_names if other != self.background].index(name)


@dataclass(frozen=True)
class SpadeModelOptions:
    generator: str = option(
        "mapping", choice("mapping", "paper"), "mapping: two mapping networks feed all SPADE layers; paper: as there"
    )
    width: int = option(64, integer(2), "G's channels; 8 times as many at its start")
    code_width: int = option(32, integer(8), "mapping: channels of a code")
    hidden: int = option(128, integer(1), "paper: hidden channels of a SPADE layer")
    upsample: str = option("bilinear", choice("bilinear", "nearest", "subpixel", "deconv"), "G's upsampling")
    noise: bool = option(True, flag(), "mapping: noise added before every norm, strength learned")
    style: int = option(0, integer(0, 1024), "length of the style code of an encoder of the picture, 0: no encoder")
    discriminator: str = option(
        "attention",
        choice("attention", "multiscale", "oasis"),
        "attention: the original's; multiscale: the paper's; oasis: a U-Net that finds each pixel's class",
    )
    d_width: int = option(64, integer(1), "channels of D's first layer (oasis's own: 128)")
    d_layers: int = option(3, integer(1, 6), "multiscale: strided layers of each")
    num_discriminators: int = option(2, integer(1, 4), "multiscale: how many, each on half the size, equally wide")
    conv_norm: str = option("spectral", choice("none", "spectral"), "spectral normalisation of the convolutions")
    norm: str = option(
        "batch", choice("batch", "instance", "none"), "normalisation in G; its style encoder always has instance"
    )
    d_norm: str = option(
        "batch", choice("batch", "instance", "none"), "normalisation in D (multiscale's own: instance, oasis's: none)"
    )
    norm_eps: float = option(2e-5, number(above=0), "added to the variance")

    def __post_init__(self):
        if self.generator == "mapping" and self.code_width % 8:
            raise ValueError(
                f"model.code_width={self.code_width}: a mapping network starts with an eighth; use a multiple of 8"
            )


@dataclass(frozen=True)
class SpadeLossOptions:
    gan: str = option("hinge", choice("bce", "lsgan", "hinge", "wgan"), "adversarial loss")
    adv: float = option(1.0, number(0), "weight of G's adversarial term")
    d_weight: float = option(0.5, number(0), "factor of D's whole loss")
    penalty: str = option(
        "r1", choice("none", "r1", "squared_sum"), "D's gradient penalty: R1, or the original's square of the sum"
    )
    penalty_on: tuple = option(("real",), list_of(choice("real", "fake")), "where D's gradient is taken")
    gp: float = option(10.0, number(0), "weight of the penalty")
    penalty_every: int = option(1, integer(1), "lazy: the penalty only in every k-th D step, k times as strong")
    feature_matching: float = option(2.0, number(0), "weight of the sum over D's maps (the original's 10 / 5 maps)")
    perceptual: float = option(0.0, number(0), "weight of the VGG term, 0: no VGG")
    vgg: str = option("vgg16", choice("vgg16", "vgg19"), "the perceptual term's network")
    perceptual_mode: str = option("mae", choice("mae", "mse"), "the perceptual term's distance")
    diversity: float = option(0.0, number(0), "weight of mode seeking between two noises of one label")
    diversity_class: str = option("hair", text("a class"), "where the two pictures shall differ")
    kl: float = option(0.05, number(0), "model.style: weight of the KL term")
    labelmix: float = option(10.0, number(0), "oasis: weight of the LabelMix consistency in D's loss, 0: none")
    diffaugment: tuple = option(
        (),
        list_of(choice("color", "translation", "cutout")),
        "DiffAugment on all that D sees, for small sets: color on the picture, the others on label and colours too",
    )

    def __post_init__(self):
        if self.penalty != "none" and not self.penalty_on:
            raise ValueError("loss.penalty_on=none: it is taken nowhere; use real, fake or both, or loss.penalty=none")


@dataclass(frozen=True)
class SpadeRoughOptions:
    mode: str = option("sum", choice("sum", "pass"), "sum: one step on both sets; pass: a second pass, as the original")
    weight: float = option(0.1, number(0), "weight of data.rough's losses")


@dataclass(frozen=True)
class SpadeOptimOptions:
    g_lr: float = option(5e-5, number(0), "learning rate of G")
    g_betas: tuple = option((0.0, 0.9), list_of(number(0, 0.9999), 2), "Adam betas of G")
    d_lr: float = option(2e-4, number(0), "learning rate of D")
    d_betas: tuple = option((0.0, 0.9), list_of(number(0, 0.9999), 2), "Adam betas of D")
    d_steps: int = option(2, integer(1, 100), "D steps per G step, each step on pictures of its own")
    poly_start: float = option(0.4, number(0, 1), "share of the training after which the rates decay")
    poly_power: float = option(0.9, number(0), "power of the polynomial decay")


@dataclass(frozen=True)
class SpadeOptions:
    family: ClassVar[str] = "spade"

    run: RunOptions = group(RunOptions)
    data: SpadeDataOptions = group(SpadeDataOptions)
    model: SpadeModelOptions = group(SpadeModelOptions)
    loss: SpadeLossOptions = group(SpadeLossOptions)
    rough: SpadeRoughOptions = group(SpadeRoughOptions)
    optim: SpadeOptimOptions = group(SpadeOptimOptions)
    ema: EMAOptions = group(EMAOptions)
    sample: KidSampleOptions = group(KidSampleOptions)

    @property
    def network_keys(self) -> tuple[str, ...]:
        """Changing one of these would change a network: refused on resume. A style encoder ends in the size, and
        OASIS's discriminator is as deep as it asks for.
        """
        keys = ("model.", "data.classes", "data.background", "data.color", "data.hair")
        return keys + ("data.size",) * bool(self.model.style or self.model.discriminator == "oasis")

    def __post_init__(self):
        sides, m, loss = self.data.size, self.model, self.loss
        shown = sides[0] if sides[0] == sides[1] else list(sides)
        if any(side % 64 for side in sides):
            near = [max(64, 64 * round(side / 64)) for side in sides]
            better = near[0] if near[0] == near[1] else near
            raise ValueError(f"data.size={shown}: G doubles six times, so use multiples of 64, such as {better}")
        least = 3 * 2 ** (m.d_layers + m.num_discriminators - 1)
        if m.discriminator == "multiscale" and min(sides) < least:
            raise ValueError(
                f"data.size={shown}: model.d_layers={m.d_layers} with model.num_discriminators={m.num_discriminators} "
                f"needs {least} or more; lower one of them"
            )
        if loss.diversity and not (m.generator == "mapping" and m.noise):
            raise ValueError(
                f"loss.diversity={loss.diversity:g}: G draws no noise; use model.generator=mapping with model.noise"
            )
        if loss.diversity and loss.diversity_class not in set(self.data.class_names) - {self.data.background}:
            names = ", ".join(name for name in self.data.class_names if name != self.data.background)
            raise ValueError(f"loss.diversity_class={loss.diversity_class}: there is no such class; use {names}")
        self._check_oasis()
        check_validation(self.run, self.sample, "val_l1")

    def _check_oasis(self) -> None:
        """What OASIS's discriminator has no use for, and what only it has use for, is set by mistake."""
        kind, loss = self.model.discriminator, self.loss
        if kind != "oasis" and loss.labelmix != SpadeLossOptions().labelmix:
            raise ValueError(
                f"loss.labelmix={loss.labelmix:g}: {kind} gives no classes; use model.discriminator=oasis, or leave it "
                "out"
            )
        for group_name, name, needed in (
            ("loss", "feature_matching", 0.0),
            ("loss", "penalty", "none"),
            ("loss", "gan", "hinge"),
            ("model", "d_layers", 3),
            ("model", "num_discriminators", 2),
        ):
            options = getattr(self, group_name)
            value, default = getattr(options, name), getattr(type(options)(), name)
            if kind == "oasis" and value != needed:
                given = f"{value:g}" if isinstance(value, float) else value
                remedy = "leave it out" if needed == default else f"set it {needed or 0} (options/spade_oasis.yaml)"
                raise ValueError(
                    f"{group_name}.{name}={given}: model.discriminator=oasis, which learns classes, has no use for it; "
                    f"{remedy}"
                )
