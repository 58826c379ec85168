"""The figures of each class of regions in a line."""

from __future__ import annotations

from idc_desktop.regions import editing
from idc_desktop.ui.document import SlideDocument

_MOST_UNITED = 300  # uniting more would be felt while drawing


def class_text(document: SlideDocument) -> str:
    """Say per class how many regions there are, and the IDC share of what they cover together."""
    classes: dict[str, list[int]] = {}
    regions = document.regions.all
    for place, region in enumerate(regions):
        classes.setdefault(region.classification or "no class", []).append(place)
    parts = []
    for name, places in sorted(classes.items()):
        text = f"{name}: {len(places)}"
        if document.meter is not None and len(places) <= _MOST_UNITED:
            shape = editing.unite([regions[place].shape for place in places])
            text += f" ({document.figures_text(shape)})"
        parts.append(text)
    return "   ".join(parts)
