"""Combinations of options: a pairwise cover, and a seeded sample of all."""

import random
from collections.abc import Sequence
from itertools import combinations

Case = tuple  # one value per factor


def pairs_of(case: Case) -> set[tuple]:
    """((factor, value), (factor, value)) of every two factors of a case."""
    return set(combinations(enumerate(case), 2))


def all_pairs(factors: Sequence[Sequence]) -> set[tuple]:
    return {((i, a), (j, b)) for i, j in combinations(range(len(factors)), 2) for a in factors[i] for b in factors[j]}


def cover(factors: Sequence[Sequence], seed: int = 0, tries: int = 200) -> list[Case]:
    """Cases in which every two values of different factors meet: each the best of some drawn by lot."""
    rng, missing, cases = random.Random(seed), all_pairs(factors), []
    while missing:
        (i, a), (j, b) = min(missing, key=repr)  # at least this pair is new
        drawn = []
        for _ in range(tries):
            case = [rng.choice(values) for values in factors]
            case[i], case[j] = a, b
            drawn.append(tuple(case))
        cases.append(max(drawn, key=lambda case: len(pairs_of(case) & missing)))
        missing -= pairs_of(cases[-1])
    return cases


def sample(factors: Sequence[Sequence], count: int, seed: int = 0) -> list[Case]:
    rng = random.Random(seed)
    return [tuple(rng.choice(values) for values in factors) for _ in range(count)]
