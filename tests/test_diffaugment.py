"""data/diffaugment.py: each change against a loop over samples and pixels, without knowing the draws."""

import pytest
import torch

from data.diffaugment import (
    POLICIES,
    augment_alike,
    brightness,
    contrast,
    cutout,
    diff_augment,
    saturation,
    translation,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def pictures(batch: int, height: int = 16, width: int = 24, channels: int = 3) -> torch.Tensor:
    """None of their values is 0."""
    return torch.rand(batch, channels, height, width, dtype=torch.float64) * 0.5 + 0.25


def spans(values: list[float], low: float, high: float) -> bool:
    """Within the bounds, and close to both, as 100 uniform draws are."""
    margin = (high - low) / 20
    return low <= min(values) < low + margin and high - margin < max(values) <= high


def test_brightness_adds_one_number_to_a_sample():
    x = pictures(200)
    added = brightness(x) - x
    assert added.flatten(1).std(1).max() < 1e-12
    assert spans(added[:, 0, 0, 0].tolist(), -0.5, 0.5)


def test_saturation_moves_pixels_from_and_to_their_grey():
    x, factors = pictures(100, 3, 2), []
    for before, after in zip(x, saturation(x), strict=True):
        grey = before[:, 0, 0].mean()
        factor = ((after[0, 0, 0] - grey) / (before[0, 0, 0] - grey)).item()
        for i in range(3):
            for j in range(2):
                grey = sum(before[c, i, j] for c in range(3)) / 3
                for c in range(3):
                    torch.testing.assert_close(after[c, i, j], grey + factor * (before[c, i, j] - grey))
        factors.append(factor)
    assert spans(factors, 0, 2)


def test_contrast_moves_pixels_from_and_to_the_samples_mean():
    x, factors = pictures(200, 4, 4), []
    for before, after in zip(x, contrast(x), strict=True):
        mean = before.sum() / before.numel()
        factor = ((after[0, 0, 0] - mean) / (before[0, 0, 0] - mean)).item()
        torch.testing.assert_close(after, mean + factor * (before - mean))
        factors.append(factor)
    assert spans(factors, 0.5, 1.5)


def moved(picture: torch.Tensor, down: int, right: int) -> torch.Tensor:
    result = torch.zeros_like(picture)
    for i in range(picture.shape[1]):
        for j in range(picture.shape[2]):
            if 0 <= i - down < picture.shape[1] and 0 <= j - right < picture.shape[2]:
                result[:, i, j] = picture[:, i - down, j - right]
    return result


def test_translation_moves_by_an_eighth_at_most():
    x = pictures(1)
    shifts = [(down, right) for down in range(-2, 3) for right in range(-3, 4)]
    candidates = [moved(x[0], *shift) for shift in shifts]
    found = []
    for after in translation(x.repeat(500, 1, 1, 1)):
        (which,) = [k for k, candidate in enumerate(candidates) if torch.equal(candidate, after)]
        found.append(shifts[which])
    assert set(found) == set(shifts), "all 35 come up"


def test_samples_are_moved_apart_and_by_their_own_pixels():
    x = pictures(8)
    for before, after in zip(x, translation(x), strict=True):
        assert any(torch.equal(moved(before, d, r), after) for d in range(-2, 3) for r in range(-3, 4))


def test_cutout_is_a_box_of_half_the_side_cut_by_the_border():
    x, boxes = pictures(200), []
    for before, after in zip(x, cutout(x), strict=True):
        hole = (after == 0).all(0)
        rows, columns = hole.any(1).nonzero().flatten().tolist(), hole.any(0).nonzero().flatten().tolist()
        assert hole.sum() == len(rows) * len(columns), "a full box"
        torch.testing.assert_close(after, before * ~hole, rtol=0, atol=0)
        for places, side in ((rows, 16), (columns, 24)):
            assert len(places) == side // 2 or 0 in places or side - 1 in places
            assert side // 4 <= len(places) <= side // 2
        boxes.append((rows[0], columns[0], len(rows), len(columns)))
    assert {top for top, *_ in boxes} == set(range(13)) and {left for _, left, *_ in boxes} == set(range(19))
    assert any(box[2:] == (8, 12) for box in boxes)


def test_an_odd_hole_keeps_its_middle_inside():
    after = cutout(pictures(100, 6, 6))
    sizes = {int((sample == 0).all(0).any(1).sum()) for sample in after}
    assert sizes == {2, 3}, "rows 0 to 5 are the middles of 3"


# ---- together


def test_an_empty_policy_changes_nothing():
    x = pictures(2)
    assert diff_augment(x, ()) is x


def test_an_unknown_policy_is_refused():
    with pytest.raises(AssertionError, match="colour"):
        diff_augment(pictures(1), ("colour",))


def test_the_seed_settles_the_draw_whatever_the_order_of_the_names():
    x = pictures(4).float()
    results = []
    for seed, policy in ((1, POLICIES), (1, POLICIES[::-1]), (2, POLICIES)):
        torch.manual_seed(seed)
        results.append(diff_augment(x, policy))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


def test_only_the_named_channels_are_coloured_and_all_move_together():
    x = pictures(3, channels=5)
    y = diff_augment(x, ("color",), slice(1, 4))
    assert torch.equal(y[:, [0, 4]], x[:, [0, 4]]) and (y[:, 1:4] != x[:, 1:4]).all()
    same = x[:, :1].expand(-1, 5, -1, -1)
    y = diff_augment(same, ("translation", "cutout"))
    assert torch.equal(y, y[:, :1].expand_as(y)) and not torch.equal(y, same)


def test_tensors_one_after_another_are_changed_alike():
    x = pictures(5, channels=5)
    augment = augment_alike(POLICIES, slice(2, 5))
    first, again, other = augment(x), augment(x.float()), augment(1 - x)
    torch.testing.assert_close(again, first.float())
    assert not torch.equal(first, x) and not torch.equal(first[0, 0] == 0, first[1, 0] == 0), "samples are not alike"
    assert torch.equal(other[:, :2] == 0, first[:, :2] == 0), "cut and moved alike"
    assert not torch.equal(augment_alike(POLICIES, slice(2, 5))(x), first), "another draw"


def test_gradients_flow_as_by_differences():
    x = pictures(2, 8, 4).requires_grad_()

    def augmented(x):
        torch.manual_seed(3)
        return diff_augment(x, POLICIES)

    assert torch.autograd.gradcheck(augmented, x)
    assert torch.autograd.gradgradcheck(augmented, x), "a gradient penalty may go through"


def test_what_was_moved_out_or_cut_has_no_gradient():
    x = pictures(4).requires_grad_()
    y = diff_augment(x, ("translation", "cutout"))
    y.sum().backward()
    assert x.grad.sum() == (y != 0).sum() and set(x.grad.unique().tolist()) == {0, 1}


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32])
def test_types_and_memory_formats(kind):
    x = pictures(4).to(kind)
    results = []
    for source in (x, x.contiguous(memory_format=torch.channels_last)):
        torch.manual_seed(0)
        results.append(diff_augment(source, POLICIES))
    torch.testing.assert_close(*results)
    assert all(y.dtype == kind and y.shape == x.shape for y in results)
    torch.manual_seed(0)
    exact = diff_augment(x.double(), POLICIES)
    torch.testing.assert_close(results[0].double(), exact, rtol=0, atol=0.03 if kind == torch.bfloat16 else 1e-6)
