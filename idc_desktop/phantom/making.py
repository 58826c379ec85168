"""Makes the phantom's files: the slide, and its tumour outlines."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import platformdirs
import shapely
from PIL import Image

from idc_desktop.errors import not_written
from idc_desktop.phantom.painting import GLASS_RGB, Painter
from idc_desktop.phantom.plan import BLOCK_PX, Scene
from idc_desktop.phantom.pyramid import EncodedBlock, PyramidWriter
from idc_desktop.storage.atomic import replacing

VERSION = 2
"""Part of the file names; raise it when the picture changes."""

DESCRIPTION = "IDC Desktop phantom: synthetic, painted by a program; no patient, no tissue"

_NAMESPACE = uuid.UUID("6f0d5c1e-6f7b-4f0e-9b61-1d0c5a7e8e02")
_TUMOUR_RGB = (200, 0, 0)


@dataclass(frozen=True)
class Phantom:
    """The phantom's files: the slide, and its tumour outlines as GeoJSON in QuPath's form."""

    slide: Path
    regions: Path


def cache_folder() -> Path:
    """Return the folder for what can be made again; ``IDC_DESKTOP_CACHE_DIR`` moves it."""
    override = os.environ.get("IDC_DESKTOP_CACHE_DIR")
    return Path(override) if override else Path(platformdirs.user_cache_dir("idc-desktop", False))


def make_phantom(
    folder: Path,
    progress: Callable[[float], None] | None = None,
    *,
    blocks: tuple[int, int] = (32, 24),
) -> Phantom:
    """Make the phantom slide and its regions, or return those that are there.

    Parameters
    ----------
    folder : Path
        Where they are kept; made if need be.
    progress : callable, optional
        Told the finished part, 0 to 1, in the calling thread; not at all if nothing is to be made.
        What it raises ends the painting.
    blocks : (int, int)
        Width and height in units of 1,024 level-0 pixels (0.512 mm). Tests make it smaller, which
        shrinks tissue and tumours but not cells.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    size = "" if blocks == (32, 24) else f"-{blocks[0]}x{blocks[1]}"
    stem = f"phantom-v{VERSION}{size}"
    phantom = Phantom(folder / f"{stem}.tiff", folder / f"{stem}.geojson")
    try:
        if not (phantom.slide.is_file() and phantom.regions.is_file()):
            folder.mkdir(parents=True, exist_ok=True)
            scene = Scene(*blocks)
            # The slide last: a viewer that finds it finds its regions, too.
            with replacing(phantom.regions) as file:
                file.write(_geojson(scene.tumours, stem))
            with replacing(phantom.slide) as file:
                _paint(file, scene, progress or (lambda done: None))
    except OSError as error:
        raise not_written(
            f"{folder}: The phantom slide cannot be written there",
            error,
            "set IDC_DESKTOP_CACHE_DIR to another folder",
        ) from error
    return phantom


def _geojson(tumours: Sequence[shapely.Polygon], stem: str) -> bytes:
    features = [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(_NAMESPACE, f"{stem}/{number}")),
            "geometry": json.loads(shapely.to_geojson(shapely.set_precision(tumour, 1))),
            "properties": {
                "objectType": "annotation",
                "name": f"Painted tumour {number}",
                "classification": {"name": "Tumor (painted)", "color": _TUMOUR_RGB},
            },
        }
        for number, tumour in enumerate(tumours, 1)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def _paint(file: BinaryIO, scene: Scene, progress: Callable[[float], None]) -> None:
    """Write the slide. Blocks are painted side by side and written in order."""
    columns, rows = scene.blocks
    painter, pyramid = Painter(scene), PyramidWriter(file, scene.blocks, DESCRIPTION)
    glass = pyramid.encode(Image.new("RGB", (BLOCK_PX, BLOCK_PX), GLASS_RGB))

    def paint(place: tuple[int, int]) -> EncodedBlock:
        block = painter.block(place)
        return glass if block is None else pyramid.encode(block)

    places = [(column, row) for row in range(rows) for column in range(columns)]
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        painted = zip(places, pool.map(paint, places), strict=True)
        for number, (place, block) in enumerate(painted, 1):
            pyramid.add(place, block)
            progress(number / len(places))
    finally:
        pool.shutdown(cancel_futures=True)
    pyramid.finish()
