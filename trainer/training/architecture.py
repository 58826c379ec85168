"""What a network is made of, layer by layer, for the pictures of the paper's figures 3 to 6."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.files import make_folder
from trainer.networks.building import Network, build
from trainer.settings import RECIPE_NAMES, VGG16_NAMES, recipe_settings
from trainer.training.figures import Stage, draw_architecture

FROZEN, PRETRAINED, NEW = "frozen", "ImageNet's, trained on", "new"
"""What becomes of a layer's weights in training."""

_SHOWN = ("baseline", *VGG16_NAMES)


def stages(network: Network) -> list[Stage]:
    """Return the layers of a network that have weights or change the shape, first to last."""
    found: list[Stage] = []
    for layer, state in _layers(network):
        kind = then = ""
        match type(layer).__name__:
            case "BatchNormalization":
                then = "batch norm"
            case "Dropout":
                then = f"dropout {layer.rate:g}"
            case "Conv2D":
                kind = "conv " + "x".join(map(str, layer.kernel_size))
            case "MaxPooling2D":
                kind = "max pool"
            case "GlobalAveragePooling2D":
                kind = "average"
            case "Concatenate":
                kind = "joined"
            case "Dense":
                kind = "dense"
            case _:
                continue
        if kind:
            shape = tuple(layer.output.shape[1:])
            found.append(Stage(kind, shape, layer.count_params(), state))
        elif not found or found[-1].state != state:
            shape = tuple(layer.output.shape[1:])
            found.append(Stage(then, shape, layer.count_params(), state))
        else:
            last = found[-1]
            parameters = last.parameters + layer.count_params()
            found[-1] = replace(last, parameters=parameters, then=(*last.then, then))
    return found


def _layers(network: Network) -> Iterator[tuple[Any, str]]:
    """Yield layers in order, with what becomes of them."""
    if network.frozen is not None:
        yield from ((layer, FROZEN) for layer in network.frozen.layers)
    for layer in network.trained.layers:
        yield layer, PRETRAINED if layer.name in network.pretrained else NEW


def draw_architectures(folder: Path) -> list[Path]:
    """Draw the three networks of each recipe; returns the files, ``NETWORK.RECIPE.png``."""
    make_folder(folder)
    found = []
    for recipe in RECIPE_NAMES:
        for name in _SHOWN:
            path = folder / f"{name}.{recipe}.png"
            network = build(recipe_settings(recipe, name))
            draw_architecture(stages(network), f"{name}, recipe {recipe}", path)
            found.append(path)
    return found
