"""The contract computed a second time, slowly and from its text alone.

µm frames start at the slide's top left corner. Nothing of the application is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openslide
import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from tests.support.models import TinyModel
from tests.support.scenes import Cell, Scene

CELL_UM = 400.0
PATCH_COLUMNS = [
    "minx", "miny", "width", "height", "prob_Other", "prob_IDC", "row", "col", "status",
    "prob_IDC_context", "uncertainty", "excluded_reason",
]  # fmt: skip
REGION_COLUMNS = [
    "Image", "Name", "Classification", "ROI", "Centroid X µm", "Centroid Y µm", "Area µm^2",
    "Perimeter µm", "Patches", "Patches analyzed", "Patches failed", "Coverage %", "IDC patches",
    "IDC fraction", "IDC area µm^2", "Mean probability", "Median probability", "Max probability",
    "Threshold", "Model", "Model SHA-256", "mpp used", "mpp source", "Provider", "Map",
    "Mean uncertainty", "Patches excluded", "Verdict", "Note", "Max diameter µm",
    "Accepted IDC area µm^2",
]  # fmt: skip
NOTICE = "For Research Use Only. Not for use in diagnostic procedures."


@dataclass(frozen=True)
class Grid:
    """The patch grid of a slide without bounds."""

    width: int
    height: int
    mpp_x: float
    mpp_y: float

    @classmethod
    def of(cls, path: Path, mpp: tuple[float, float] | None = None) -> Grid:
        """Lay the grid over a slide file, with the mpp that OpenSlide reads from it."""
        with openslide.OpenSlide(path) as slide:
            if mpp is None:
                mpp = (
                    float(slide.properties[openslide.PROPERTY_NAME_MPP_X]),
                    float(slide.properties[openslide.PROPERTY_NAME_MPP_Y]),
                )
            return cls(*slide.dimensions, *mpp)

    @property
    def step(self) -> tuple[float, float]:
        """Size of a cell in level-0 pixels."""
        return CELL_UM / self.mpp_x, CELL_UM / self.mpp_y

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        step_x, step_y = self.step
        return math.ceil(self.height / step_y - 1e-6), math.ceil(self.width / step_x - 1e-6)

    @property
    def cells(self) -> list[Cell]:
        """Every (row, col), row by row."""
        rows, cols = self.shape
        return [(row, col) for row in range(rows) for col in range(cols)]

    @property
    def slide_um(self) -> BaseGeometry:
        """The slide's rectangle, µm."""
        return shapely.box(0, 0, self.width * self.mpp_x, self.height * self.mpp_y)

    def box_px(self, cell: Cell) -> tuple[int, int, int, int]:
        """Return minx, miny, width, height as they stand in patches.csv."""
        row, col = cell
        step_x, step_y = self.step
        minx, miny = math.floor(col * step_x + 0.5), math.floor(row * step_y + 0.5)
        maxx = min(self.width, math.floor((col + 1) * step_x + 0.5))
        maxy = min(self.height, math.floor((row + 1) * step_y + 0.5))
        return minx, miny, maxx - minx, maxy - miny

    def cell_um(self, cell: Cell) -> BaseGeometry:
        """Return the whole cell, µm, also where it reaches beyond the slide."""
        row, col = cell
        return shapely.box(col * CELL_UM, row * CELL_UM, (col + 1) * CELL_UM, (row + 1) * CELL_UM)

    def to_um(self, region_px: BaseGeometry) -> BaseGeometry:
        """Scale a geometry from level-0 pixels to µm."""
        return affinity.scale(region_px, self.mpp_x, self.mpp_y, origin=(0, 0))


def averaged_patches(
    level: npt.NDArray[np.uint8], grid: Grid, cells: Iterable[Cell]
) -> npt.NDArray[np.uint8]:
    """Cut 50 x 50 patches out of one level by exact area average; beyond the slide is white."""
    height, width = level.shape[:2]
    white = 255.0 - level.astype(np.float64)
    patches = []
    for row, col in cells:
        down, rows = _coverage(row, grid.step[1] * height / grid.height, height)
        across, cols = _coverage(col, grid.step[0] * width / grid.width, width)
        darkness = np.einsum("iy,yxc,jx->ijc", down, white[rows, cols], across, optimize=True)
        patches.append(np.floor(255.0 - darkness + 0.5).astype(np.uint8))
    return np.stack(patches)


