"""The figures of each class of regions in a line."""

from __future__ import annotations

from collections import Counter

from idc_desktop.regions.editing import by_class
from idc_desktop.regions.mask import drawn
from idc_desktop.ui.document import SlideDocument

_MOST_UNITED = 100  # uniting more would be felt while drawing


def class_text(document: SlideDocument) -> str:
    """Say per class how many regions there are, and the IDC share of what they cover together."""
    regions = drawn(document.regions.all)
    counts = Counter(region.classification for region in regions)
    if document.meter is None or len(regions) > _MOST_UNITED:
        return "   ".join(f"{name or 'No class'}: {counts[name]}" for name in sorted(counts))
    return "   ".join(
        f"{one.name}: {counts[one.classification]} ({document.figures_text(one.shape)})"
        for one in by_class(regions)
    )
