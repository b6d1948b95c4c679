"""The names of the two Chainer originals and ours.

A key of a file that chainer.serializers.save_npz wrote is PATH/LEAF: PATH names a layer (with a trailing /c where the
spectral hook wraps it), LEAF one of its arrays. The tables map PATH to our module, or a whole key to our parameter.
The layers are those of pit-ray/Anime-Semantic-Segmentation-GAN (RESNET_DEEPLAB, DILATED_FCN, UNET, FCN) and
pit-ray/SPADE-pix2pix-for-Anime (SPADE_GENERATOR, SPADE_DISCRIMINATOR).
"""

LEAVES = {
    "W": "weight",
    "b": "bias",
    "W_u": "u",
    "gamma": "weight",
    "beta": "bias",
    "avg_mean": "running_mean",
    "avg_var": "running_var",
    "N": "num_batches_tracked",
}

ASPP = {
    "x1": "convs.0",
    "x1_bn": "norms.0",
    "x3_small": "convs.1",
    "x3_small_bn": "norms.1",
    "x3_middle": "convs.2",
    "x3_middle_bn": "norms.2",
    "x3_large": "convs.3",
    "x3_large_bn": "norms.3",
    "sum_func": "fuse",
}

BOTTLENECK = {
    "conv1": "conv1",
    "bn1": "bn1",
    "conv2": "conv2",
    "bn2": "bn2",
    "conv3": "conv3",
    "bn3": "bn3",
    "conv4": "downsample.0",
    "bn4": "downsample.1",
}

RESNET101_BLOCKS = {
    "res2/a": "layer1.0",
    "res2/b1": "layer1.1",
    "res2/b2": "layer1.2",
    "res3/a": "layer2.0",
    "res3/b1": "layer2.1",
    "res3/b2": "layer2.2",
    "res3/b3": "layer2.3",
}


def _nested(table: dict[str, str], path: str, module: str) -> dict[str, str]:
    return {f"{path}/{key}": f"{module}.{value}" for key, value in table.items()}


RESNET_DEEPLAB = {
    "resnet101/conv1": "encoder.body.conv1",
    "resnet101/bn1": "encoder.body.bn1",
    "c1": "atrous1",
    "norm1": "norm1",
    "c2": "atrous2",
    "norm2": "norm2",
    "up1/c": "up1.conv",
    "up2/c": "up2.conv",
    "up3/c": "up3.conv",
    "to_class": "to_class",
    **_nested(ASPP, "aspp", "aspp"),
}
for _path, _module in RESNET101_BLOCKS.items():
    RESNET_DEEPLAB |= _nested(BOTTLENECK, f"resnet101/{_path}", f"encoder.body.{_module}")

DILATED_FCN = {
    "c1": "conv1",
    "norm1": "norm1",
    "c2": "conv2",
    "norm2": "norm2",
    "c3": "conv3",
    "norm3": "norm3",
    "a1": "atrous1",
    "norm4": "norm4",
    "a2": "atrous2",
    "norm5": "norm5",
    "up1/c": "up1.conv",
    "up2/c": "up2.conv",
    "to_class": "to_class",
    **_nested(ASPP, "aspp", "aspp"),
}

UNET = {
    "e1": "down1",
    "e1_bn": "down_norm1",
    "e2": "down2",
    "e2_bn": "down_norm2",
    "e3": "down3",
    "e3_bn": "down_norm3",
    "e4": "down4",
    "e4_bn": "down_norm4",
    "e5": "down5",
    "e5_bn": "down_norm5",
    "d1": "up1",
    "d1_bn": "up_norm1",
    "d2": "up2",
    "d2_bn": "up_norm2",
    "d3": "up3",
    "d3_bn": "up_norm3",
    "d4": "up4",
    "d4_bn": "up_norm4",
    "to_class": "to_class",
}

FCN = {
    "c1": "conv1",
    "c2": "conv2",
    "c2_norm": "norm2",
    "c3": "conv3",
    "c3_norm": "norm3",
    "c4": "conv4",
    "c4_norm": "norm4",
    "c5": "conv5",
    "upscale": "upscale",
}

SPADE_LAYER = {"norm": "norm", "gamma": "gamma", "beta": "beta"}

SPADE_BLOCK = {
    "noise1/gamma": "noise1.gamma",
    "conv1": "conv1",
    "noise2/gamma": "noise2.gamma",
    "conv2": "conv2",
    "reshape_noise/gamma": "shortcut_noise.gamma",
    "reshape_conv": "shortcut_conv",
    **_nested(SPADE_LAYER, "norm1", "norm1"),
    **_nested(SPADE_LAYER, "norm2", "norm2"),
    **_nested(SPADE_LAYER, "reshape_norm", "shortcut_norm"),
}

SPADE_GENERATOR = {"head": "head", "to_img": "to_picture"}
for _i in range(4):
    SPADE_GENERATOR[f"w1/conv{_i + 1}"] = f"label_mapping.convs.{_i}"
    SPADE_GENERATOR[f"w2/conv{_i + 1}"] = f"color_mapping.convs.{_i}"
for _i in range(7):
    SPADE_GENERATOR |= _nested(SPADE_BLOCK, f"r{_i + 1}", f"blocks.{_i}")
for _i in range(6):  # upsampling_mode=subpx_conv; bilinear and nearest have no arrays
    SPADE_GENERATOR[f"up{_i + 1}/c"] = f"ups.{_i}.conv"

RES_BLOCK = {
    "norm1": "norm1",
    "conv1": "conv1",
    "norm2": "norm2",
    "conv2": "conv2",
    "reshape_norm": "shortcut_norm",
    "reshape_conv": "shortcut_conv",
}

SPADE_DISCRIMINATOR = {
    "c1": "conv1",
    "c2": "conv2",
    "n2": "norm2",
    "c3": "conv3",
    "att/f_conv": "attention.query",
    "att/g_conv": "attention.key",
    "att/h_conv": "attention.value",
    "att/v_conv": "attention.out",
    "att/gamma": "attention.gamma",
    "n3": "norm3",
    "c4": "conv4",
    "n4": "norm4",
    "head": "head",
    "to_patch": "to_logit",
    **_nested(RES_BLOCK, "r1", "blocks.0"),
    **_nested(RES_BLOCK, "r2", "blocks.1"),
    **_nested(RES_BLOCK, "r3", "blocks.2"),
}

# Modules whose output channels go through depth2space (F.pixel_shuffle has them in another order).
SUB_PIXEL = {"up1.conv", "up2.conv", "up3.conv"} | {f"ups.{_i}.conv" for _i in range(6)}
# Layers that the original's file holds although its network never runs them.
UNUSED = ("resnet101/res4/", "resnet101/res5/", "resnet101/fc6/")
