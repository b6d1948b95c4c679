"""Options of the seg family (Hung et al. 2018, arXiv:1802.07934). One YAML per experiment: options/seg*.yaml."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from data.palette import ANIME, MATCHES
from options.common import EMAOptions, RunOptions, SampleOptions, SplitDataOptions, check_keep_best
from options.fields import choice, classes, flag, group, integer, list_of, number, option, optional, path

DEFAULT_FILE = Path(__file__).with_suffix(".yaml")
CONSISTENCY = ("fixmatch", "unimatch")  # the values of semi.method with pseudo-labels, losses/consistency.py


def _refuse_changed(group: Any, name: str, keys: tuple[str, ...], method: str) -> None:
    """Raises a ValueError if one of the keys, without effect under semi.method, is neither 0 nor at its default."""
    for key in keys:
        value = getattr(group, key)
        if value not in (0, type(group).__dataclass_fields__[key].default):
            raise ValueError(f"{name}.{key}={value}: has no effect with semi.method={method}; leave it out")


@dataclass(frozen=True)
class SegDataOptions(SplitDataOptions):
    unlabeled: str | None = option(
        None, optional(path("a folder")), "pictures without labels (drawn: made with the set)"
    )
    unlabeled_limit: int | None = option(None, optional(integer(1)), "use only the first N unlabelled pictures")
    extra: str | None = option(None, optional(path("a folder")), "more labelled training data, in any layout")
    extra_repeat: int = option(1, integer(1), "how often a pass goes over data.extra, to weigh a few against many")
    classes: Any = option("anime", classes(), "names and label colours")
    label_colors: str = option(
        "threshold",
        choice(*MATCHES),
        "how label colours match: channel > 0.4, nearest within 60, closest (any distance: a JPEG's), exact",
    )
    ignore: tuple = option((255,), list_of(integer(0, 255)), "label ids left out of losses and metrics")
    augment: tuple = option(
        ("mirror", "gamma"),
        list_of(choice("mirror", "gamma", "color", "scale", "crop")),
        "mirror, gamma (x^0.4 on half of the pictures), color jitter, scale 0.75 to 1.5, random crop",
    )
    drawn_labeled: int = option(200, integer(2), "drawn set: labelled training pictures")
    drawn_unlabeled: int = option(800, integer(1), "drawn set: unlabelled pictures")
    drawn_val: int = option(100, integer(1), "drawn set: validation pictures")

    def __post_init__(self):
        cut = {"scale", "crop"} & set(self.augment)
        if self.size == "native" and cut:
            raise ValueError(
                f"data.augment={','.join(sorted(cut))}: data.size=native keeps pictures as they are; give N"
            )
        if self.size == "native" and self.cache not in ("auto", "none"):
            raise ValueError(f"data.cache={self.cache}: data.size=native is decoded each time; give N, or leave it out")

    @property
    def class_names(self) -> tuple[str, ...]:
        return ANIME.names if self.classes == "anime" else tuple(name for name, _ in self.classes)


@dataclass(frozen=True)
class SegModelOptions:
    generator: str = option(
        "resnet_deeplab", choice("resnet_deeplab", "dilated_fcn", "unet"), "the segmentation network G"
    )
    encoder: str = option(
        "resnet101",
        choice("resnet18", "resnet34", "resnet50", "resnet101", "msra101"),
        "resnet_deeplab's encoder; msra101 is the original's Caffe-style ResNet-101",
    )
    depth: str = option(
        "layer2", choice("layer2", "layer4"), "layer2: as the original; layer4: the paper's dilated ResNet"
    )
    pretrained: bool = option(False, flag(), "torchvision's ImageNet weights for the encoder (downloaded once)")
    frozen_bn: bool = option(False, flag(), "keep the encoder's batch normalisation as it is")
    width: int = option(64, integer(1), "channels of the first layer of unet and dilated_fcn")
    aspp_width: int = option(256, integer(1), "channels of an ASPP branch")
    dropout: float = option(0.5, number(0, 0.95), "unet's dropout")
    d_width: int = option(64, integer(1), "channels of the discriminator's first layer")
    conv_norm: str = option("spectral", choice("none", "spectral"), "spectral normalisation of the convolutions")
    norm: str = option(
        "batch",
        choice("batch", "instance", "none"),
        "normalisation of the activations (an encoder keeps its batch norm)",
    )
    norm_eps: float = option(1e-5, number(above=0), "added to the variance (the originals: 2e-5)")

    def __post_init__(self):
        if self.encoder == "msra101" and self.depth == "layer4":
            raise ValueError("model.depth=layer4: msra101 has layer2 only; choose another model.encoder")
        if self.generator != "resnet_deeplab" and (self.pretrained or self.frozen_bn):
            key = "pretrained" if self.pretrained else "frozen_bn"
            raise ValueError(f"model.{key}=true: {self.generator} has no encoder; use model.generator=resnet_deeplab")
        if self.encoder == "msra101" and self.pretrained:
            raise ValueError("model.pretrained=true: msra101 has no torchvision weights; choose another model.encoder")


@dataclass(frozen=True)
class SegLossOptions:
    gan: str = option("hinge", choice("bce", "lsgan", "hinge"), "adversarial loss (the paper: bce)")
    adv: float = option(
        0.01, number(0), "adversarial: weight of its term on labelled pictures; 0 with semi_adv and semi_st 0: no D"
    )
    semi_adv: float = option(0.001, number(0), "adversarial: weight of its term on unlabelled pictures")
    semi_st: float = option(0.1, number(0), "adversarial: weight of the self-taught term on unlabelled pictures")
    semi_threshold: float = option(0.2, number(0, 1), "adversarial: self-taught where D's confidence is above this")
    semi_start: int = option(5000, integer(0), "steps before the unlabelled pictures are used, by any semi.method")
    ce_mean: str = option(
        "valid", choice("valid", "all"), "valid: mean over the counted pixels; all: over B*C*H*W, as the original"
    )
    class_weights: tuple | None = option(None, optional(list_of(number(0))), "one cross-entropy weight per class")
    dice: float = option(0.0, number(0), "weight of the Dice loss")
    focal: float = option(0.0, number(0), "weight of the focal loss (gamma 2)")
    lovasz: float = option(0.0, number(0), "weight of the Lovasz-softmax loss")


@dataclass(frozen=True)
class SegSemiOptions:
    method: str = option(
        "adversarial",
        choice("none", "adversarial", *CONSISTENCY),
        "what unlabelled pictures teach: none (supervised, no D), Hung et al. (loss.semi_*), or weak-to-strong "
        "consistency",
    )
    threshold: float = option(0.95, number(0, 1), "fixmatch, unimatch: least probability of a pixel's pseudo-label")
    weight: float = option(1.0, number(above=0), "fixmatch, unimatch: weight of the unlabelled pictures' terms")
    teacher: str = option(
        "student", choice("student", "ema"), "fixmatch, unimatch: pseudo-labels by G, or by its averaged weights"
    )

    @property
    def consistency(self) -> bool:
        return self.method in CONSISTENCY

    def __post_init__(self):
        if not self.consistency:
            _refuse_changed(self, "semi", ("threshold", "weight", "teacher"), self.method)


@dataclass(frozen=True)
class SegOptimOptions:
    g_lr: float = option(2.5e-4, number(0), "learning rate of G")
    g_betas: tuple = option((0.9, 0.99), list_of(number(0, 0.9999), 2), "Adam betas of G")
    weight_decay: float = option(1e-4, number(0), "L2 on G's weights")
    backbone_factor: float = option(1.0, number(0), "the encoder's learning rate as a multiple of g_lr")
    d_lr: float = option(1e-4, number(0), "learning rate of D")
    d_betas: tuple = option((0.9, 0.99), list_of(number(0, 0.9999), 2), "Adam betas of D")
    poly_start: float = option(0.4, number(0, 1), "share of the training after which the rates decay")
    poly_power: float = option(0.9, number(0), "power of the polynomial decay")


@dataclass(frozen=True)
class SegOptions:
    family: ClassVar[str] = "seg"
    # changing one of these would change the network: refused on resume
    network_keys: ClassVar[tuple] = ("model.", "data.classes")

    run: RunOptions = group(RunOptions)
    data: SegDataOptions = group(SegDataOptions)
    model: SegModelOptions = group(SegModelOptions)
    loss: SegLossOptions = group(SegLossOptions)
    semi: SegSemiOptions = group(SegSemiOptions)
    optim: SegOptimOptions = group(SegOptimOptions)
    ema: EMAOptions = group(EMAOptions)
    sample: SampleOptions = group(SampleOptions)

    @property
    def teaches_unlabeled(self) -> bool:
        """Whether unlabelled pictures have a part in the loss."""
        adversarial = self.semi.method == "adversarial" and self.loss.semi_adv + self.loss.semi_st > 0
        return self.semi.consistency or adversarial

    def __post_init__(self):
        names, weights = self.data.class_names, self.loss.class_weights
        if weights is not None and len(weights) != len(names):
            raise ValueError(f"loss.class_weights: {len(weights)} weights for {len(names)} classes; give one per class")
        if self.semi.method != "adversarial":
            keys = ("adv", "semi_adv", "semi_st", "semi_threshold")
            _refuse_changed(self.loss, "loss", keys, self.semi.method)
        if self.semi.consistency and self.data.batch % 2:
            raise ValueError(
                f"data.batch={self.data.batch}: semi.method={self.semi.method} mixes unlabelled pictures in pairs; "
                "use an even number"
            )
        if self.semi.teacher == "ema" and not self.ema.half_life:
            raise ValueError(
                "semi.teacher=ema: ema.half_life=0 averages nothing; set it above 0, or semi.teacher=student"
            )
        metrics = ["miou", "pixel_accuracy", *(f"iou/{name}" for name in names)]
        check_keep_best(self.run.keep_best, metrics, "max")
