"""The phantom: a synthetic slide, painted by a program, with its tumour outlines as ground truth.

It is no tissue and no patient. A scene is planned once at 8 µm per pixel, as amounts of the two
stains of an H&E section, outlines and positions of nuclei; blocks of it are then painted at
0.5 µm, and the coarser levels are reduced from the painted pixels. Everything random is drawn while
planning, so a block looks the same whoever paints it, and the files are the same each time.
Coordinates are level-0 pixels unless a name says otherwise; stains are amounts from 0 to 255.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import platformdirs
import shapely
import shapely.affinity
from PIL import Image, ImageChops, ImageDraw, ImageFilter

VERSION = 1
"""Part of the file names; raise it when the picture changes."""

DESCRIPTION = "IDC Desktop phantom: synthetic, painted by a program; no patient, no tissue"

_MPP_UM = 0.5
_UM = 1 / _MPP_UM  # px
_PLAN_PX = 16
_BLOCK_PX = 1024
_TILE_PX = 256
_MARGIN_PX = 16  # painted around a block, so that enlarging leaves no seam; one plan pixel
_QUAD_PX = 128  # side of the pieces in which fibres are bent
_TEXTURE_PX = (2048, 1024)  # fibres: period along and across, pixels of 1 µm
_QUALITY = 75
_DOWNSAMPLES = (1, 2, 4, 8, 16)
_NAMESPACE = uuid.UUID("6f0d5c1e-6f7b-4f0e-9b61-1d0c5a7e8e02")
_TUMOUR_RGB = (200, 0, 0)

# Optical density of 255 units of each stain in R, G, B, fitted by eye to the look of H&E.
_EOSIN = np.array([0.19, 1.13, 0.55])
_HAEMATOXYLIN = np.array([1.30, 1.70, 0.85])
_GLASS_RGB = np.array([244, 243, 244])

# What outlines are filled with, in the order of painting: eosin, haematoxylin.
_MATERIALS = {
    "nest": (84, 62),
    "vacuole": (3, 0),
    "wall": (135, 22),
    "epithelium": (92, 78),
    "necrosis": (150, 30),
    "lumen": (5, 0),
    "blood": (250, 0),
}

Field = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Blocks = dict[tuple[int, int], list[tuple[int, int, int]]]


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
        Told the finished part, 0 to 1, in the calling thread.
    blocks : (int, int)
        Width and height in units of 1,024 level-0 pixels (0.512 mm). Tests make it smaller, which
        shrinks tissue and tumours but not cells.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    size = "" if blocks == (32, 24) else f"-{blocks[0]}x{blocks[1]}"
    stem = f"phantom-v{VERSION}{size}"
    phantom = Phantom(folder / f"{stem}.tiff", folder / f"{stem}.geojson")
    if not (phantom.slide.is_file() and phantom.regions.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        scene = _Planner(*blocks).scene()
        _write(phantom.slide, lambda file: _paint(file, scene, progress or (lambda done: None)))
        _write(phantom.regions, lambda file: file.write(_geojson(scene.tumours, stem).encode()))
    return phantom


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write under a name of this process's own; the real name only ever stands for a whole file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _geojson(tumours: Sequence[shapely.Polygon], stem: str) -> str:
    features = [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(_NAMESPACE, f"{stem}/{number}")),
            "geometry": shapely.geometry.mapping(tumour),
            "properties": {
                "objectType": "annotation",
                "name": f"Painted tumour {number}",
                "classification": {"name": "Tumor (painted)", "color": _TUMOUR_RGB},
            },
        }
        for number, tumour in enumerate(tumours, 1)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1)


# --- the plan ---------------------------------------------------------------------------------


@dataclass
class _Scene:
    """What is to be painted. Maps have one pixel per 16, and one more on each side."""

    blocks: tuple[int, int]
    eosin: Image.Image
    haematoxylin: Image.Image
    cover: Image.Image
    nests: Image.Image
    along: Points  # at the corners of the quads: where in the texture of fibres they lie
    across: Points
    tumours: list[shapely.Polygon]
    outlines: dict[tuple[int, int], dict[str, list[list[float]]]]
    nuclei: dict[tuple[int, int], list[tuple[int, int, int]]]  # left, top, number of the stamp
    stamps: list[Image.Image]  # stain and, as alpha, cover


def _noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float], octaves: int = 1
) -> Field:
    """Smooth periodic noise about 0, nearly all within ±2; `cell` is (rows, cols)."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows, cols = (
            max(1, round(side * 2**octave / part)) for side, part in zip(shape, cell, strict=True)
        )
        coarse = np.pad(rng.standard_normal((rows, cols)).astype(np.float32), 2, "wrap")
        box = (2, 2, 2 + cols, 2 + rows)
        size = (shape[1], shape[0])
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC, box)
        total += np.asarray(image) * 0.5**octave
    return total


