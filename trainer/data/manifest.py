"""``manifest.csv``: a list of patches with their labels, whatever their files are named.

``file,label,case`` is enough; ``group`` (a patient) keeps cases together. ``slide,row,col,x_l0,
y_l0,cover`` say where a patch was cut, and why it has its label.
"""

from __future__ import annotations

MANIFEST = "manifest.csv"
COLUMNS = ("file", "label", "case", "slide", "row", "col", "x_l0", "y_l0", "cover")
"""Of a manifest that `idc-trainer patches` writes."""

NEEDED = COLUMNS[:3]
