"""engine/make.py's threads: in order, few ahead of what is taken, errors and stops."""

import threading
import time

import pytest

from engine import make
from engine.make import in_threads


def test_results_come_in_the_jobs_order():
    def work(number):
        time.sleep(0.01 * (number % 3))
        return number * number

    assert list(in_threads(work, [(i,) for i in range(20)], 4, "squares")) == [i * i for i in range(20)]
    assert list(in_threads(work, [], 2, "nothing")) == []


def test_no_more_is_done_ahead_than_the_window(monkeypatch):
    """Or the results of 100,000 pictures would wait in memory for a slow disk."""
    monkeypatch.setattr(make, "AHEAD", 5)
    begun = []
    results = in_threads(begun.append, [(i,) for i in range(50)], 2, "jobs")
    for taken in range(1, 30):
        next(results)
        time.sleep(0.002)
        assert len(begun) <= taken + 5
    results.close()
    assert len(begun) <= 35, "closed: the rest is not begun"


def test_all_threads_work():
    together = threading.Barrier(3, timeout=10)  # broken unless three are at it at once
    assert len(list(in_threads(together.wait, [()] * 6, 3, "jobs"))) == 6


def test_an_error_stops_the_rest(monkeypatch):
    monkeypatch.setattr(make, "AHEAD", 4)
    begun = []

    def work(number):
        begun.append(number)
        if number == 3:
            raise ValueError("bad")
        return number

    with pytest.raises(ValueError, match="bad"):
        list(in_threads(work, [(i,) for i in range(100)], 1, "jobs"))
    assert len(begun) < 12
