"""What a loss that is no mean over samples needs where several processes share a batch.

Such a loss is a function of sums over the batch: it takes the mean of each over the processes (`Mean`: Run.mean), and
then the mean of the processes' gradients is the gradient of the whole batch.
"""

from collections.abc import Callable

from torch import Tensor

Mean = Callable[[Tensor], Tensor]


def itself(part: Tensor) -> Tensor:
    """The Mean of a single process."""
    return part
