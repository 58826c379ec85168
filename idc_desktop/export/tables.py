"""Tables: patches.csv, regions.csv and QuPath's measurement table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter

from idc_desktop.export.cells import csv_text, number_cell, text_cell
from idc_desktop.export.content import Content
from idc_desktop.export.patches import Patch, shown_patches
from idc_desktop.maps.probability_map import PatchState
from idc_desktop.maps.shield_notes import cautions
from idc_desktop.regions.diameter import diameter_of
from idc_desktop.regions.statistics import RegionStatistics

PATCH_COLUMNS = (
    "minx",
    "miny",
    "width",
    "height",
    "prob_Other",
    "prob_IDC",
    "row",
    "col",
    "status",
    "prob_IDC_context",
    "uncertainty",
    "excluded_reason",
)
"""WSInfer's six columns first; those of layers that a run does not have are empty."""

REGION_COLUMNS = (
    "Image",
    "Name",
    "Classification",
    "ROI",
    "Centroid X µm",
    "Centroid Y µm",
    "Area µm^2",
    "Perimeter µm",
    "Patches",
    "Patches analyzed",
    "Patches failed",
    "Coverage %",
    "IDC patches",
    "IDC fraction",
    "IDC area µm^2",
    "Mean probability",
    "Median probability",
    "Max probability",
    "Threshold",
    "Model",
    "Model SHA-256",
    "mpp used",
    "mpp source",
    "Provider",
    "Map",
    "Mean uncertainty",
    "Patches excluded",
    "Verdict",
    "Note",
    "Max diameter µm",
    "Accepted IDC area µm^2",
)
"""Those of layers and judgements that an analysis does not have are empty."""

_FIGURES = {
    "Centroid X µm": attrgetter("centroid_x_um"),
    "Centroid Y µm": attrgetter("centroid_y_um"),
    "Area µm^2": attrgetter("area_um2"),
    "Perimeter µm": attrgetter("perimeter_um"),
    "Patches": attrgetter("patches"),
    "Patches analyzed": attrgetter("patches_analyzed"),
    "Patches failed": attrgetter("patches_failed"),
    "Coverage %": attrgetter("coverage_percent"),
    "IDC patches": attrgetter("idc_patches"),
    "IDC fraction": attrgetter("idc_fraction"),
    "IDC area µm^2": attrgetter("idc_area_um2"),
    "Mean probability": attrgetter("mean_probability"),
    "Median probability": attrgetter("median_probability"),
    "Max probability": attrgetter("max_probability"),
}
"""What is measured of a region, in the order of the columns."""

_WSINFER_COLUMNS = PATCH_COLUMNS[:6]
_PROBABILITIES = PATCH_COLUMNS[4:6]
_FURTHER_LAYERS = PATCH_COLUMNS[9:11]

_QUPATH_COLUMNS = (
    "Image",
    "Object ID",
    "Object type",
    "Name",
    "Classification",
    "Parent",
    "ROI",
    "Centroid X µm",
    "Centroid Y µm",
    "Area µm^2",
    "Perimeter µm",
    "Num Detections",
    "Num IDC",
    "Num Other",
    "Num IDC per mm^2",
    "Num Other per mm^2",
)


def patches_csv(content: Content) -> str:
    """Return patches.csv."""
    rows = []
    for patch in shown_patches(content.analysis.map):
        further = _values(patch, _FURTHER_LAYERS)
        state, place = patch.state.label, (patch.row, patch.col)
        why = text_cell(patch.excluded_reason)
        rows.append((*patch.box, *_values(patch, _PROBABILITIES), *place, state, *further, why))
    return csv_text(PATCH_COLUMNS, rows)


def wsinfer_csv(content: Content) -> str:
    """Return the analyzed patches in WSInfer's columns and no others."""
    rows = [
        (*patch.box, *_values(patch, _PROBABILITIES))
        for patch in shown_patches(content.analysis.map)
        if patch.state is PatchState.OK
    ]
    return csv_text(_WSINFER_COLUMNS, rows)


def regions_csv(content: Content) -> str:
    """Return regions.csv."""
    return csv_text(REGION_COLUMNS, _region_rows(content))


def _region_rows(content: Content) -> Iterator[tuple[object, ...]]:
    analysis = content.analysis
    tail = (
        repr(analysis.threshold),
        text_cell(analysis.model.card.name),
        analysis.model.sha256,
        repr(analysis.mpp[0]),
        analysis.slide.mpp_source,
        analysis.provider.used,
        analysis.map_kind,
    )
    caution = " ".join(cautions(analysis.notes))
    last = len(content.regions)
    each = zip(
        content.rows, content.figures, content.uncertainties, content.accepted_um2, strict=True
    )
    for number, (region, figures, uncertainty, accepted) in enumerate(each):
        head = (analysis.image, region.name, region.classification, region.shape.roi)
        numbers = (number_cell(it(figures)) for it in _FIGURES.values())
        excluded = str(figures.patches_excluded) if analysis.map.is_shielded else ""
        layers = (number_cell(uncertainty), excluded)
        note = region.note or (caution if number == last else "")
        said = (region.verdict, text_cell(note))
        longest = number_cell(diameter_of([region.shape], analysis.mpp).length)
        own = (*layers, *said, longest, number_cell(accepted))
        yield (*map(text_cell, head), *numbers, *tail, *own)


def measurement_table(content: Content) -> str:
    """Return the annotations as QuPath tabulates them, tab-separated, with figures of ours."""
    image = content.analysis.image
    rows = []
    for region, figures in zip(content.rows, content.figures, strict=True):
        analyzed, idc = figures.patches_analyzed, figures.idc_patches
        area_mm2 = figures.area_um2 / 1e6
        head = (image, region.id, "Annotation", region.name, region.known_as[0], "Image")
        numbers = (
            figures.centroid_x_um,
            figures.centroid_y_um,
            figures.area_um2,
            figures.perimeter_um,
            analyzed,
            idc,
            analyzed - idc,
            idc / area_mm2,
            (analyzed - idc) / area_mm2,
            *named_figures(figures).values(),
        )
        rows.append((*map(text_cell, head), region.shape.roi, *map(number_cell, numbers)))
    return csv_text((*_QUPATH_COLUMNS, *named_figures(content.figures[-1])), rows, "\t")


def named_figures(figures: RegionStatistics) -> dict[str, float | None]:
    """Return what QuPath does not measure itself, under the names of regions.csv."""
    own = ("Coverage %", "IDC fraction", "IDC area µm^2", "Mean probability")
    wanted = (*own, "Median probability", "Max probability")
    return {name: _FIGURES[name](figures) for name in wanted}


def _values(patch: Patch, columns: Iterable[str]) -> list[str]:
    """Return values by column, empty where the patch has none."""
    known = patch.measurements
    return [f"{known[it]:.6f}" if it in known else "" for it in columns]