def _coverage(index: int, step: float, length: int) -> tuple[npt.NDArray[np.float64], slice]:
    """Return the share of every source pixel in each of a cell's 50 pixels, and which those are.

    What a pixel lacks to a whole share lies outside the slide.
    """
    edges = (index * 50 + np.arange(51)) * step / 50
    touched = slice(math.floor(edges[0]), min(length, math.ceil(edges[-1])))
    pixels = np.arange(touched.start, touched.stop)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) / (step / 50), touched


def probabilities(scene: Scene, model: TinyModel, grid: Grid, level: int) -> dict[Cell, float]:
    """Return P(IDC) of every tissue cell, rounded to the 6 decimals that are stored."""
    cells = sorted(scene.tissue)
    values = model.probability(averaged_patches(scene.levels[level], grid, cells))
    return {cell: round(float(value), 6) for cell, value in zip(cells, values, strict=True)}


def patch_rows(
    grid: Grid, ok: Mapping[Cell, float], failed: Mapping[Cell, str] | None = None
) -> list[dict[str, str]]:
    """Return the rows of patches.csv as text."""
    rows = []
    for cell in sorted({*ok, *(failed or {})}):
        minx, miny, width, height = grid.box_px(cell)
        probability = ok.get(cell)
        rows.append(
            {
                "minx": str(minx),
                "miny": str(miny),
                "width": str(width),
                "height": str(height),
                "prob_Other": "" if probability is None else f"{1 - probability:.6f}",
                "prob_IDC": "" if probability is None else f"{probability:.6f}",
                "row": str(cell[0]),
                "col": str(cell[1]),
                "status": "ok" if probability is not None else (failed or {})[cell],
                "prob_IDC_context": "",
                "uncertainty": "",
                "excluded_reason": "",
            }
        )
    return rows


def region_numbers(
    grid: Grid,
    region_px: BaseGeometry,
    ok: Mapping[Cell, float],
    threshold: float,
    failed: Iterable[Cell] = (),
) -> dict[str, float | int | None]:
    """Return the numeric cells of a region's row; None stands for an empty cell."""
    region = grid.to_um(region_px)
    seen = shapely.intersection(region, grid.slide_um)
    inside = {cell for cell in grid.cells if _holds_centre(seen, grid.cell_um(cell))}
    weights = {cell: shapely.intersection(grid.cell_um(cell), seen).area for cell in ok}
    weights = {cell: weight for cell, weight in weights.items() if weight > 0}
    total = math.fsum(weights.values())
    positive = math.fsum(weight for cell, weight in weights.items() if ok[cell] >= threshold)
    weighted = math.fsum(weight * ok[cell] for cell, weight in weights.items())
    counted = inside & set(ok)
    corners = shapely.get_coordinates(region)
    return {
        "Centroid X µm": region.centroid.x,
        "Centroid Y µm": region.centroid.y,
        "Area µm^2": region.area,
        "Perimeter µm": region.length,
        "Patches": len(inside),
        "Patches analyzed": len(counted),
        "Patches failed": len(inside & set(failed)),
        "Coverage %": 100 * total / region.area,
        "IDC patches": sum(ok[cell] >= threshold for cell in counted),
        "IDC fraction": positive / total if total else None,
        "IDC area µm^2": positive,
        "Mean probability": weighted / total if total else None,
        "Median probability": _median(weights, ok, total) if total else None,
        "Max probability": max(ok[cell] for cell in weights) if total else None,
        "Max diameter µm": max(math.dist(one, two) for one in corners for two in corners),
    }


def _holds_centre(region: BaseGeometry, cell: BaseGeometry) -> bool:
    """Left and top edges belong to a region, right and bottom edges do not."""
    centre = cell.centroid
    nudged = shapely.Point(centre.x + 2e-7, centre.y + 1e-7)
    return bool(region.contains(nudged))


def _median(weights: Mapping[Cell, float], ok: Mapping[Cell, float], total: float) -> float:
    reached = 0.0
    for cell in sorted(weights, key=lambda item: ok[item]):
        reached += weights[cell]
        if reached >= total / 2:
            return ok[cell]
    raise AssertionError("the weights do not add up")
