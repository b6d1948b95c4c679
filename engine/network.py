"""A network applied to pictures of any size: fitted to its size, in batches of equal size, and back."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from data.fit import Fitted, blend_weights, fit_picture, pad_to, tiles, unfit
from engine.device import to_device, to_host
from engine.threads import delayed


@dataclass
class Item:
    """A picture on its way from its file to its outputs."""

    job: Any  # engine.folder.Job; here only its name matters
    picture: np.ndarray  # uint8 [H, W, 3], or ids and their colours [H, W, 4]
    fitted: Fitted  # what the network sees of it
    maps: torch.Tensor | None = None  # what the network makes of that: [C, h, w] on the CPU


class Network:
    """A network applied to pictures of any size, in three steps: `item`, `maps` and `restored`.

    The first and the last may run in any thread.

    Args:
        forward: uint8 tensor [B, 3 (4), h, w] and the names of the B pictures -> float maps [B, C, h, w], on `device`.
        size: the network's size (H, W), or native: every picture as it is.
        fit: pad | crop | stretch | tile (windows at native scale, overlapping by a quarter).
        prepare: uint8 [h, w, C] -> uint8 [h, w, C], done to a picture at the scale at which the network sees it.
        full: fill up the batches: a compiled network would be compiled anew for another size.
    """

    TILE = 512  # a window's side where the options give no size

    def __init__(
        self,
        forward: Callable,
        size: Any,
        fit: str,
        batch: int,
        device: torch.device,
        prepare: Callable | None = None,
        full: bool = False,
    ):
        self.forward, self.size, self.fit, self.batch, self.device = forward, size, fit, batch, device
        self.prepare = prepare or (lambda picture: picture)
        self.full = full
        # On CUDA the next batch is begun before the results of one are waited for, so that the GPU never waits.
        self.ahead = 1 if device.type == "cuda" else 0

    def item(self, job: Any, picture: np.ndarray) -> Item:
        """The picture, uint8 [H, W, 3 (4)], made ready for the network."""
        return Item(job, picture, self._fitted(picture))

    def maps(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, with their maps, in batches of equal size."""
        if self.fit == "tile":
            for item in items:
                item.maps = self._tiled(item)
                yield item
            return
        for group, maps in delayed(map(self._begun, self._groups(items)), self.ahead):
            for item, own in zip(group, maps(), strict=True):
                item.maps = own
                yield item

    def restored(self, item: Item) -> torch.Tensor:
        """The item's maps at its picture's size: float [C, H, W]."""
        return item.maps if self.fit == "tile" else unfit(item.maps, item.fitted)

    def seen(self, picture: np.ndarray) -> np.ndarray:
        """The picture as the network sees it, uint8 [h, w, 3], without padding."""
        fitted = self._fitted(picture)
        top, left, height, width = fitted.inside
        return fitted.picture[top : top + height, left : left + width]

    def _fitted(self, picture: np.ndarray) -> Fitted:
        whole = (0, 0, *picture.shape[:2])
        if self.fit == "tile":  # at least as large as a window
            fitted = Fitted(pad_to(picture, self._window()), picture.shape[:2], whole, whole)
        elif self.size == "native":
            fitted = Fitted(picture, picture.shape[:2], whole, whole)
        else:
            fitted = fit_picture(picture, self.size, self.fit)
        return replace(fitted, picture=self.prepare(fitted.picture))

    def _groups(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Batches of one size; at most 4 batches wait for their like."""
        waiting: dict[tuple, list[Item]] = {}
        for item in items:
            shape = item.fitted.picture.shape
            group = waiting.setdefault(shape, [])
            group.append(item)
            if len(group) == self.batch:
                yield waiting.pop(shape)
            elif sum(map(len, waiting.values())) >= 4 * self.batch:  # many sizes: do not hold them all
                yield waiting.pop(max(waiting, key=lambda shape: len(waiting[shape])))
        yield from waiting.values()

    def _begun(self, group: list[Item]) -> tuple[list[Item], Callable]:
        return group, self._forward([item.fitted.picture for item in group], [item.job.name for item in group])

    def _forward(self, pictures: Sequence[np.ndarray], names: Sequence[str]) -> Callable[[], torch.Tensor]:
        """Begin a batch; the call of what is returned waits for its maps [B, C, h, w], on the CPU."""
        count = len(pictures)
        if self.full:
            missing = self.batch - count
            pictures, names = [*pictures, *pictures[-1:] * missing], [*names, *names[-1:] * missing]
        cuda = self.device.type == "cuda"  # from pinned memory the copy does not keep the program waiting
        x = torch.empty(len(pictures), *pictures[0].shape, dtype=torch.uint8, pin_memory=cuda)
        np.stack(pictures, out=x.numpy())
        x = to_device(x, self.device).permute(0, 3, 1, 2).contiguous()
        return to_host(self.forward(x, names)[:count].float())

    def _window(self) -> tuple[int, int]:
        return (self.TILE, self.TILE) if self.size == "native" else tuple(self.size)

    def _tiled(self, item: Item) -> torch.Tensor:
        """Overlapping windows at native scale, blended by linear ramps: [C, H, W]."""
        size, padded = self._window(), item.fitted.picture
        overlap = min(size) // 4
        places, weight = tiles(*padded.shape[:2], size, overlap), blend_weights(size, overlap)
        total = norm = None
        for group, maps in delayed(self._windows(padded, places, item.job.name), self.ahead):
            for (top, left), own in zip(group, maps(), strict=True):
                if total is None:
                    total = torch.zeros(own.shape[0], *padded.shape[:2])
                    norm = torch.zeros(padded.shape[:2])
                total[:, top : top + size[0], left : left + size[1]] += own * weight
                norm[top : top + size[0], left : left + size[1]] += weight
        height, width = item.fitted.size
        return (total / norm)[:, :height, :width]

    def _windows(
        self, picture: np.ndarray, places: list[tuple[int, int]], name: str
    ) -> Iterator[tuple[list, Callable]]:
        """(places, _forward) of the windows of a picture, in batches."""
        height, width = self._window()
        for i in range(0, len(places), self.batch):
            group = places[i : i + self.batch]
            cut = [picture[top : top + height, left : left + width] for top, left in group]
            yield group, self._forward(cut, [name] * len(group))
