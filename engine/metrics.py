"""Segmentation metrics from a confusion matrix."""

import torch
from torch import Tensor


def confusion_matrix(predicted: Tensor, y: Tensor, classes: int) -> Tensor:
    """int64 [classes, classes]: rows are the labels y, columns the predictions; ids above the classes are left out."""
    valid = y < classes
    return torch.bincount(y[valid].long() * classes + predicted[valid].long(), minlength=classes**2).view(
        classes, classes
    )


def seg_metrics(matrix: Tensor, names: tuple[str, ...]) -> dict[str, float]:
    """miou, pixel_accuracy and iou/NAME; a class in neither labels nor predictions is NaN, left out of the mean."""
    matrix = matrix.double()
    hits = matrix.diagonal()
    iou = hits / (matrix.sum(0) + matrix.sum(1) - hits)  # 0/0: NaN
    metrics = {"miou": iou.nanmean().item(), "pixel_accuracy": (hits.sum() / matrix.sum()).item()}
    return metrics | {f"iou/{name}": value.item() for name, value in zip(names, iou, strict=True)}
