"""The original's filter and noise removal in seg's predictions."""

from argparse import Namespace

import numpy as np
import pytest
import torch

from data.palette import ANIME
from data.seg_io import SegPictures, filter_reason, median_labels
from engine.errors import UserError
from options.load import load
from options.seg import DEFAULT_FILE, SegOptions


def character(eye=200, face=400, hair=1000, white=255) -> tuple[np.ndarray, np.ndarray]:
    """A 256x256 picture and ids with so many pixels of each class on background of one grey."""
    ids = np.full(256 * 256, 4, np.uint8)
    ids[:eye], ids[eye : eye + face], ids[eye + face : eye + face + hair] = 0, 1, 2
    return np.full((256, 256, 3), white, np.uint8), ids.reshape(256, 256)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({}, None),
        ({"white": 0}, "Black Background"),
        ({"eye": 0}, "No Eye"),
        ({"eye": 31}, "No Eye"),
        ({"eye": 32}, None),
        ({"face": 99}, "No Face"),
        ({"hair": 99}, "No Hair"),
        ({"hair": 100}, None),
    ],
)
def test_the_filter_is_the_originals(counts, reason):
    """../shared/fixtures/data/seg_predict_filter.json"""
    assert filter_reason(*character(**counts)) == reason


def test_the_filter_on_backgrounds_and_sizes():
    picture, ids = character()
    rows = np.flatnonzero((ids == 4).ravel())
    picture.reshape(-1, 3)[rows[: int(len(rows) * 0.41)]] = 0  # 59 % white
    assert filter_reason(picture, ids) == "Black Background"
    ids[ids == 4] = 3
    assert filter_reason(np.zeros_like(picture), ids) is None, "no background at all: accepted"
    picture, ids = character(eye=32)
    double = [np.repeat(np.repeat(array, 2, 0), 2, 1) for array in (picture, ids)]
    assert filter_reason(*double) is None, "thresholds grow with the area"
    double[1][0, 0] = 4
    assert filter_reason(*double) == "No Eye"


def test_the_median_removes_specks_and_invents_no_class():
    ids = np.full((20, 20), 2, np.uint8)
    ids[5, 5], ids[10:, :] = 0, 4
    clean = median_labels(ids, ANIME, 5)
    assert clean[5, 5] == 2 and set(np.unique(clean)) == {2, 4}


@pytest.mark.parametrize("size", [1, 4, 999])
def test_a_median_that_cannot_be_is_refused(size):
    args = Namespace(overlay=False, filter=False, median=size)
    with pytest.raises(UserError, match=f"--median {size}: expected an odd number"):
        SegPictures(load(SegOptions, [], DEFAULT_FILE), args)


def test_the_likeliest_class_is_the_first_of_equals():
    maps = torch.rand(5, 40, 30, generator=torch.Generator().manual_seed(0)).mul(4).round()  # many ties
    ids = SegPictures._ids(maps)
    assert ids.dtype == np.uint8 and np.array_equal(ids, maps.numpy().argmax(0))
