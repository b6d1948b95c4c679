"""Items of a family's pictures as a batch of one brings them."""

from typing import Any

import numpy as np

from data.pictures import Pictures


def finished(source: Pictures, index: int, seed: int) -> Any:
    """What the train script gets of an item, without the batch's axis."""
    planes, draws = source.item(index, np.random.default_rng(seed))
    parts = source.finished(planes[None].clone(), draws[None])
    return tuple(part[0] for part in parts) if isinstance(parts, tuple) else parts[0]
