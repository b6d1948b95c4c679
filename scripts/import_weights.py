"""Turn weights of other programs into one checkpoint of this one.

    python scripts/import_weights.py gen.npz dis.npz --output seg.pt

A SOURCE is a file of Anime-Semantic-Segmentation-GAN or SPADE-pix2pix-for-Anime (Chainer .npz), of the reference
pix2pix or of animeGAN (PyTorch .pth); of one network G and D, or either. The network is recognised by the names in the
file, its widths by the shapes. Nothing in a file is run. The checkpoint serves predict.py, run.init_from and export.

Exit code 0: written; 1: a source that cannot be imported; 2: wrong arguments.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from engine.errors import UserError, door
from engine.files import require_writable
from models import build
from models.foreign import Imported
from models.imports import empty_networks, read_sources, write

SHOWN = 3  # names of a kind, without --verbose


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    if args.output.exists() and not args.overwrite:
        raise UserError(f"--output {args.output}: is there already; add --overwrite, or name another file", 2)
    require_writable(args.output.parent)
    imported, opt = read_sources(args.sources, overrides(args.set), None if args.verbose else SHOWN)
    write(imported, opt, args.output)
    print("\n".join(description(imported, opt, args.verbose)))
    print(f"written: {args.output}; next:")
    print("\n".join(f"  {command}" for command in next_commands(imported, args.output)))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="weights files of one network")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.pt", help="the checkpoint to write")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="options that the files cannot tell, such as model.upsample=nearest or data.classes=sky,road,car",
    )
    parser.add_argument("--verbose", action="store_true", help="name every key that does not fit or is left out")
    parser.add_argument("--overwrite", action="store_true", help="replace the output that is there")
    return parser.parse_args(arguments)


def overrides(words: list[str]) -> dict[str, Any]:
    """`group.key=value` words as nested options."""
    nested = {}
    for word in words:
        key, equals, value = word.partition("=")
        group, dot, name = key.partition(".")
        if not (equals and dot and group and name):
            raise UserError(f"--set {word}: expected group.key=value, such as model.upsample=nearest", 2)
        try:
            nested.setdefault(group, {})[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            nested[group][name] = value
    return nested


def description(imported: Imported, opt: Any, verbose: bool) -> list[str]:
    """The networks, what was found out about them, and what a user should know."""
    sizes = [f"{role} {build.millions(network)} parameters" for role, network in empty_networks(imported, opt).items()]
    lines = [f"{imported.family}: {imported.origin}: {', '.join(sizes)}", *(f"  {word}" for word in words(imported))]
    lines += [f"  note: {note}" for note in imported.notes]
    if verbose:
        lines += [f"  left out: {key}" for key in imported.unused]
    return lines


def words(imported: Imported, groups: tuple[str, ...] = ("data", "model", "sample")) -> list[str]:
    """What the files said, as options of a command line."""
    found = []
    for group in groups:
        for key, value in imported.options.get(group, {}).items():
            if isinstance(value, bool):
                value = str(value).lower()
            found.append(f"{group}.{key}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return found


def next_commands(imported: Imported, output: Path) -> list[str]:
    file = shlex.quote(output.as_posix())
    options = " ".join(shlex.quote(word) for word in words(imported, ("data", "model")))
    commands = [f"python train_{imported.family}.py run.init_from={file} data.root=FOLDER {options}"]
    if "G" in imported.states:
        source = "--count 64" if imported.family == "dcgan" else "--input FOLDER"
        commands.insert(0, f"python predict.py --weights {file} {source} --output PICTURES")
    return commands


if __name__ == "__main__":
    door(main)
