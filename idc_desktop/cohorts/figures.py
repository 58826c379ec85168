"""What the tables of a cohort say of a finished slide."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from idc_desktop.export.cells import number_cell, text_cell
from idc_desktop.export.content import Analysis, Content
from idc_desktop.export.overlay import paint_map
from idc_desktop.maps.probability_map import MapLayer
from idc_desktop.regions.diameter import diameter_of
from idc_desktop.regions.foci import Focus, find_foci

FIGURES = (
    "Patches",
    "Patches analyzed",
    "Patches failed",
    "Patches excluded",
    "Analyzed area µm^2",
    "IDC area µm^2",
    "IDC fraction",
    "Foci",
    "Largest focus µm^2",
    "Max diameter µm",
    "Threshold",
    "Model",
    "Model SHA-256",
    "Map",
    "mpp used",
    "mpp source",
    "Provider",
)
"""The columns that a slide without results has empty."""

_THUMBNAIL_PX = (200, 140)
_THUMBNAIL_QUALITY = 80


def figures_of(analysis: Analysis, foci: Sequence[Focus] | None = None) -> dict[str, str]:
    """Return the cells of a slide, by column: those of its `regions.csv`, and its foci.

    Parameters
    ----------
    foci : sequence of Focus, optional
        By the default rules, if they are at hand.
    """
    whole = Content(analysis, (), "").figures[-1]
    if foci is None:
        foci = find_foci(analysis.layer, analysis.mpp, analysis.threshold)
    largest = foci[0] if foci else None
    numbers = (
        whole.patches,
        whole.patches_analyzed,
        whole.patches_failed,
        analysis.map.counts()["excluded"],
        _analyzed_um2(analysis.layer, analysis.mpp),
        whole.idc_area_um2,
        whole.idc_fraction,
        len(foci),
        None if largest is None else largest.area_um2,
        None if largest is None else diameter_of([largest.shape], analysis.mpp).length,
        analysis.threshold,
    )
    texts = (
        text_cell(analysis.model.card.name),
        analysis.model.sha256,
        analysis.map_kind,
        number_cell(analysis.mpp[0]),
        analysis.slide.mpp_source or "",
        analysis.provider.used,
    )
    return dict(zip(FIGURES, (*map(number_cell, numbers), *texts), strict=True))


def thumbnail_of(analysis: Analysis) -> str:
    """Return the slide with its map as a small JPEG, in base64."""
    overview = Image.fromarray(analysis.overview)
    width = overview.width
    overview.thumbnail(_THUMBNAIL_PX, Image.Resampling.BOX)
    px_l0 = analysis.overview_px_l0 * width / overview.width
    small = replace(analysis, overview=np.asarray(overview), overview_px_l0=px_l0)
    file = io.BytesIO()
    paint_map(small).save(file, "JPEG", quality=_THUMBNAIL_QUALITY)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _analyzed_um2(layer: MapLayer, mpp: tuple[float, float]) -> float:
    """Return the area of the analyzed patches, as far as they lie on the slide."""
    grid = layer.grid
    widths = np.diff(np.minimum(grid.column_edges_l0(), grid.right_l0))
    heights = np.diff(np.minimum(grid.row_edges_l0(), grid.bottom_l0))
    return float((np.outer(heights, widths) * layer.analyzed).sum() * (mpp[0] * mpp[1]))
