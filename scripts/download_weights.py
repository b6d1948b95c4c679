"""Download published weights, by name.

    python scripts/download_weights.py --list
    python scripts/download_weights.py seg-original animegan

The names are those of options/weights.yaml. The files go to the cache folder, $ATELIER_CACHE/weights or
~/.cache/atelier/weights (those of torchvision to where it looks for them), and are checked each time they are used:
by their published hash or, where none is known, by that of the first download, kept in hashes.json beside them.
An unfinished download is resumed by the same command. Proxies: https_proxy, http_proxy and no_proxy.

Exit code 0: all there; 1: some could not be had; 2: wrong arguments.
"""

import argparse
import shlex
import sys
from itertools import zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.byte_progress import megabytes
from engine.download import File, fetch
from engine.errors import UserError, door
from models.pretrained import home
from options.published import Published, choose, read_list

BY_HAND = ", or name the file by --from-file"


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    if args.list or not args.names:
        print("\n".join(listing(choose(args.names) or list(read_list().values()))))
        return
    entries = choose(args.names)
    if args.from_file and (len(entries) > 1 or len(args.from_file) > len(entries[0].files)):
        raise UserError(f"--from-file: is for one NAME, and at most its files: {', '.join(entries[0].files)}", 2)
    failed = []
    for entry in entries:
        folder, files = args.output or home(entry), entry.files.values()
        problems = [
            problem
            for file, source in zip_longest(files, args.from_file)
            if (problem := attempt(file, folder, source)) is not None
        ]
        if not problems:
            print("\n".join([f"{entry.name}: in {folder}", *next_commands(entry, folder)]))
        failed += problems
    if failed:
        raise failed[0] if len(failed) == 1 else UserError("\n  ".join([f"{len(failed)} files:", *map(str, failed)]))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("names", nargs="*", metavar="NAME", help="weights of the list; without one, the list is shown")
    parser.add_argument("--list", action="store_true", help="show names, files, licences; download nothing")
    parser.add_argument("--output", type=Path, metavar="DIR", help="the folder for the files")
    parser.add_argument(
        "--from-file",
        type=Path,
        nargs="+",
        default=[],
        metavar="F",
        help="files that were fetched by hand, in the order of --list; those not named are downloaded",
    )
    args = parser.parse_args(arguments)
    if args.from_file and not args.names:
        parser.error("--from-file: which weights are these? Give their NAME before it")
    return args


def listing(entries: list[Published]) -> list[str]:
    """Every entry with its files, what is known of them, and whether anybody here has ever downloaded it."""
    lines = []
    for entry in entries:
        unsure = "" if entry.verified else "; not verified: nobody here could download it"
        lines += [f"{entry.name} ({entry.family}): {entry.what}{unsure}", f"    {entry.licence}"]
        lines += [f"    {role}: {described(file)}" for role, file in entry.files.items()]
    return lines


def described(file: File) -> str:
    words = [file.name] + ([megabytes(file.size)] if file.size is not None else [])
    words.append("hash known" if file.hash_known else "hash recorded on first download")
    return f"{', '.join(words)}, {' '.join(file.urls)}"


def attempt(file: File, folder: Path, source: Path | None) -> UserError | None:
    """Fetch a file; the error that it met, so that it stops no other."""
    try:
        fetch(file, folder, source, BY_HAND)
    except UserError as error:
        return error
    return None


def next_commands(entry: Published, folder: Path) -> list[str]:
    if not entry.predicts:
        return []
    source = "--count 64" if entry.family == "dcgan" else "--input FOLDER"
    commands = []
    if folder == home(entry):
        commands.append(f"python predict.py --weights {entry.name} {source} --output PICTURES")
    files = " ".join(shlex.quote((folder / file.name).as_posix()) for file in entry.files.values())
    commands.append(f"python scripts/import_weights.py {files} --output {entry.name}.pt")
    return [f"next: {command}" for command in commands]


if __name__ == "__main__":
    door(main)
