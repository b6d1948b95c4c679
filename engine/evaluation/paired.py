"""How near pictures are to the true ones, one by one: L1, PSNR, SSIM, LPIPS. Needs torchmetrics."""

import http.client

import torch
from torch import Tensor


def paired_metrics(fake: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Of pictures, uint8 [B, 3, H, W], sides of 11 or more: [B] each.

    l1: mean absolute difference of values in [-1, 1], as val_l1 in training; psnr: dB; ssim: Wang et al. 2004
    (doi:10.1109/TIP.2003.819861) in each channel of values in [0, 1], Gaussian window of 11x11, sigma 1.5, around every
    pixel, borders reflected.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    fake, real = fake.float() / 255, real.float() / 255
    psnr = peak_signal_noise_ratio(fake, real, data_range=1.0, dim=(1, 2, 3), reduction="none")
    ssim = structural_similarity_index_measure(fake, real, data_range=1.0, reduction="none")
    return {"l1": 2 * (fake - real).abs().mean((1, 2, 3)), "psnr": psnr.reshape(-1), "ssim": ssim.reshape(-1)}


def lpips_metric(device: torch.device):
    """torchmetrics' LPIPS with AlexNet (Zhang et al. 2018, arXiv:1801.03924) for pictures in [-1, 1].

    None, after a line, where its weights cannot be had.
    """
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    try:
        return LearnedPerceptualImagePatchSimilarity("alex").to(device)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        cause = " ".join(str(error).split())[:100]
        print(f"note: LPIPS is left out: torchvision's weights of AlexNet could not be had ({cause})")
        return None
