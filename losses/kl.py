"""The Kullback-Leibler term of a variational encoder."""

from torch import Tensor


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)): summed over a sample's latent, mean over the batch, in float32.

    mean, log_variance [B, Z]. Kingma & Welling 2014, arXiv:1312.6114, Appendix B; SPADE (arXiv:1903.07291), Appendix A.
    """
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1).mean()
