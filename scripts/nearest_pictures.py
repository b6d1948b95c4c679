"""Does a generator paint new faces, or those that it was shown? Generated pictures beside their nearest training ones.

    python scripts/nearest_pictures.py --weights runs/dcgan --output runs/nearest [--count 8] [--neighbours 5]

Distances are root mean squares of pixels in [0, 1], and a mirrored training picture counts as itself. Writes
OUTPUT/nearest.png (each row: generated, then its nearest training pictures) and prints the mean distance of generated
pictures to their nearest training picture beside that of training pictures to their nearest other one: a generator that
copies has much the smaller. The training pictures are those of the run's own options.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.dcgan import dcgan_data
from data.picture_io import to_picture
from engine.errors import UserError, door
from engine.files import require_writable, whole_file
from engine.logs import contact_sheet
from engine.progress import progress
from models.latents import draw_latents, generate
from models.layers import predicting
from predict import load_network

CHUNK = 1000  # training pictures compared at once


def nearest(x: Tensor, pictures: Tensor, count: int, leave_out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(distances, indices) [B, count] of the training pictures nearest to x, the nearest first.

    x: float [B, 3, H, W] in [0, 1]; pictures: uint8 [N, 3, H, W], N >= count; leave_out: for each x one index, itself.
    """
    flat, found = x.flatten(1), []
    for start in progress(range(0, len(pictures), CHUNK), -(-len(pictures) // CHUNK), "nearest", "chunk"):
        part = pictures[start : start + CHUNK].float() / 255
        both = torch.stack([torch.cdist(flat, view.flatten(1)) for view in (part, part.flip(3))])
        found.append(both.amin(0))
    distances = torch.cat(found, 1) / flat.shape[1] ** 0.5
    if leave_out is not None:
        distances.scatter_(1, leave_out[:, None], float("inf"))
    return distances.topk(count, dim=1, largest=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, metavar="W", help="a dcgan run folder or checkpoint")
    parser.add_argument("--output", type=Path, default=Path("runs/nearest"))
    parser.add_argument("--count", type=int, default=8, help="rows of the sheet (default 8)")
    parser.add_argument("--neighbours", type=int, default=5, help="training pictures in a row (default 5)")
    parser.add_argument(
        "--measured", type=int, default=256, help="pictures that the means are taken over (default 256)"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("count", "neighbours", "measured"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} {getattr(args, name)}: expected a whole number of at least 1")
    G, opt, _ = load_network(args.weights, torch.device("cpu"))
    if opt.family != "dcgan":
        raise UserError(f"--weights {args.weights}: a checkpoint of {opt.family}, not of dcgan", 2)
    require_writable(args.output)
    faces, _ = dcgan_data(opt, torch.device("cpu"))
    pictures = faces.x
    if len(pictures) <= args.neighbours:
        raise UserError(
            f"--neighbours {args.neighbours}: there are {len(pictures)} training pictures; ask for fewer", 2
        )
    wanted = max(args.count, args.measured)
    with predicting(G, opt.sample.norm_stats):
        made = generate(G, *draw_latents(opt, range(wanted), args.seed)).float() * 0.5 + 0.5
    distances, indices = nearest(made, pictures, args.neighbours)
    some = torch.from_numpy(np.random.default_rng(args.seed).permutation(len(pictures))[: args.measured])
    among, _ = nearest(pictures[some].float() / 255, pictures, 1, leave_out=some)
    rows = [
        [to_picture(one * 2 - 1), *(pictures[i].permute(1, 2, 0).numpy() for i in near)]
        for one, near in zip(made[: args.count], indices, strict=False)
    ]
    args.output.mkdir(parents=True, exist_ok=True)
    with whole_file(args.output / "nearest.png") as part:
        Image.fromarray(contact_sheet(rows)).save(part, "PNG")
    print(f"\n| to the nearest of {len(pictures)} training pictures | mean distance | smallest |\n|---|---|---|")
    for name, values in (
        (f"{args.measured} generated", distances[: args.measured, 0]),
        (f"{len(some)} training pictures, to another", among[:, 0]),
    ):
        print(f"| {name} | {values.mean():.3f} | {values.min():.3f} |")


if __name__ == "__main__":
    door(main)
