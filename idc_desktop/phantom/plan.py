"""The plan of the phantom: a scene at 8 µm per pixel, and all that is random in it.

Coordinates are level-0 pixels unless a name says otherwise; stains are amounts from 0 to 255.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import shapely
import shapely.affinity
from PIL import Image, ImageDraw, ImageFilter

MPP_UM = 0.5
"""µm per level-0 pixel."""

BLOCK_PX = 1024
"""Side of the squares that are painted at a time."""

MARGIN_PX = 16
"""Painted around a block, so that enlarging leaves no seam; one plan pixel."""

PLAN_PX = 16
"""Side of a plan pixel."""

QUAD_PX = 128
"""Side of the pieces in which fibres are bent."""

_UM = 1 / MPP_UM  # px

# Half axes in µm, haematoxylin, how much paler inside; _STAMPS of each kind, turned evenly.
_NUCLEI = {
    "spindle": ((6.5, 1.25), 190, 0.1),
    "round": ((3.1, 2.9), 230, 0.1),
    "oval": ((4.0, 2.7), 205, 0.3),
    "tumour": ((5.2, 4.1), 205, 0.5),
}
_STAMPS = 80
_ROW_STEP = 0.87  # of the distance of points in a row: rows are staggered

_OVAL = np.array([1.12, 0.9])
_TUMOURS = (((0.36, 0.42), 3600), ((0.70, 0.30), 2300), ((0.62, 0.74), 1700))
"""Centre as part of the slide's size, radius at full size."""

Field = npt.NDArray[np.float32]
Stain = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
T = TypeVar("T")
S = TypeVar("S", bound=np.generic)
Blocks = dict[tuple[int, int], T]  # by column and row


def noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float], octaves: int = 1
) -> Field:
    """Return smooth periodic noise about 0, nearly all within ±2.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (int, int)
        Rows and columns of the result.
    cell : (float, float)
        Rows and columns from one bump to the next.
    octaves : int
        Each adds noise half as large, in cells half as wide.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows = max(1, round(shape[0] * 2**octave / cell[0]))
        cols = max(1, round(shape[1] * 2**octave / cell[1]))
        coarse = np.pad(rng.standard_normal((rows, cols)).astype(np.float32), 2, "wrap")
        image = Image.fromarray(coarse).resize(
            (shape[1], shape[0]), Image.Resampling.BICUBIC, (2, 2, 2 + cols, 2 + rows)
        )
        total += np.asarray(image) * np.float32(0.5**octave)
    return total


def _one(shape: shapely.Geometry) -> shapely.Polygon:
    """Return the largest part of what may have come apart."""
    return max(shapely.get_parts(shape), key=shapely.area, default=shapely.Polygon())


def _blob(
    rng: np.random.Generator,
    centre: npt.ArrayLike,
    radii: npt.ArrayLike,
    rough: float,
    waves: int,
    turn: float | None = None,
) -> shapely.Polygon:
    """Return a round outline with irregular bulges, its axes turned as said or at random."""
    angle = np.linspace(0, 2 * np.pi, 8 * waves + 1)[:-1]
    wave = np.arange(2, waves)[:, None]
    phase, height = rng.uniform(0, 7, wave.shape), rng.normal(0, rough, wave.shape)
    radius = np.clip(1 + (height / wave**1.3 * np.cos(wave * angle + phase)).sum(axis=0), 0.35, 2)
    u, v = np.asarray(radii, float)[:, None] * radius * (np.cos(angle), np.sin(angle))
    turn = rng.uniform(0, np.pi) if turn is None else turn
    x, y = u * math.cos(turn) - v * math.sin(turn), u * math.sin(turn) + v * math.cos(turn)
    return _one(shapely.Polygon(np.stack([x, y], axis=1) + np.asarray(centre)).buffer(0))


def _nucleus(
    rng: np.random.Generator, axes_um: tuple[float, float], turn: float, stain: float, pale: float
) -> Stain:
    """Return the stain of a nucleus: dark rim, paler inside, grains of chromatin, a nucleolus."""
    a, b = np.array(axes_um) * _UM * rng.uniform(0.85, 1.2, 2)
    half = math.ceil(max(a, b) * 1.3) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    wave = np.arange(2, 5)[:, None, None]
    bulges = np.cos(wave * np.arctan2(v, u) + rng.uniform(0, 7, wave.shape))
    depth = 1 - np.hypot(u / a, v / b) / (1 + (rng.normal(0, 0.05, wave.shape) * bulges).sum(0))
    density = stain * rng.uniform(0.8, 1.15) * (1 - pale * np.clip(depth * 1.8, 0, 1))
    density *= 1 + 0.16 * noise(rng, (2 * half + 1, 2 * half + 1), (4, 4))
    at = rng.uniform(-0.35, 0.35, 2) * (a, b)
    density += 220 * pale * np.exp(-((u - at[0]) ** 2 + (v - at[1]) ** 2) / 3.5)
    density *= np.clip(depth * min(a, b) / 1.6 + 0.5, 0, 1)
    stain_amounts: Stain = np.clip(density, 0, 255).astype(np.uint8)
    return stain_amounts


class Scene:
    """What is to be painted.

    Parameters
    ----------
    columns, rows : int
        Size of the slide in blocks.

    Attributes
    ----------
    blocks : (int, int)
        Columns and rows.
    eosin, haematoxylin, cover, nests : PIL.Image
        Maps of 8 µm per pixel, with one more pixel on each side.
    along, across : ndarray
        Where in the texture of fibres the corners of the quads lie, pixels of 1 µm.
    tumours : list of shapely.Polygon
    outlines : dict
        By block and material: rings of painted outlines, pixels of the block with its margin.
    nuclei : dict
        By block: left, top and stamp of each nucleus, pixels of the block.
    stamps : list of ndarray
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.blocks = (columns, rows)
        self._rng = np.random.default_rng(20200701)
        self._size = np.array([columns, rows]) * BLOCK_PX
        self._shape = (rows * BLOCK_PX // PLAN_PX, columns * BLOCK_PX // PLAN_PX)
        self._full = min(columns / 32, rows / 24)  # what is large shrinks with the slide
        self._shapes: list[tuple[str, shapely.Polygon]] = []
        self._placed: list[Points] = []
        self.stamps: list[Stain] = []
        for axes, stain, pale in _NUCLEI.values():
            turns = np.arange(_STAMPS) * math.pi / _STAMPS
            self.stamps += [_nucleus(self._rng, axes, it, stain, pale) for it in turns]
        self._plan()
        self.outlines = self._outlines_by_block()
        self.nuclei = self._nuclei_by_block()

    def _plan(self) -> None:
        full = self._full
        angle, streaks = self._lay_fibres()
        outline = _blob(self._rng, self._size / 2, self._size * (0.46, 0.44), 0.15, 16, turn=0)
        inside = self._soft([outline], 8 * full + 2)
        tissue = np.clip((inside - 0.5 + 0.08 * self._map((30, 30), 3)) * 4 + 0.5, 0, 1)
        # The truth is what is painted: both follow the simplified outline.
        self.tumours = [
            _one(
                _blob(self._rng, self._size * at, radius * _OVAL * full, 0.36, 20).simplify(PLAN_PX)
            )
            for at, radius in _TUMOURS
        ]
        invaded = self._soft(self.tumours, 7 * full + 1)
        nests = self._nests() * (tissue > 0.9)
        fat = self._fat_lobes(invaded) * (tissue > 0.5)
        free = (invaded < 0.02) & (fat < 0.1) & (inside > 0.97)
        about = self._soft(self._glands(free), 3)
        self._fat_cells(fat, (tissue > 0.9) * (about < 0.05) * (1 - 0.75 * invaded))
        at = self._strewn(nests * (nests > 0.9), 46)
        for centre in at[self._rng.random(len(at)) < 0.3]:  # small lumens of the tumour's own
            self._outline("lumen", centre, self._rng.uniform(5, 13, 2), 0.2)

        stroma = 108 + 15 * streaks + 12 * self._map((70, 90), 3)
        stroma *= 1 - 0.3 * about - 0.2 * invaded
        self.eosin = _padded(stroma * (1 - fat) + fat * (105 + 18 * self._map((20, 20), 2)))
        blue = 9 + 34 * about + 24 * invaded + 5 * self._map((25, 25), 2)
        self.haematoxylin = _padded(blue * (1 - 0.8 * fat))
        self.cover, self.nests = _padded(tissue * 255), _padded(nests * 255)

        calm = (tissue > 0.9) * (1 - fat) * (nests < 0.3)
        self._scatter(calm * (0.13 + 0.22 * invaded + 0.04 * streaks), 18, "spindle", angle)
        inflamed = np.clip(self._map((45, 45), 2) - 1.1, 0, 1) * (0.06 + 0.8 * invaded)
        self._scatter(calm * inflamed, 8, "round")
        self._scatter(calm * about * 0.5, 13, "oval")
        dense = 0.75 + 0.18 * self._map((60, 60), 2)
        self._scatter(np.clip(nests * 3 - 1, 0, 1) * dense, 10.6, "tumour")

    def _map(self, cell: tuple[float, float], octaves: int = 1) -> Field:
        return noise(self._rng, self._shape, cell, octaves)

    def _soft(self, shapes: Iterable[shapely.Polygon], blur: float) -> Field:
        """Return a map of 1 inside the shapes, falling to 0 across `blur` pixels."""
        picture = Image.new("L", self._shape[::-1])
        draw = ImageDraw.Draw(picture)
        for it in shapes:
            draw.polygon((shapely.get_coordinates(it) / PLAN_PX).ravel().tolist(), fill=255)
        soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(blur)), np.float32)
        soft /= 255
        return soft

    def _lay_fibres(self) -> tuple[Field, Field]:
        """Bend the texture of fibres; return their angle, and streaks along them."""
        y, x = np.ogrid[: self._shape[0], : self._shape[1]]
        full, bend = self._full, np.float32(2300 * self._full)
        slope = np.float32(PLAN_PX * 0.9), np.float32(PLAN_PX * 0.42)
        across = slope[0] * y - slope[1] * x + bend * self._map((420 * full, 420 * full))
        along = slope[0] * x + slope[1] * y + bend * self._map((500 * full, 500 * full))
        corners = (slice(None, None, QUAD_PX // PLAN_PX),) * 2
        self.along, self.across = (
            np.pad(it, ((1, 8), (1, 8)), "reflect", reflect_type="odd")[corners] / _UM
            for it in (along, across)
        )
        angle = np.arctan2(-np.gradient(across, axis=1), np.gradient(across, axis=0))
        at = tuple(it.astype(np.int32) // PLAN_PX % 1024 for it in (across, along))
        return angle, noise(self._rng, (1024, 1024), (3.5, 35), 2)[at]

    def _nests(self) -> Field:
        """Return where tumour cells are: in sheets, in cords, in nests; frayed at the outline."""
        nests = np.full(self._shape, -1, np.float32)
        for tumour, pattern in zip(self.tumours, range(3), strict=True):
            reach = (self._soft([tumour], 10 * self._full + 2) - 0.5) * 5
            grain = self._map((13, 13), 2)
            growth = (grain + 0.5, 0.4 - abs(grain), grain + 0.15)[pattern]
            np.maximum(nests, np.minimum(growth, reach + 0.7 * self._map((24, 24), 2)), out=nests)
        grown: Field = np.clip(nests * 2.2 + 0.5, 0, 1)
        return grown

    def _fat_lobes(self, invaded: Field) -> Field:
        y, x = (np.arange(side, dtype=np.float32) / side for side in self._shape)
        fat = 2.4 * (0.42 - x) + 1.6 * (y[:, None] - 0.45)
        fat = fat + 0.75 * self._map((230 * self._full, 300 * self._full), 5)
        fat -= np.clip(1 - 5 * abs(self._map((90, 120), 2)), 0, 1)  # septa
        lobes: Field = np.clip((fat - 3.5 * invaded + 0.1) * 3, 0, 1)
        return lobes

    def _grid(self, spacing_um: float, box: Iterable[float], jitter: float = 0.42) -> Points:
        """Return points in a box (left, top, right, bottom), evenly spread but in no order."""
        step, (left, top, right, bottom) = spacing_um * _UM, box
        x, y = np.meshgrid(np.arange(left, right, step), np.arange(top, bottom, step * _ROW_STEP))
        x[1::2] += step / 2
        at = np.stack([x.ravel(), y.ravel()], axis=1)
        return at + self._rng.uniform(-jitter, jitter, at.shape) * step

    def _at(self, values: npt.NDArray[S], at: Points) -> npt.NDArray[S]:
        """Return the values of a map at points; those beyond the slide have those of its edge."""
        column, row = (np.clip(at, 0, self._size - 1) // PLAN_PX).astype(int).T
        found: npt.NDArray[S] = values[row, column]
        return found

    def _strewn(self, chance: Field, spacing_um: float) -> Points:
        """Return points of a grid over the slide, each kept with its chance."""
        kept: list[Points] = []
        width, height = self._size.tolist()
        band = 40 * spacing_um * _UM * _ROW_STEP  # for memory's sake; whole pairs of rows
        for number in range(math.ceil(height / band)):
            at = self._grid(spacing_um, (0, number * band, width, (number + 0.999) * band))
            kept.append(at[self._rng.random(len(at)) < self._at(chance, at)])
        return np.concatenate(kept)

    def _scatter(
        self, chance: Field, spacing_um: float, kind: str, angle: Field | None = None
    ) -> None:
        """Strew nuclei, but not into what is outlined."""
        at = self._strewn(chance, spacing_um)
        outlined = shapely.STRtree([shape for _, shape in self._shapes])
        hit = outlined.query(shapely.points(at), predicate="intersects")[0]
        at = np.delete(at, hit, axis=0)
        self._place(kind, at, None if angle is None else self._at(angle, at).astype(float))

    def _place(self, kind: str, at: Points, angle: Points | None = None) -> None:
        """Place nuclei, turned by an angle or at random."""
        turn = self._rng.random(len(at)) if angle is None else angle / np.pi
        number = np.floor((turn + self._rng.normal(0, 0.04, len(at))) * _STAMPS) % _STAMPS
        self._placed.append(np.column_stack([at, number + _STAMPS * list(_NUCLEI).index(kind)]))

    def _rim(self, outline: shapely.Polygon, depth_um: float, pitch_um: float, kind: str) -> None:
        """Line an outline with nuclei: across it if oval, along it if spindles."""
        ring = _one(outline.buffer(-depth_um * _UM)).exterior
        places = np.arange(0, ring.length, pitch_um * _UM)
        if len(places):
            self._place(kind, *self._tangents(ring, places, np.pi / 2 if kind == "oval" else 0))

    def _tangents(self, ring: npt.ArrayLike, places: Points, turn: float) -> tuple[Points, Points]:
        ends = [shapely.line_interpolate_point(ring, places + step) for step in (0, 3)]
        first, second = (shapely.get_coordinates(it) for it in ends)
        x, y = (second - first).T
        return first + self._rng.normal(0, 0.6 * _UM, first.shape), np.arctan2(y, x) + turn

    def _outline(
        self, material: str, centre: Points, radii_um: npt.ArrayLike, rough: float
    ) -> shapely.Polygon:
        shape = _blob(self._rng, centre, np.asarray(radii_um) * _UM, rough, 4)
        self._shapes.append((material, shape))
        return shape

    def _fat_cells(self, fat: Field, elsewhere: Field) -> None:
        """Outline fat cells: packed ones in fat, single ones strewn in clusters elsewhere."""
        at = self._strewn((fat > 0).astype(np.float32), 64)
        cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(at)))
        middle = shapely.get_coordinates(shapely.centroid(cells))
        cells = cells[(self._at(fat, middle) > 0.5) & (shapely.area(cells) < (95 * _UM) ** 2)]
        shrunk = shapely.buffer(cells, -15 * _UM, quad_segs=3)
        rounded = [_one(it) for it in shapely.buffer(shrunk, 13.7 * _UM, quad_segs=4)]
        cells = np.array([it for it in rounded if not it.is_empty], object)
        self._shapes += [("vacuole", cell) for cell in cells]
        # Their nuclei are pressed flat against the wall.
        some = shapely.buffer(cells[self._rng.random(len(cells)) < 0.3], 0.8 * _UM)
        walls = shapely.get_exterior_ring(some)
        self._place("spindle", *self._tangents(walls, self._rng.random(len(walls)) * 150, 0))

        clusters = np.clip(self._map((110, 160), 3) - 0.8, 0.008, 0.5)
        for centre in self._strewn(clusters * elsewhere * (fat < 0.05), 85):
            self._outline("vacuole", centre, np.full(2, self._rng.uniform(18, 34)), 0.3)

    def _glands(self, free: npt.NDArray[np.bool_]) -> list[shapely.Polygon]:
        """Outline lobules, ducts, vessels and ducts full of tumour; return the lobules."""
        rng, taken, lobules = self._rng, shapely.Polygon(), []
        wanted = {
            "filled": (4, 320, 330),
            "lobule": (34, 220, 430),
            "duct": (22, 90, 300),
            "vessel": (14, 60, 180),
        }
        for what, (count, low, high) in wanted.items():
            missing = math.ceil(count * self._full**2)
            for _ in range(40 * missing):
                at, radius = rng.random(2) * self._size, rng.uniform(low, high)
                room = shapely.Point(at).buffer(radius * _UM)
                inside = self._at(free, shapely.get_coordinates(room)).all()
                if not inside or taken.intersects(room):
                    continue
                taken = taken.union(room)
                if what == "lobule":
                    lobules.append(self._lobule(at, radius * 0.9))
                elif what == "duct":
                    self._gland(at, (radius * 0.85, rng.uniform(38, 75)), rng.uniform(15, 21))
                elif what == "filled":
                    self._filled_duct(at, rng.uniform(170, 270))
                else:
                    self._vessel(at, radius * 0.6)
                missing -= 1
                if not missing:
                    break
        return lobules

    def _lobule(self, centre: Points, radius_um: float) -> shapely.Polygon:
        radii = np.array([1, 0.75]) * radius_um * _UM
        lobule = _blob(self._rng, centre, radii, 0.35, 8)
        at = self._grid(self._rng.uniform(56, 70), lobule.bounds, 0.2)
        for acinus in at[shapely.contains_xy(lobule, at)]:
            self._gland(acinus, self._rng.uniform(19, 30, 2), self._rng.uniform(12, 17))
        return lobule

    def _gland(self, centre: Points, radii_um: npt.ArrayLike, wall_um: float) -> None:
        outline = self._outline("epithelium", centre, radii_um, 0.3)
        self._shapes.append(("lumen", _one(outline.buffer(-wall_um * _UM))))
        self._rim(outline, 4.5, 6.2, "oval")
        if wall_um > 14:
            self._rim(outline, 11, 8.5, "oval")
        self._rim(outline, -1.5, 24, "spindle")

    def _filled_duct(self, centre: Points, radius_um: float) -> None:
        """Fill a duct with tumour cells around holes and a dead centre: it is not invasive."""
        outline = self._outline("epithelium", centre, (radius_um, radius_um), 0.12)
        holes = [_one(outline.buffer(-120 * _UM))]
        self._shapes.append(("necrosis", holes[0]))
        living = outline.buffer(-32 * _UM).difference(holes[0].buffer(22 * _UM))
        at = self._grid(48, outline.bounds, 0.3)
        for hole in at[shapely.contains_xy(living, at)]:
            holes.append(self._outline("lumen", hole, self._rng.uniform(8, 17, 2), 0.2))
        living = outline.buffer(-5 * _UM).difference(shapely.union_all(holes).buffer(5 * _UM))
        at = self._grid(10.6, outline.bounds)
        self._place("tumour", at[shapely.contains_xy(living, at)])
        self._rim(outline, -2, 16, "spindle")

    def _vessel(self, centre: Points, radius_um: float) -> None:
        outline = self._outline("wall", centre, np.array([1.3, 1]) * radius_um, 0.25)
        lumen = _one(outline.buffer(-radius_um * _UM * 0.35))
        self._shapes.append(("lumen", lumen))
        pool = shapely.affinity.translate(lumen, radius_um * 0.5, radius_um * 0.4)
        self._shapes.append(("blood", _one(pool.intersection(lumen.buffer(-3 * _UM)))))
        for depth in np.arange(3, radius_um * 0.33, 8):
            self._rim(outline, depth, 17, "spindle")

    def _outlines_by_block(self) -> Blocks[dict[str, list[list[int]]]]:
        blocks: Blocks[dict[str, list[list[int]]]] = {}
        for material, shape in self._shapes:
            if shape.is_empty:
                continue
            # Whole numbers: a shape falls on the same pixels whichever block it is drawn in.
            ring = np.rint(shapely.get_coordinates(shape.exterior)).astype(np.int64)
            (left, right), (top, bottom) = (
                ((low - MARGIN_PX) // BLOCK_PX, (high + MARGIN_PX) // BLOCK_PX)
                for low, high in zip(
                    ring.min(axis=0).tolist(), ring.max(axis=0).tolist(), strict=True
                )
            )
            for block in itertools.product(range(left, right + 1), range(top, bottom + 1)):
                shifted = ring - np.array(block) * BLOCK_PX + MARGIN_PX
                of_block = blocks.setdefault(block, {})
                of_block.setdefault(material, []).append(shifted.ravel().tolist())
        return blocks

    def _nuclei_by_block(self) -> Blocks[npt.NDArray[np.int64]]:
        placed = np.rint(np.concatenate(self._placed)).astype(np.int64)
        sides = np.array([len(it) for it in self.stamps])[placed[:, 2], None]
        placed[:, :2] -= sides // 2
        first, last = placed[:, :2] // BLOCK_PX, (placed[:, :2] + sides) // BLOCK_PX
        blocks: Blocks[list[int]] = {}
        for number, (left, top, right, bottom) in enumerate(np.hstack([first, last]).tolist()):
            for block in itertools.product(range(left, right + 1), range(top, bottom + 1)):
                blocks.setdefault(block, []).append(number)
        return {
            block: placed[numbers] - (*np.array(block) * BLOCK_PX, 0)
            for block, numbers in blocks.items()
        }


def _padded(values: npt.NDArray[np.floating]) -> Image.Image:
    whole = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Image.fromarray(np.pad(whole, 1, "edge"))
