"""measurements.csv: what was measured and marked on the slide by hand."""

from __future__ import annotations

from itertools import chain

from idc_desktop.export.cells import csv_text, number_cell, text_cell
from idc_desktop.export.content import Content

COLUMNS = (
    "Image",
    "Name",
    "Kind",
    "Length µm",
    "Angle °",
    "X1 px",
    "Y1 px",
    "X2 px",
    "Y2 px",
    "X3 px",
    "Y3 px",
)
"""Points are level-0 pixels; of an angle the second is its corner, of an arrow its tip."""


def measurements_csv(content: Content) -> str:
    """Return measurements.csv."""
    image, mpp = text_cell(content.analysis.image), content.analysis.mpp
    rows = []
    for mark in content.marks:
        figures = (mark.length(mpp), mark.angle_deg(mpp))
        places = map(number_cell, chain.from_iterable(mark.points))
        row = (image, text_cell(mark.name), mark.kind, *map(number_cell, figures), *places)
        rows.append((*row, *[""] * (len(COLUMNS) - len(row))))
    return csv_text(COLUMNS, rows)
