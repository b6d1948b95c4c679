"""Initial weights in the DCGAN tradition."""

from torch import nn

KINDS = ("normal", "xavier", "orthogonal")


def initialize(network: nn.Module, kind: str = "normal", gain: float = 0.02) -> nn.Module:
    """The network with new weights: convolutions by `kind`, their biases 0, norms N(1, gain) with bias 0.

    kind: normal N(0, gain) (Radford et al. 2016, arXiv:1511.06434, sec. 4), xavier (Glorot & Bengio 2010, normal,
    times gain) or orthogonal (Saxe et al. 2014, arXiv:1312.6120, times gain).
    """
    assert kind in KINDS, kind
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            if kind == "normal":
                nn.init.normal_(module.weight, 0.0, gain)
            elif kind == "xavier":
                nn.init.xavier_normal_(module.weight, gain)
            else:
                nn.init.orthogonal_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)
    return network
