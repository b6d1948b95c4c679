"""Weights of other programs become one checkpoint of ours.

An importer, `recognise(arrays) -> Imported | None`, stands in a module of its own for each program. It takes
`Imported` from models/foreign.py, which is what the importers and this module share.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine import checkpoint
from engine.errors import UserError
from models import build, import_chainer, import_torch
from models.foreign import Imported, read_arrays
from options.dcgan import DcganOptions
from options.load import changes, from_dict, to_dict
from options.pix2pix import Pix2PixOptions
from options.seg import SegOptions
from options.spade import SpadeOptions

IMPORTERS = (import_chainer.recognise, import_torch.recognise)

# family: options, what builds its networks
FAMILIES = {
    "seg": (SegOptions, {"G": build.seg_generator, "D": build.seg_discriminator}),
    "pix2pix": (Pix2PixOptions, {"G": build.pix2pix_generator, "D": build.pix2pix_discriminator}),
    "spade": (SpadeOptions, {"G": build.spade_generator, "D": build.spade_discriminator}),
    "dcgan": (DcganOptions, {"G": build.dcgan_generator, "D": build.dcgan_discriminator}),
}


def recognise(arrays: dict[str, Any], path: Path) -> Imported:
    """The networks that the arrays of `path` are, by their names and shapes.

    Raises:
        UserError: no network known here, or one that has no counterpart.
    """
    for importer in IMPORTERS:
        try:
            found = importer(arrays)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if found is not None:
            return found
    names = _listed(list(arrays), 3) if arrays else "no array at all"
    raise UserError(f"{path}: of no network that this program knows; it holds {names}; see --help for what can be read")


def read_sources(
    paths: Sequence[Path], overrides: dict[str, Any] | None = None, shown: int | None = 3
) -> tuple[Imported, Any]:
    """The networks of one or several files as one, and its options object; every name and shape is checked.

    overrides: nested options where the files say nothing or the user knows better. shown: how many names of each kind
    of misfit an error lists, None: all.

    Raises:
        UserError: unreadable or unknown files, files of different networks, names or shapes that do not fit.
    """
    parts = [(path, recognise(read_arrays(path), path)) for path in paths]
    source = " and ".join(str(path) for path in paths)
    merged = _merge(parts)
    merged.options = _over(merged.options, overrides or {})
    opt = from_dict(FAMILIES[merged.family][0], merged.options, f"{source} and --set" if overrides else source)
    for role, network in empty_networks(merged, opt).items():
        state, names = merged.states[role], merged.sources.get(role, {})
        _refuse_misfits(f"{source}: {role} of {merged.origin}", network.state_dict(), state, names, shown)
        if bad := checkpoint.first_nonfinite(state):
            raise UserError(f"{source}: {role}: weight {names.get(bad, bad)} is not finite; use another file")
    return merged, opt


def empty_networks(imported: Imported, opt: Any) -> dict[str, nn.Module]:
    """Our networks, G and/or D, for the states, with names and shapes but no memory."""
    with torch.device("meta"):
        return {role: FAMILIES[imported.family][1][role](opt) for role in imported.states}


def import_files(paths: Sequence[Path], output: Path, overrides: dict[str, Any] | None = None) -> Path:
    """One checkpoint of ours, step 0, of one or several files of other programs (G and D of one network).

    Raises:
        UserError: as `read_sources`, or `output` cannot be written.
    """
    return write(*read_sources(paths, overrides), output)


def write(imported: Imported, opt: Any, output: Path) -> Path:
    """The checkpoint for `predict.py`, `run.init_from` and export: no average is known, so G_ema is G.

    Raises:
        UserError: `output` cannot be written.
    """
    states = dict(imported.states)
    if "G" in states:
        states["G_ema"] = states["G"]
    head = {"family": imported.family, "step": 0, "options": to_dict(opt), "origin": imported.origin}
    checkpoint.save(output, {**head, **states})
    return output


def _merge(parts: list[tuple[Path, Imported]]) -> Imported:
    """Several files as one network. The generator's file decides what the data are, as its discriminator sees more, and
    the variant, as one discriminator may serve two.
    """
    if len(parts) == 1:
        return parts[0][1]
    parts = sorted(parts, key=lambda part: "G" in part[1].states, reverse=True)
    path, merged = parts[0]
    for other_path, other in parts[1:]:
        both = f"{path} and {other_path}"
        if other.family != merged.family:
            raise UserError(f"{both}: of {merged.family} and of {other.family}; import each into a file of its own")
        if merged.states.keys() & other.states.keys():
            roles = "".join(sorted(merged.states.keys() & other.states.keys()))
            raise UserError(f"{both}: both hold a {roles}; name one G and one D, or import each into its own file")
        for key, (value, another) in changes(merged.options, other.options).items():
            if value is not None and another is not None and not key.startswith(("data.", "model.variant")):
                raise UserError(f"{both}: {key} is {value} and {another}: not of one network; import each on its own")
        merged = Imported(
            merged.family,
            _over(other.options, merged.options),
            merged.states | other.states,
            merged.origin if other.origin == merged.origin else f"{merged.origin} and {other.origin}",
            merged.notes + [note for note in other.notes if note not in merged.notes],
            merged.unused + other.unused,
            merged.sources | other.sources,
        )
    return merged


def _over(options: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Nested options with others laid over them."""
    merged = dict(options)
    for key, value in overrides.items():
        merged[key] = _over(merged[key], value) if isinstance(merged.get(key), dict) else value
    return merged


def _refuse_misfits(
    source: str, own: dict[str, Tensor], state: dict[str, Tensor], names: dict[str, str], shown: int | None
) -> None:
    """Names or shapes of `state` that are not the network's, under their names in the file where it has them."""
    kinds = {
        "missing": [key for key in own if key not in state],
        "unknown": [names.get(key, key) for key in state if key not in own],
        "of another shape": [
            f"{names.get(key, key)} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ],
    }
    problems = [f"{len(found)} {kind} ({_listed(found, shown)})" for kind, found in kinds.items() if found]
    if problems:
        raise UserError(
            f"{source}: does not fit: {'; '.join(problems)}; import the file as its program saved it, and see --set"
        )


def _listed(names: list[str], shown: int | None) -> str:
    more = [] if shown is None or len(names) <= shown else [f"and {len(names) - shown} more"]
    return ", ".join(names[:shown] + more)
