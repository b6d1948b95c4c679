"""losses/consistency.py, and the networks' perturbed features."""

import math

import pytest
import torch
from torch import nn

from data.perturb import drop_channels
from losses.consistency import consistency_loss, consistency_losses, pseudo_labels
from models.seg_deeplab import ResNetDeepLab
from models.seg_fcn import DilatedFCN
from models.seg_unet import SegUNet


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_pseudo_labels_are_the_confident_predictions():
    logits = 3 * torch.randn(2, 4, 5, 6, dtype=torch.float64)
    y = pseudo_labels(logits, 0.9)
    for k in range(2):
        for i in range(5):
            for j in range(6):
                odds = [math.exp(v) for v in logits[k, :, i, j]]
                sure = max(odds) / sum(odds) >= 0.9
                assert y[k, i, j] == (odds.index(max(odds)) if sure else 255)
    assert 0 < (y == 255).sum() < y.numel()
    assert not (pseudo_labels(logits, 0.0) == 255).any()


def test_consistency_loss_is_a_mean_over_all_pixels():
    logits = torch.randn(2, 4, 3, 2, dtype=torch.float64)
    y = torch.tensor([0, 3, 255, 1, 255, 2] * 2).view(2, 3, 2)
    total = 0.0
    for k in range(2):
        for i in range(3):
            for j in range(2):
                if y[k, i, j] != 255:
                    odds = logits[k, :, i, j].exp()
                    total -= math.log(odds[y[k, i, j]] / odds.sum())
    assert float(consistency_loss(logits, y)) == pytest.approx(total / 12, rel=1e-6)
    assert consistency_loss(logits, torch.full_like(y, 255)) == 0


class Named(nn.Module):
    """Remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.conv, self.asked = nn.Conv2d(3, 5, 1), []

    def forward(self, x, perturb=None):
        self.asked.append((len(x), perturb is not None))
        return self.conv(x)


@pytest.mark.parametrize(
    ("method", "asked"), [("fixmatch", [(4, False)]), ("unimatch", [(8, False), (4, True)])], ids=lambda v: str(v)[:8]
)
def test_the_streams_of_each_method(method, asked):
    G, u = Named(), torch.rand(4, 3, 8, 8)
    y = pseudo_labels(torch.randn(4, 5, 8, 8), 0.5)
    terms = consistency_losses(G, u, y, method)
    assert G.asked == asked
    assert set(terms) - {"semi_labeled", "semi_strong"} == ({"semi_features"} if method == "unimatch" else set())
    assert terms["semi_labeled"] == (y != 255).float().mean()


NETWORKS = {
    "resnet_deeplab": lambda: ResNetDeepLab(5, "resnet18", aspp_width=8),
    "dilated_fcn": lambda: DilatedFCN(5, 4, 8),
    "unet": lambda: SegUNet(5, 4, dropout=0),
}
PERTURBED = {"resnet_deeplab": [128], "dilated_fcn": [16], "unet": [64, 32, 16, 8]}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_perturb_the_features_that_their_head_takes(name):
    G, x, seen = NETWORKS[name]().eval(), torch.rand(2, 3, 32, 32), []

    def look(features):
        seen.append(features.shape[1])
        return features

    assert torch.equal(G(x, perturb=look), G(x)) and seen == PERTURBED[name]
    dropped = G(x, perturb=lambda features: 0 * features)
    torch.testing.assert_close(dropped[0], dropped[1]), "nothing else of the picture reaches the head"
    assert not torch.equal(G(x, perturb=drop_channels), G(x))
