"""The pictures of a report: the map with regions and foci, and each focus by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from idc_desktop.export.content import Analysis, Content
from idc_desktop.export.lettering import Lettering
from idc_desktop.export.overlay import paint_map
from idc_desktop.regions.foci import Focus
from idc_desktop.regions.shape import Region

FOCUS_PX = 320

_MAP_PX = 1_800  # longer side of the map: about 250 dpi
_FOCUS_MARGIN = 0.35  # of the focus, around it
_MOST_NAMES = 60  # of more regions, names would hide the map
_LONGEST_NAME = 28


def map_picture(content: Content, foci: Sequence[Focus]) -> Image.Image:
    """Return the map with outlines and names of the regions, and the numbers of the foci."""
    analysis = content.analysis
    picture = paint_map(analysis)
    width = picture.width
    picture.thumbnail((_MAP_PX, _MAP_PX), Image.Resampling.BOX)
    px_l0 = analysis.overview_px_l0 * width / picture.width
    draw = ImageDraw.Draw(picture)
    origin = np.array(analysis.slide.bounds_origin_l0)
    for region in content.regions:
        for ring in region.shape.rings:
            draw.line(_closed((ring - origin) / px_l0), region.rgb, 5)
    size = max(picture.size) / 45
    font = ImageFont.load_default(size)
    for number, focus in enumerate(foci, 1):
        # Beside its rightmost corner: it hides nothing of the focus and belongs to no other.
        outline = focus.shape.polygons[0][0]
        x, y = (outline[outline[:, 0].argmax()] - origin) / px_l0
        draw.text((x + 4, y), str(number), "black", font, stroke_width=3, stroke_fill="white")
    numbered = {focus.shape for focus in foci}
    named = [it for it in content.regions if not (it.is_focus and it.shape in numbered)]
    for region in named[:_MOST_NAMES]:
        _write_name(draw, region, (region.shape.bounds[:2] - origin) / px_l0, round(size * 0.7))
    return picture


def focus_picture(focus: Focus, analysis: Analysis) -> Image.Image:
    """Return a focus with what is around it, its outline in black."""
    px_l0 = analysis.overview_px_l0
    origin = np.array(analysis.slide.bounds_origin_l0)
    left, top, right, bottom = focus.shape.bounds
    half = max(right - left, bottom - top) * (0.5 + _FOCUS_MARGIN) / px_l0
    centre = (np.array([left + right, top + bottom]) / 2 - origin) / px_l0
    x1, y1, x2, y2 = (int(it) for it in np.rint([*(centre - half), *(centre + half)]))
    box = x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)
    crop = Image.new("RGB", (box[2] - box[0], box[3] - box[1]), "white")
    slide = Image.fromarray(analysis.overview)
    crop.paste(slide.crop(box), (0, 0))
    # What lies beyond the overview comes as black.
    inside = Image.new("L", slide.size, 255).crop(box)
    crop.paste("white", (0, 0), Image.eval(inside, lambda value: 255 - value))
    scale = FOCUS_PX / crop.width
    crop = crop.resize((FOCUS_PX, FOCUS_PX), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(crop)
    for ring in focus.shape.rings:
        draw.line(_closed(((ring - origin) / px_l0 - (centre - half)) * scale), "black", 3)
    return crop


def _write_name(
    draw: ImageDraw.ImageDraw, region: Region, at: npt.NDArray[np.float64], size_px: int
) -> None:
    """Write a name on paper of its own, above the upper left corner of its region."""
    name = region.name
    name = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    letters = Lettering(size_px)
    x = float(np.clip(at[0], 0, max(0.0, draw.im.size[0] - letters.width(name) - 8)))
    y = max(0.0, float(at[1]) - 1.5 * size_px)
    box = (x, y, x + letters.width(name) + 8, y + 1.4 * size_px)
    draw.rectangle(box, "white", region.rgb, 2)
    letters.draw(draw, x + 4, y, name)


def _closed(points: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in [*points.tolist(), points[0].tolist()]]
