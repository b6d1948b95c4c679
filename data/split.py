"""Which samples of a data set a trained network is measured on."""

from pathlib import Path
from typing import Any

from data.files import Sample, find_pairs, split_pairs, training_samples
from engine.errors import UserError

SPLITS = ("auto", "all", "train", "val", "test")


def chosen_samples(root: Path, split: str, data: Any, *folders: str) -> tuple[list[Sample], str]:
    """(the samples of a split, which they are in words) of a data set in any layout.

    Args:
        split: val: root/val, or what a training with these options holds out of `root`; train: the rest; test:
            root/test; all: root without val/ and test/; auto: val if `root` has it or is the training's own folder,
            else test if it has that, else all.
        data: the data options of the training.
        folders: as data.files.find_pairs has them.

    Raises:
        UserError: there is no such split.
    """
    if not root.is_dir():
        raise UserError(f"--data {root}: no such folder; name one in the layout that the network was trained on", 2)
    own = data.root != "drawn" and Path(data.root).resolve() == root.resolve()
    there = [name for name in ("val", "test") if (root / name).is_dir()]
    if split == "auto":
        split = "val" if own else next(iter(there), "all")
    foreign = (
        "" if own or data.root == "drawn" else f"; taken for other pictures than those of the training on {data.root}"
    )
    if split == "all":
        return training_samples(root, *folders), f"all{foreign}"
    if split == "test":
        if "test" not in there:
            raise UserError(f"--split test: {root} has no test/; use another split", 2)
        return find_pairs(root / "test", *folders), "test/"
    if not own and data.val and "val" not in there:
        raise UserError(
            f"--split {split}: {root} is not the training's folder {data.root}, and which pictures it held out of that "
            f"data.val={data.val} says; name that folder, or use --split all",
            2,
        )
    train, held, _ = split_pairs(root, data.val if own else None, data.val_share, None, *folders)
    if split == "train":
        return train, f"all but the validation pictures{foreign}"
    if not held:
        raise UserError(f"--split val: {root} has no val/, and the training held none out; use --split all", 2)
    if "val" in there and not (own and data.val):
        return held, "val/"
    return held, "held out as in training" if own else f"a share of {data.val_share:g} by name, as in training{foreign}"
