"""Pictures of any size to the network's size and back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.fit import MODES, blend_weights, cover_crop, fit_picture, pad_to, tiles, unfit

FIXTURE = Path(__file__).parents[2] / "shared" / "fixtures" / "data" / "resize_and_crop.npz"
SIZE = (64, 96)
SHAPES = [(64, 96), (1, 1), (2, 3000), (3000, 2), (200, 150), (37, 91), (1, 7)]


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * y / height, 255 * x / width, 0 * y + 90], -1).astype(np.uint8)


@pytest.mark.shared
@pytest.mark.skipif(not FIXTURE.exists(), reason="needs ../shared")
@pytest.mark.parametrize("name", ["tall", "wide"])
def test_cover_crop_is_the_originals(name):
    fixture = np.load(FIXTURE)
    picture = fixture[f"in_{name}"]
    ours = cover_crop(picture, (256, 256))[::3, ::3].astype(int)
    assert np.abs(ours - fixture[f"out_{name}"]).max() <= 1  # other versions of Pillow round otherwise
    nearest = cover_crop(np.ascontiguousarray(picture[..., 0]), (256, 256))[::3, ::3]
    np.testing.assert_array_equal(nearest, fixture[f"outnearest_{name}"][..., 0])


@pytest.mark.parametrize("shape", SHAPES)
def test_cover_crop_keeps_pictures_and_ids_together(shape):
    picture = smooth(*shape)
    ids = (picture[..., 1] > 127).astype(np.uint8)
    cropped, cropped_ids = cover_crop(picture, SIZE), cover_crop(ids, SIZE)
    assert cropped.shape == (*SIZE, 3) and cropped_ids.shape == SIZE
    assert set(np.unique(cropped_ids)) <= {0, 1}
    clear = np.abs(cropped[..., 1].astype(int) - 127) > 40
    np.testing.assert_array_equal(cropped_ids[clear], (cropped[..., 1] > 127)[clear])


def test_cover_crop_of_the_elongated_shows_the_centre():
    picture = np.zeros((2, 30_000, 3), np.uint8)
    picture[:, 14_000:16_000] = 200
    assert (cover_crop(picture, SIZE) == 200).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_there_and_back(shape, mode):
    fitted = fit_picture(smooth(*shape), SIZE, mode)
    assert fitted.picture.shape == (*SIZE, 3) and fitted.picture.dtype == np.uint8
    maps = fitted.picture.transpose(2, 0, 1) / 255
    back = unfit(maps, fitted)
    assert back.shape == (3, *shape) and back.isfinite().all()
    assert torch.equal(back, unfit(torch.from_numpy(maps), fitted))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(64, 96), (128, 160), (90, 70)])
def test_back_lies_where_it_was(shape, mode):
    picture = smooth(*shape)
    fitted = fit_picture(picture, SIZE, mode)
    back = unfit(fitted.picture.transpose(2, 0, 1), fitted).permute(1, 2, 0).numpy()
    top, left, height, width = fitted.shown
    inner = (slice(top + 2, top + height - 2), slice(left + 2, left + width - 2))
    assert np.abs(back - picture)[inner].max() < 8
    if mode != "crop":
        assert fitted.shown == (0, 0, *shape)


def test_pad_repeats_the_edges_around_the_centred_picture():
    fitted = fit_picture(smooth(10, 5), (20, 30), "pad")
    assert fitted.inside == (0, 10, 20, 10)
    np.testing.assert_array_equal(fitted.picture[:, 0], fitted.picture[:, 10])
    np.testing.assert_array_equal(fitted.picture[:, 29], fitted.picture[:, 19])


def test_pad_with_a_white_border():
    white, repeated = (fit_picture(smooth(10, 5), (20, 30), "pad", border) for border in ("white", "replicate"))
    assert white.inside == repeated.inside == (0, 10, 20, 10)
    np.testing.assert_array_equal(white.picture[:, 10:20], repeated.picture[:, 10:20])
    assert (white.picture[:, :10] == 255).all() and (white.picture[:, 20:] == 255).all()


def test_crop_repeats_the_edge_of_what_it_saw():
    fitted = fit_picture(smooth(40, 100), (40, 40), "crop")
    assert fitted.shown == (0, 30, 40, 40)
    back = unfit(np.arange(1600.0).reshape(1, 40, 40), fitted)
    assert torch.equal(back[:, :, :30], back[:, :, 30:31].expand(-1, -1, 30))
    assert torch.equal(back[0, :, 30:70], torch.arange(1600.0).view(40, 40))


def test_same_size_is_untouched():
    picture = smooth(*SIZE)
    for mode in MODES:
        np.testing.assert_array_equal(fit_picture(picture, SIZE, mode).picture, picture)


def test_unfit_refuses_maps_of_another_size():
    with pytest.raises(AssertionError):
        unfit(np.zeros((1, 32, 48)), fit_picture(smooth(10, 10), SIZE))


@pytest.mark.parametrize("shape", [(256, 256), (257, 256), (100, 700), (30, 20), (1000, 333)])
@pytest.mark.parametrize("overlap", [0, 16, 63])
def test_tiles_cover_with_overlap(shape, overlap):
    size = (64, 128)
    weights = blend_weights(size, overlap)
    assert weights.shape == size and (weights > 0).all() and weights.max() == 1
    padded = pad_to(smooth(*shape), size)
    covered = np.zeros(padded.shape[:2])
    places = tiles(*shape, size, overlap)
    for top, left in places:
        assert padded[top : top + size[0], left : left + size[1]].shape == (*size, 3)
        covered[top : top + size[0], left : left + size[1]] += weights.numpy()
    assert (covered > 0).all()
    for axis in (0, 1):
        starts = sorted({place[axis] for place in places})
        assert all(b - a <= size[axis] - overlap for a, b in zip(starts, starts[1:], strict=False))


def test_tiles_are_no_more_than_needed():
    assert tiles(64, 128, (64, 64), 0) == [(0, 0), (0, 64)]
    assert tiles(10, 10, (64, 64), 8) == [(0, 0)]
    assert tiles(64, 65, (64, 64), 8) == [(0, 0), (0, 1)]


def test_blend_weights_ramp():
    assert blend_weights((1, 8), 3)[0].tolist() == [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25]


def test_pad_to_repeats_the_last_row_and_column():
    padded = pad_to(smooth(3, 4), (5, 2))
    assert padded.shape == (5, 4, 3)
    np.testing.assert_array_equal(padded[3:], padded[2:3].repeat(2, 0))


def test_nearest_resize_matches_pillow_for_ids():
    ids = np.random.default_rng(0).integers(0, 5, (50, 80), dtype=np.uint8)
    ours = cover_crop(ids, (32, 32))
    scaled = Image.fromarray(ids).resize((51, 32), Image.Resampling.NEAREST).crop((9, 0, 41, 32))
    np.testing.assert_array_equal(ours, np.asarray(scaled))