def _blob(
    rng: np.random.Generator, centre: Sequence[float], radii: Sequence[float], rough: float
) -> shapely.Polygon:
    """Return a round outline with irregular, stellate bulges."""
    angle = np.linspace(0, 2 * np.pi, 121 if max(radii) > 400 else 25)[:-1]
    radius = np.ones_like(angle)
    for wave in range(2, 16 if len(angle) > 50 else 6):
        radius += rough / wave**0.8 * rng.normal() * np.cos(wave * angle + rng.uniform(0, 7))
    radius = np.clip(radius, 0.35, 2)
    ring = np.stack([radius * np.cos(angle) * radii[0], radius * np.sin(angle) * radii[1]], 1)
    turn = rng.uniform(0, np.pi) if radii[0] != radii[1] and max(radii) < 2000 else 0.0
    spin = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return _one(shapely.Polygon(ring @ spin + centre).buffer(0))


def _one(shape: shapely.Geometry) -> shapely.Polygon:
    """Return the largest part of what may have come apart."""
    return max(shapely.get_parts(shape), key=shapely.area, default=shapely.Polygon())


@dataclass
class _Planner:
    """Plans a scene; its methods draw from one source of random numbers, in a fixed order."""

    columns: int
    rows: int
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(20200701))
    outlines: list[tuple[str, shapely.Polygon]] = field(default_factory=list)
    nuclei: list[Points] = field(default_factory=list)  # rows of x, y, stamp
    stamps: list[Image.Image] = field(default_factory=list)
    kinds: dict[str, tuple[int, int]] = field(default_factory=dict)  # first stamp, how many

    def scene(self) -> _Scene:
        """Return the scene."""
        rng, size = self.rng, np.array([self.columns, self.rows]) * _BLOCK_PX
        shape = (int(size[1]) // _PLAN_PX, int(size[0]) // _PLAN_PX)
        full = float(size.min()) / 24576  # 1 for the full size; big things shrink with the slide
        self._make_stamps()

        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) * _PLAN_PX
        bend = 2600 * full
        turned = 0.9 * y - 0.42 * x
        across = turned + bend * _noise(rng, shape, (420 * full, 420 * full))
        along = 0.9 * x + 0.42 * y + bend * _noise(rng, shape, (500 * full, 500 * full))
        angle = np.arctan2(-np.gradient(across, axis=1), np.gradient(across, axis=0))
        streaks = self._along_fibres(across, along, (3.5, 50))
        clefts = self._along_fibres(across, along, (2.2, 40))

        outline = _blob(rng, size * (0.5, 0.5), size * (0.45, 0.44), 0.09)
        inside = self._soft([outline], shape, 8 * full + 2)
        ragged = 0.08 * _noise(rng, shape, (30, 30), 3)
        tissue = np.clip((inside + ragged - 0.5) * 4 + 0.5, 0, 1)

        places = (((0.36, 0.42), 3600), ((0.70, 0.30), 2300), ((0.62, 0.74), 1700))
        tumours = [
            _blob(rng, size * at, (radius * full * rng.uniform(0.85, 1.15), radius * full), 0.14)
            for at, radius in places
        ]
        nests = np.full(shape, -1, np.float32)
        invaded = self._soft(tumours, shape, 6 * full + 1)
        for number, tumour in enumerate(tumours):
            reach = self._soft([tumour], shape, 9 * full + 2)
            grain = _noise(rng, shape, (20, 20), 2)
            # Solid sheets; cords; nests.
            growth = (grain + 0.75, 0.42 - abs(grain), grain + 0.15)[number % 3]
            nests = np.maximum(nests, np.minimum(growth, (reach - 0.45) * 4 + 0.35 * grain))
        nests = np.clip(nests * 1.6 + 0.5, 0, 1) * (tissue > 0.9)

        lobes = _noise(rng, shape, (230 * full, 300 * full), 3)
        towards = 1.5 * (0.42 - x / size[0]) + 1.0 * (y / size[1] - 0.45)
        septa = abs(_noise(rng, shape, (90, 120), 2))
        fat = lobes * 0.75 + towards * 1.6 - 0.9 * np.clip(0.25 - septa, 0, 1) * 4
        fat = np.clip((fat - 2.2 * np.clip(invaded * 1.6, 0, 1) + 0.1) * 3, 0, 1) * (tissue > 0.5)
        self._fat(fat, tissue * (invaded < 0.3), full)

        free = (1 - np.clip(invaded * 3, 0, 1)) * (fat < 0.2) * (inside > 0.97)
        lobules = self._glands(free, full)
        about = self._soft(lobules, shape, 3)

        stroma = (1 - about * 0.35) * (112 + 26 * streaks + 10 * _noise(rng, shape, (60, 80), 2))
        stroma *= 1 - 0.22 * np.clip(invaded, 0, 1)
        eosin = stroma * (1 - fat) + fat * (88 + 16 * _noise(rng, shape, (20, 20), 2))
        blue = 34 * about + 26 * invaded * (1 - fat) + 5 * (1 - fat) + 4
        haematoxylin = blue + 5 * _noise(rng, shape, (25, 25), 2)
        slits = np.clip((clefts + 1.55) * 4, 0, 1)
        cover = np.minimum(tissue, np.where((about + nests + fat) < 0.1, slits, 1))

        solid = (tissue > 0.9) * (cover > 0.6)
        calm = solid * (1 - fat) * (nests < 0.35)
        self._scatter(calm * (0.16 + 0.3 * invaded + 0.1 * streaks), 18, "spindle", angle)
        inflamed = np.clip(_noise(rng, shape, (45, 45), 2) - 1.0, 0, 1) * (0.15 + invaded)
        self._scatter(calm * inflamed, 8, "round")
        self._scatter(calm * about * 0.55, 13, "oval")
        self._scatter(solid * np.clip(nests * 3 - 0.8, 0, 0.95), 10.2, "tumour")
        by_block, nuclei = self._outlines_by_block(), self._nuclei_by_block()
        corners = (slice(None, None, _QUAD_PX // _PLAN_PX),) * 2
        return _Scene(
            blocks=(self.columns, self.rows),
            eosin=_map(eosin),
            haematoxylin=_map(haematoxylin),
            cover=_map(cover * 255),
            nests=_map(nests * 255),
            along=np.pad(along, ((1, 8), (1, 8)), "reflect", reflect_type="odd")[corners] / _UM,
            across=np.pad(across, ((1, 8), (1, 8)), "reflect", reflect_type="odd")[corners] / _UM,
            tumours=[_one(tumour.simplify(_PLAN_PX)) for tumour in tumours],
            outlines=by_block,
            nuclei=nuclei,
            stamps=self.stamps,
        )

    def _along_fibres(self, across: Field, along: Field, cell: tuple[float, float]) -> Field:
        texture = _noise(self.rng, (1024, 1024), cell, 2)
        at = (np.floor(part / _PLAN_PX).astype(int) % 1024 for part in (across, along))
        return texture[tuple(at)]

    def _soft(
        self, shapes: Iterable[shapely.Polygon], shape: tuple[int, int], blur: float
    ) -> Field:
        """Return 1 inside the shapes, falling to 0 across `blur` pixels of the plan."""
        picture = Image.new("L", (shape[1], shape[0]))
        draw = ImageDraw.Draw(picture)
        for it in shapes:
            draw.polygon((shapely.get_coordinates(it) / _PLAN_PX).ravel().tolist(), fill=255)
        soft = picture.filter(ImageFilter.GaussianBlur(blur))
        return np.asarray(soft, np.float32) / 255

    def _make_stamps(self) -> None:
        """Paint nuclei: half axes in µm, stain, how pale inside, how many."""
        looks = {
            "spindle": ((6.5, 1.25), 190, 0.1, 96),
            "round": ((3.1, 2.9), 230, 0.1, 16),
            "oval": ((4.0, 2.7), 205, 0.3, 64),
            "tumour": ((5.2, 4.1), 205, 0.5, 96),
        }
        for kind, (axes, stain, pale, count) in looks.items():
            self.kinds[kind] = (len(self.stamps), count)
            for number in range(count):
                # Those of one kind turn evenly, so that one with the wanted direction is found.
                turn = math.pi * number / count
                self.stamps.append(_nucleus(self.rng, axes, turn, stain, pale))

    def _add_nuclei(self, at: Points, kind: str, angle: Points | None = None) -> None:
        first, count = self.kinds[kind]
        turn = self.rng.random(len(at)) if angle is None else angle / np.pi
        turn = turn + self.rng.normal(0, 0.04, len(at))
        stamp = first + np.floor(turn * count).astype(int) % count
        self.nuclei.append(np.column_stack([at, stamp]))

    def _grid(self, spacing_um: float, box: Sequence[float]) -> Points:
        """Return points in a box (left, top, right, bottom), evenly spread but in no order."""
        step = spacing_um * _UM
        x, y = np.meshgrid(
            np.arange(box[0], box[2], step), np.arange(box[1], box[3], step * 0.87), indexing="xy"
        )
        x[1::2] += step / 2
        at = np.column_stack([x.ravel(), y.ravel()])
        return at + self.rng.uniform(-0.42, 0.42, at.shape) * step

    def _slide_grid(self, spacing_um: float) -> tuple[Points, tuple[npt.NDArray[np.int64], ...]]:
        """Return such points on the slide, and where they lie on its maps (row, column)."""
        size = np.array([self.columns, self.rows]) * _BLOCK_PX
        at = self._grid(spacing_um, (0, 0, *size))
        at = at[((at >= 0) & (at < size)).all(axis=1)]
        column, row = (at // _PLAN_PX).astype(np.int64).T
        return at, (row, column)

    def _scatter(
        self, chance: Field, spacing_um: float, kind: str, angle: Field | None = None
    ) -> None:
        """Strew nuclei where `chance` says, but not into what is outlined."""
        at, where = self._slide_grid(spacing_um)
        kept = self.rng.random(len(at)) < chance[where]
        at, row, column = at[kept], where[0][kept], where[1][kept]
        outlined = shapely.STRtree([shape for _, shape in self.outlines])
        hit = outlined.query(shapely.points(at), predicate="intersects")[0]
        clear = np.setdiff1d(np.arange(len(at)), hit)
        along = None if angle is None else angle[row[clear], column[clear]].astype(float)
        self._add_nuclei(at[clear], kind, along)

    def _fat(self, fat: Field, elsewhere: Field, full: float) -> None:
        """Outline fat cells: packed ones in fat, single ones strewn in clusters elsewhere."""
        at, where = self._slide_grid(62)
        cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(at[fat[where] > 0])))
        middle = shapely.get_coordinates(shapely.centroid(cells))
        size = np.array(fat.shape[::-1]) * _PLAN_PX
        column, row = (np.clip(middle, 0, size - 1) // _PLAN_PX).astype(int).T
        cells = cells[(fat[row, column] > 0.5) & (shapely.area(cells) < (90 * _UM) ** 2)]
        cells = shapely.buffer(
            shapely.buffer(cells, -11 * _UM, quad_segs=3), 9.6 * _UM, quad_segs=4
        )
        cells = cells[shapely.area(cells) > 0]
        self.outlines += [("vacuole", _one(cell)) for cell in cells]
        # Their nuclei are pressed flat against the wall.
        some = cells[self.rng.random(len(cells)) < 0.35]
        walls = shapely.get_exterior_ring(shapely.buffer(some, 0.8 * _UM))
        place = self.rng.random(len(some))
        first, second = (
            shapely.get_coordinates(shapely.line_interpolate_point(walls, place + d, True))
            for d in (0, 0.01)
        )
        turn = np.arctan2(*(second - first).T[::-1])
        self._add_nuclei(first, "spindle", turn)

        clusters = _noise(self.rng, fat.shape, (110, 160), 3)
        at, where = self._slide_grid(85)
        chance = np.clip(clusters - 0.55, 0.006, 0.6) * elsewhere * (fat < 0.05)
        for centre in at[self.rng.random(len(at)) < chance[where]]:
            radius = self.rng.uniform(20, 36) * _UM
            self.outlines.append(("vacuole", _blob(self.rng, centre, (radius, radius), 0.12)))

    def _glands(self, free: Field, full: float) -> list[shapely.Polygon]:
        """Outline lobules, ducts, ducts filled with tumour, vessels; return the lobules."""
        rng = self.rng
        taken: list[shapely.Polygon] = []

        def place(radius_um: float) -> Points | None:
            for _ in range(60):
                at = rng.random(2) * (self.columns, self.rows) * _BLOCK_PX
                room = shapely.Point(at).buffer(radius_um * _UM)
                left, top, right, bottom = (int(it) // _PLAN_PX for it in room.bounds)
                under = free[max(top, 0) : bottom, max(left, 0) : right]
                clear = under.size and under.mean() > 0.9 and left >= 0 and top >= 0
                if clear and not any(room.intersects(other) for other in taken):
                    taken.append(room)
                    return at
            return None

        area = full**2
        lobules = []
        for _ in range(math.ceil(4 * area)):
            if (at := place(330)) is not None:
                self._filled_duct(_blob(rng, at, (rng.uniform(170, 270) * _UM,) * 2, 0.08))
        for _ in range(math.ceil(30 * area)):
            radius = rng.uniform(190, 430)
            if (at := place(radius * 1.15)) is None:
                continue
            lobule = _blob(rng, at, np.array([1, 0.75]) * radius * _UM, 0.16)
            lobules.append(lobule)
            centres = self._grid(rng.uniform(62, 80), lobule.bounds)
            for centre in centres[shapely.contains_xy(lobule, centres)]:
                radii = rng.uniform(19, 31, 2) * _UM
                self._gland(_blob(rng, centre, radii, 0.1), rng.uniform(11, 15))
        for _ in range(math.ceil(22 * area)):
            length = rng.uniform(60, 260)
            if (at := place(length * 1.2)) is not None:
                radii = np.array([length, rng.uniform(40, 75)]) * _UM
                self._gland(_blob(rng, at, radii, 0.3), rng.uniform(15, 22))
        for _ in range(math.ceil(14 * area)):
            radius = rng.uniform(35, 120)
            if (at := place(radius * 1.5)) is not None:
                self._vessel(_blob(rng, at, np.array([1.3, 1]) * radius * _UM, 0.1), radius)
        return lobules

    def _rim(self, outline: shapely.Polygon, depth_um: float, pitch_um: float, kind: str) -> None:
        """Line an outline with nuclei: across it if oval, along it if spindles."""
        ring = _one(outline.buffer(-depth_um * _UM)).exterior
        places = np.arange(0, ring.length, pitch_um * _UM)
        if not len(places):
            return
        first, second = (
            shapely.get_coordinates(shapely.line_interpolate_point(ring, places + d))
            for d in (0, 3)
        )
        turn = np.arctan2(*(second - first).T[::-1]) + (np.pi / 2 if kind == "oval" else 0)
        jitter = self.rng.normal(0, 0.8 * _UM, first.shape)
        self._add_nuclei(first + jitter, kind, turn)

    def _gland(self, outline: shapely.Polygon, wall_um: float) -> None:
        self.outlines.append(("epithelium", outline))
        inner = _one(outline.buffer(-wall_um * _UM))
        if not inner.is_empty:
            self.outlines.append(("lumen", inner))
        self._rim(outline, 4.5, 6.2, "oval")
        if wall_um > 14:
            self._rim(outline, 11, 8.5, "oval")
        self._rim(outline, -1.5, 24, "spindle")

    def _filled_duct(self, outline: shapely.Polygon) -> None:
        """Fill a duct with tumour cells around holes and a dead centre: not invasive."""
        self.outlines.append(("epithelium", outline))
        dead = outline.buffer(-95 * _UM)
        holes = [_one(dead)]
        self.outlines.append(("necrosis", holes[0]))
        for centre in self._grid(60, outline.bounds):
            hole = _blob(self.rng, centre, self.rng.uniform(9, 17, 2) * _UM, 0.1)
            ring = outline.buffer(-28 * _UM).difference(dead.buffer(8 * _UM))
            if self.rng.random() < 0.6 and ring.contains(hole):
                self.outlines.append(("lumen", hole))
                holes.append(hole)
        alive = outline.buffer(-5 * _UM).difference(shapely.union_all(holes).buffer(5 * _UM))
        at = self._grid(10.5, outline.bounds)
        self._add_nuclei(at[shapely.contains_xy(alive, at)], "tumour")
        self._rim(outline, -2, 16, "spindle")

    def _vessel(self, outline: shapely.Polygon, radius_um: float) -> None:
        self.outlines.append(("wall", outline))
        inner = _one(outline.buffer(-radius_um * _UM * 0.35))
        self.outlines.append(("lumen", inner))
        if self.rng.random() < 0.7:
            self.outlines.append(
                (
                    "blood",
                    _one(
                        inner.buffer(-3 * _UM).intersection(
                            shapely.affinity.translate(inner, radius_um * 0.5, radius_um * 0.4)
                        )
                    ),
                )
            )
        for depth in np.arange(3, radius_um * 0.33, 8):
            self._rim(outline, depth, 17, "spindle")

    def _outlines_by_block(self) -> dict[tuple[int, int], dict[str, list[list[float]]]]:
        blocks: dict[tuple[int, int], dict[str, list[list[float]]]] = {}
        for material, shape in self.outlines:
            if shape.is_empty:
                continue
            # Whole numbers: a shape falls on the same pixels whichever block it is drawn in.
            ring = np.rint(shapely.get_coordinates(shape.exterior)).astype(int)
            low = (ring.min(axis=0) - _MARGIN_PX) // _BLOCK_PX
            high = (ring.max(axis=0) + _MARGIN_PX) // _BLOCK_PX
            for column in range(low[0], high[0] + 1):
                for row in range(low[1], high[1] + 1):
                    shift = np.array([column, row]) * _BLOCK_PX - _MARGIN_PX
                    of_block = blocks.setdefault((column, row), {})
                    of_block.setdefault(material, []).append((ring - shift).ravel().tolist())
        return blocks

    def _nuclei_by_block(self) -> dict[tuple[int, int], list[tuple[int, int, int]]]:
        blocks: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        for x, y, stamp in np.rint(np.concatenate(self.nuclei)).astype(int).tolist():
            half = self.stamps[stamp].width // 2
            left, top = x - half, y - half
            for column in {left // _BLOCK_PX, (x + half) // _BLOCK_PX}:
                for row in {top // _BLOCK_PX, (y + half) // _BLOCK_PX}:
                    place = (left - column * _BLOCK_PX, top - row * _BLOCK_PX, stamp)
                    blocks.setdefault((column, row), []).append(place)
        return blocks


def _nucleus(
    rng: np.random.Generator, axes_um: Sequence[float], turn: float, stain: float, pale: float
) -> Image.Image:
    """Return one nucleus as stain with its cover: dark rim, paler inside, grains of chromatin."""
    a, b = np.array(axes_um) * _UM * rng.uniform(0.85, 1.2, 2)
    half = math.ceil(max(a, b) * 1.3) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    around = np.arctan2(v, u)
    wobble = 1 + sum(
        0.05 * rng.normal() * np.cos(wave * around + rng.uniform(0, 7)) for wave in (2, 3, 4)
    )
    depth = 1 - np.hypot(u / a, v / b) / wobble
    grains = _noise(rng, x.shape, (4, 4))
    density = stain * rng.uniform(0.8, 1.15) * (1 - pale * np.clip(depth * 1.8, 0, 1))
    density *= 1 + 0.16 * grains
    if pale > 0.4:
        spot = rng.uniform(-0.35, 0.35, 2) * (a, b)
        density += 110 * np.exp(-(((u - spot[0]) ** 2 + (v - spot[1]) ** 2) / 3.5))
    cover = np.clip(depth * min(a, b) / 1.6 + 0.5, 0, 1) * 255
    pixels = np.stack([density, cover], axis=-1)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "LA")


def _map(values: Field) -> Image.Image:
    padded = np.pad(np.clip(np.rint(values), 0, 255).astype(np.uint8), 1, "edge")
    return Image.fromarray(padded)


# --- painting ---------------------------------------------------------------------------------


class _Painter:
    """Paints blocks of a scene; used by several threads at once."""

    def __init__(self, scene: _Scene) -> None:
        self._scene = scene
        rng = np.random.default_rng(8)
        cols, rows = _TEXTURE_PX
        waves = 5 * _noise(rng, (rows, cols), (60, 45)) + 3 * _noise(rng, (rows, cols), (16, 22))
        fibres = (
            0.30 * _noise(rng, (rows, cols), (3.2, 60))
            + 0.35 * _noise(rng, (rows, cols), (6, 110))
            + 0.25 * _noise(rng, (rows, cols), (14, 170))
        )
        fibres -= 1.6 * np.clip(_noise(rng, (rows, cols), (5, 90)) - 1.35, 0, 0.5)
        bent = np.rint(np.arange(rows)[:, None] + waves).astype(int) % rows
        fibres = np.take_along_axis(fibres, bent, axis=0)
        # Repeated far enough for any block to be cut out of it in one piece.
        fibres = np.pad(fibres, ((0, 1500), (0, 1500)), "wrap")
        self._fibres = Image.fromarray(np.clip(200 + 62 * fibres, 30, 255).astype(np.uint8))
        grain = np.pad(_noise(rng, (_BLOCK_PX // 2,) * 2, (6, 6), 2), _MARGIN_PX // 2, "wrap")
        self._fills = {
            material: tuple(_map_of_grain(stain, grain) for stain in stains)
            for material, stains in _MATERIALS.items()
        }
        self._stamps = [(it.getchannel("L"), it.getchannel("A")) for it in scene.stamps]
        amount = np.arange(256)[:, None] / 255
        self._eosin = np.rint(_GLASS_RGB * np.exp(-amount * _EOSIN)).astype(np.uint8).tobytes()
        self._blue = np.rint(255 * np.exp(-amount * _HAEMATOXYLIN)).astype(np.uint8).tobytes()

    def block(self, place: tuple[int, int]) -> Image.Image | None:
        """Return the pixels of a block, or None if it is glass."""
        scene, side = self._scene, _BLOCK_PX // 2 + _MARGIN_PX
        first = np.array(place) * (_BLOCK_PX // _PLAN_PX)  # the margin is the maps' own border
        box = tuple(float(it) for it in (*first, *(first + side * 2 // _PLAN_PX)))
        outlines = scene.outlines.get(place, {})
        if scene.cover.crop(tuple(map(int, box))).getextrema()[1] == 0:
            return None

        def enlarged(plan: Image.Image) -> Image.Image:
            return plan.resize((side, side), Image.Resampling.BICUBIC, box)

        # Whatever is soft is painted at 1 µm and enlarged; nuclei are stamped at 0.5 µm.
        fibres = self._bent_fibres(place, side)
        eosin = ImageChops.multiply(enlarged(scene.eosin), fibres)
        blue = enlarged(scene.haematoxylin)
        nests = enlarged(scene.nests)
        if nests.getextrema()[1]:
            self._fill(eosin, blue, nests.point(_sharp(128, 30)), "nest")
        cover = enlarged(scene.cover)
        if cover.getextrema()[0] < 255:
            edge = Image.blend(cover, fibres, 0.2).point(_sharp(128, 12))
            eosin, blue = ImageChops.multiply(eosin, edge), ImageChops.multiply(blue, edge)
        for material in _MATERIALS:
            if rings := outlines.get(material):
                mask = Image.new("L", (2 * side, 2 * side))
                draw = ImageDraw.Draw(mask)
                for ring in rings:
                    draw.polygon(ring, fill=255)
                self._fill(eosin, blue, mask.reduce(2), material)
        inner = (_MARGIN_PX // 2, _MARGIN_PX // 2, side - _MARGIN_PX // 2, side - _MARGIN_PX // 2)
        size = (_BLOCK_PX, _BLOCK_PX)
        eosin = eosin.resize(size, Image.Resampling.BILINEAR, inner)
        blue = blue.resize(size, Image.Resampling.BILINEAR, inner)
        for x, y, stamp in scene.nuclei.get(place, ()):
            density, mask = self._stamps[stamp]
            blue.paste(density, (x, y), mask)
        eosin.putpalette(self._eosin)
        blue.putpalette(self._blue)
        return ImageChops.multiply(eosin.convert("RGB"), blue.convert("RGB"))

    def _fill(
        self, eosin: Image.Image, blue: Image.Image, mask: Image.Image, material: str
    ) -> None:
        for stain, fill in zip((eosin, blue), self._fills[material], strict=True):
            stain.paste(fill, (0, 0), mask)

    def _bent_fibres(self, place: tuple[int, int], side: int) -> Image.Image:
        """Cut a block out of the endless texture of fibres, bent as the plan says."""
        step = _QUAD_PX // 2
        count = -(-side // step)
        column, row = (part * (_BLOCK_PX // _QUAD_PX) for part in place)
        corners = (slice(row, row + count + 1), slice(column, column + count + 1))
        x, y = self._scene.along[corners], self._scene.across[corners]
        x = x - x.min() // _TEXTURE_PX[0] * _TEXTURE_PX[0]
        y = y - y.min() // _TEXTURE_PX[1] * _TEXTURE_PX[1]
        ring = ((0, 0), (1, 0), (1, 1), (0, 1))
        mesh = [
            (
                (j * step, i * step, (j + 1) * step, (i + 1) * step),
                tuple(float(part[i + di, j + dj]) for di, dj in ring for part in (x, y)),
            )
            for i in range(count)
            for j in range(count)
        ]
        return self._fibres.transform(
            (side, side), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR
        )


def _map_of_grain(stain: float, grain: Field) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(stain * (1 + 0.13 * grain)), 0, 255).astype(np.uint8))


def _sharp(middle: float, width: float) -> list[int]:
    """Return a table that makes a soft edge a sharp one."""
    return [round(255 * min(1, max(0, (it - middle) / width + 0.5))) for it in range(256)]


# --- the file ---------------------------------------------------------------------------------


def _paint(file: BinaryIO, scene: _Scene, progress: Callable[[float], None]) -> None:
    """Write the slide. Blocks are painted side by side and written in order."""
    columns, rows = scene.blocks
    painter, tiff = _Painter(scene), _TiffWriter(file, columns * _BLOCK_PX, rows * _BLOCK_PX)
    glass = _reductions(Image.new("RGB", (_BLOCK_PX, _BLOCK_PX), tuple(_GLASS_RGB.tolist())))
    glass_tiles = [_encoded(level) for level in glass[:3]]
    small = Image.new("RGB", (columns * _BLOCK_PX // 8, rows * _BLOCK_PX // 8))

    def paint(place: tuple[int, int]) -> tuple[list[list[bytes]], Image.Image]:
        block = painter.block(place)
        if block is None:
            return glass_tiles, glass[3]
        levels = _reductions(block)
        return [_encoded(level) for level in levels[:3]], levels[3]

    places = [(column, row) for row in range(rows) for column in range(columns)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for number, (place, (levels, reduced)) in enumerate(
            zip(places, pool.map(paint, places), strict=True), 1
        ):
            for level, tiles in enumerate(levels):
                side = _BLOCK_PX // _TILE_PX >> level
                tiff.add(level, (place[0] * side, place[1] * side), side, tiles)
            small.paste(reduced, (place[0] * reduced.width, place[1] * reduced.height))
            progress(number / len(places))
    for level in (3, 4):
        tiff.add(level, (0, 0), -(-small.width // _TILE_PX), _encoded(small))
        small = small.reduce(2)
    tiff.finish()


def _reductions(block: Image.Image) -> list[Image.Image]:
    levels = [block]
    while len(levels) < 4:
        levels.append(levels[-1].reduce(2))
    return levels


def _encoded(image: Image.Image) -> list[bytes]:
    """Cut a picture into JPEG tiles, row by row; the last ones are filled up with black."""
    tiles = []
    for top in range(0, image.height, _TILE_PX):
        for left in range(0, image.width, _TILE_PX):
            stream = io.BytesIO()
            tile = image.crop((left, top, left + _TILE_PX, top + _TILE_PX))
            tile.save(stream, "JPEG", quality=_QUALITY, subsampling="4:2:0")
            tiles.append(stream.getvalue())
    return tiles


class _TiffWriter:
    """Writes a pyramid of JPEG tiles in any order; equal tiles are stored once.

    tifffile takes ready-made JPEG tiles only with an encoder at hand that it does not bring, and
    only level by level.
    """

    def __init__(self, file: BinaryIO, width: int, height: int) -> None:
        self._file = file
        self._at: dict[bytes, int] = {}
        self._levels = [(width // by, height // by) for by in _DOWNSAMPLES]
        self._tiles: list[dict[tuple[int, int], tuple[int, int]]] = [{} for _ in _DOWNSAMPLES]
        file.write(struct.pack("<2sHI", b"II", 42, 0))

    def add(self, level: int, first: tuple[int, int], across: int, tiles: list[bytes]) -> None:
        """Write a rectangle of tiles, `across` tiles wide."""
        for number, tile in enumerate(tiles):
            key = hashlib.sha256(tile).digest()
            if key not in self._at:
                self._at[key] = self._file.tell()
                self._file.write(tile)
            place = (first[1] + number // across, first[0] + number % across)
            self._tiles[level][place] = (self._at[key], len(tile))

    def finish(self) -> None:
        """Write the directories."""
        link = 4
        for level, (width, height) in enumerate(self._levels):
            offsets, counts = zip(
                *(it for _, it in sorted(self._tiles[level].items())), strict=True
            )
            centimetre = (round(10_000 / _MPP_UM), _DOWNSAMPLES[level])
            entries = [
                (254, "I", (int(level > 0),)),  # subfile type: reduced
                (256, "I", (width,)),
                (257, "I", (height,)),
                (258, "H", (8, 8, 8)),
                (259, "H", (7,)),  # JPEG
                (262, "H", (6,)),  # YCbCr
                (270, "s", DESCRIPTION.encode() + b"\0"),
                (277, "H", (3,)),
                (282, "R", centimetre),
                (283, "R", centimetre),
                (284, "H", (1,)),
                (296, "H", (3,)),  # per centimetre
                (305, "s", b"IDC Desktop\0"),
                (322, "I", (_TILE_PX,)),
                (323, "I", (_TILE_PX,)),
                (324, "I", offsets),
                (325, "I", counts),
                (530, "H", (2, 2)),  # chroma subsampling
            ]
            link = self._directory(entries, link)

    def _directory(self, entries: list[tuple[int, str, Sequence[int] | bytes]], link: int) -> int:
        kinds = {"s": (2, 1), "H": (3, 1), "I": (4, 1), "R": (5, 2)}
        table = struct.pack("<H", len(entries))
        for tag, kind, values in entries:
            code, per_value = kinds[kind]
            letter = "I" if kind == "R" else kind
            value = (
                values
                if isinstance(values, bytes)
                else struct.pack(f"<{len(values)}{letter}", *values)
            )
            if len(value) > 4:
                self._file.write(b"\0" * (self._file.tell() % 2))
                at = self._file.tell()
                self._file.write(value)
                value = struct.pack("<I", at)
            table += struct.pack("<HHI", tag, code, len(values) // per_value) + value.ljust(
                4, b"\0"
            )
        self._file.write(b"\0" * (self._file.tell() % 2))
        at = self._file.tell()
        self._file.write(table + struct.pack("<I", 0))
        self._file.seek(link)
        self._file.write(struct.pack("<I", at))
        self._file.seek(0, os.SEEK_END)
        return at + len(table)
