"""Work in threads that keeps to a window: never far ahead of whoever takes the results."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import torch


def default_workers() -> int:
    """A thread per core; above 16 they would mostly wait for each other's Python."""
    return min(16, os.cpu_count() or 1)


class Threads:
    """Threads that several stages of work share. At the end of `with`, what is not yet begun is left out.

    Args:
        workers: how many; 0: the caller does the work itself, item by item.
    """

    def __init__(self, workers: int):
        # What a worker computes is small: one thread for it, or every worker would start as many as there are cores.
        self.pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) if workers else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)  # waits for those at work: they leave no half-written file
            torch.set_num_threads(torch.get_num_threads())  # threads that start later take over the last number set

    def in_order(self, work: Callable[[Any], Any], items: Iterable[Any], window: int) -> Iterator[Any]:
        """work(item) of every item, in their order; at most `window` are begun and not yet taken.

        Raises:
            What work raises, in the place of its result.
        """
        if self.pool is None:
            yield from map(work, items)
            return
        waiting = deque()
        for item in items:
            waiting.append(self.pool.submit(work, item))
            if len(waiting) >= window or waiting[0].done():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def delayed(items: Iterable[Any], by: int) -> Iterator[Any]:
    """The items, each handed out only after `by` more have been taken."""
    held = deque()
    for item in items:
        held.append(item)
        if len(held) > by:
            yield held.popleft()
    yield from held
