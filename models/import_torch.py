"""Networks of PyTorch programs: the reference pix2pix and its kin with a latent, and animeGAN."""

from typing import Any

from models import import_animegan, import_pix2pix
from models.foreign import Imported
from models.foreign_torch import read_layers

NETWORKS = (*import_pix2pix.NETWORKS, *import_animegan.NETWORKS)


def recognise(arrays: dict[str, Any]) -> Imported | None:
    """The pix2pix or dcgan network whose state dict `arrays` is, None if it is none of them.

    Raises:
        UserError: a network of these programs that has no counterpart here.
    """
    layers = read_layers(arrays)
    for importer in NETWORKS:
        found = importer(layers) if layers else None
        if found is not None:
            return found
    return None
