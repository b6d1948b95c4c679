"""Does a SPADE generator paint what it is asked for? Hair colour and layout of unseen labels: the README's spade table.

    python scripts/study_spade.py --weights runs/spade_demo --seg runs/demo [--output runs/study_spade]

For 64 labels of drawn characters that no training saw (of another seed), each with a random hair colour:
- hair: the mean colour of the painted hair against the asked colour, as correlation over the pictures per channel;
- layout: mIoU of a segmentation network (trained at the same size on other drawn characters) on the painted pictures
  against the labels, and of the same network on the true pictures.
Writes OUTPUT/grid.png (label, asked colour, painted, true) and OUTPUT/results.json, and prints a Markdown table.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image

from data.palette import ANIME, colorize, palette_of
from data.picture_io import to_picture
from data.sample import draw
from data.spade_io import paint
from engine.errors import UserError, door
from engine.logs import contact_sheet
from engine.metrics import confusion_matrix, seg_metrics
from engine.progress import progress
from models.layers import predicting
from predict import load_network

UNSEEN_SEED = 7  # of the drawn characters; trainings use 0
HAIR = ANIME.names.index("hair")


def hair_colors(pictures: list[np.ndarray], labels: list[np.ndarray]) -> np.ndarray:
    """Mean colour [N, 3] of the hair regions of pictures uint8 [H, W, 3]."""
    return np.stack([picture[label == HAIR].mean(0) for picture, label in zip(pictures, labels, strict=True)])


@torch.no_grad()
def layout(
    seg: torch.nn.Module, norm_stats: str, pictures: list[np.ndarray], labels: list[np.ndarray], what: str
) -> float:
    """mIoU of what the segmentation network sees in the pictures against the labels."""
    matrix = torch.zeros(len(ANIME), len(ANIME), dtype=torch.int64)
    with predicting(seg, norm_stats):
        pairs = zip(pictures, labels, strict=True)
        for picture, label in progress(pairs, len(labels), f"segmenting the {what} pictures", "picture"):
            x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
            matrix += confusion_matrix(seg(x).argmax(1), torch.from_numpy(label)[None], len(ANIME))
    return seg_metrics(matrix, ANIME.names)["miou"]


def refuse_unlike(spade: Any, seg: Any) -> None:
    """Checkpoints of other families, classes or sizes, by their options: a UserError names the first difference."""
    for word, opt, family in (("--weights", spade, "spade"), ("--seg", seg, "seg")):
        if opt.family != family:
            raise UserError(f"{word}: a checkpoint of {opt.family}, not of {family}", 2)
        if palette_of(opt.data.classes) != ANIME:
            raise UserError(f"{word}: its classes (data.classes) are not anime's; use a run on those", 2)
    if not spade.data.color or spade.data.hair != "hair":
        raise UserError("--weights: it colours no hair (data.color, data.hair); use a run with a hair-colour branch", 2)
    size = spade.data.size
    if size[0] != size[1]:
        raise UserError(f"--weights: data.size={list(size)}: drawn characters are square; use a run on squares", 2)
    if seg.data.size != size:
        theirs = seg.data.size if seg.data.size == "native" else list(seg.data.size)
        raise UserError(f"--seg: data.size={theirs}, but --weights has {list(size)}; use a run at that size", 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="a spade run on the anime classes")
    parser.add_argument("--seg", required=True, help="a seg run on the anime classes, at the same size")
    parser.add_argument("--output", type=Path, default=Path("runs/study_spade"))
    parser.add_argument("--count", type=int, default=64, help="labels, at least 2 (default 64)")
    args = parser.parse_args()
    if args.count < 2:
        raise UserError(f"--count {args.count}: a correlation needs 2 labels or more", 2)
    device = torch.device("cpu")
    G, opt, _ = load_network(args.weights, device)
    seg, seg_opt, _ = load_network(args.seg, device)
    refuse_unlike(opt, seg_opt)
    size = opt.data.size[0]
    characters = [draw(index, size, UNSEEN_SEED) for index in range(args.count)]
    asked = np.random.default_rng(0).integers(0, 256, (args.count, 3)).astype(np.uint8)
    painted = []
    with predicting(G, opt.sample.norm_stats) as G_mean:
        wanted = enumerate(zip(characters, asked, strict=True))
        for number, (character, color) in progress(wanted, args.count, "painting", "picture"):
            ids = torch.from_numpy(character.label)[None]
            plane = torch.from_numpy(color)[None, :, None, None].expand(1, 3, size, size)
            painted.append(to_picture(paint(G_mean, ids, plane, opt, [str(number)])[0]))
    labels = [character.label for character in characters]
    got = hair_colors(painted, labels)
    correlation = [float(np.corrcoef(got[:, k], asked[:, k])[0, 1]) for k in range(3)]
    true = [character.picture for character in characters]
    miou = {
        name: layout(seg, seg_opt.sample.norm_stats, those, labels, name)
        for name, those in (("painted", painted), ("true", true))
    }
    args.output.mkdir(parents=True, exist_ok=True)
    results = {"count": args.count, "size": size, "correlation": correlation, "miou": miou}
    (args.output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    cells = [
        [colorize(label, ANIME), np.broadcast_to(color, (size, size, 3)), fake, real]
        for label, color, fake, real in zip(labels, asked, painted, true, strict=True)
    ]
    Image.fromarray(contact_sheet([sum(cells[i : i + 2], []) for i in range(0, min(12, len(cells)), 2)])).save(
        args.output / "grid.png"
    )
    print(f"\n| {args.count} unseen labels, {size}x{size} | red | green | blue | mIoU, painted | mIoU, true pictures |")
    print("|---|---|---|---|---|---|")
    shown = " | ".join(f"{value:.3f}" for value in (*correlation, miou["painted"], miou["true"]))
    print(f"| correlation of hair colours | {shown} |")


if __name__ == "__main__":
    door(main)
