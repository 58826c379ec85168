"""What helps to read the view: the scale bar and the legend of the map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QImage, QPainter, QPen

from idc_desktop.maps.colormap import (
    FAILED_RGB,
    lookup_table,
    opacity_weights,
    round_length_um,
)
from idc_desktop.maps.layers import LayerKind
from idc_desktop.ui.display import Display
from idc_desktop.ui.numbers import number_text

_PAPER = QColor(255, 255, 255, 225)
_INK = QColor(25, 25, 28)
_THRESHOLD = QColor(200, 30, 30)
_TISSUE = np.array((220.0, 164.0, 191.0))  # H&E at its most usual
_OUTLINE = QColor(20, 20, 20)
_MARGIN = 14
_HEIGHT = 40
_LINE = 18
_TWIN_PX = 9
_LEGEND_WIDTH = 190
_SMALL_VIEW, _SMALL_WIDTH, _SMALL_HEIGHT = (330, 260), 130, 22

Key = tuple[str, Callable[[QPainter, QRectF], object]]
"""What a line of the legend says, and what draws its sign into a small square."""

_LONGEST_BAR = 220.0


def bar_text(length_um: float) -> str:
    """Return the round length of a bar, such as ``200 µm`` or ``2 mm``."""
    if length_um >= 1000:
        return f"{number_text(length_um / 1000, 4)} mm"
    return f"{number_text(length_um, 4)} µm"


def colour_bar(colormap: str) -> QImage:
    """Return the colours of a range as a picture of 256 x 1 pixels."""
    return _strip(lookup_table(colormap))


@lru_cache(maxsize=8)
def bar_on_tissue(colormap: str, extent: str, opacity: float, threshold: float) -> QImage:
    """Return the colours of a range as they appear on stained tissue, 256 x 1 pixels.

    Parameters
    ----------
    colormap, extent : str
        As of a `Display`.
    opacity : float
        As `Display.opacity_at` says.
    threshold : float
        As a fraction of the range.
    """
    is_painted = np.full(256, extent != "outline")
    if extent == "positive":
        is_painted &= np.arange(256) >= 255 * threshold
    alpha = (opacity * opacity_weights() * is_painted)[:, np.newaxis]
    return _strip(alpha * lookup_table(colormap) + (1 - alpha) * _TISSUE)


def paint_scale_bar(painter: QPainter, area: QRectF, um_per_px: float) -> None:
    """Draw a scale bar of a round length at the lower left of `area`."""
    longest = _longest_bar(area)
    length_um = round_length_um(longest * um_per_px)
    width = length_um / um_per_px
    box = QRectF(area.left() + _MARGIN, area.bottom() - _MARGIN - _HEIGHT, width + 24, _HEIGHT)
    _paint_paper(painter, box)
    y = box.bottom() - 11
    painter.setPen(QPen(_INK, 3, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap))
    painter.drawLine(QPointF(box.left() + 12, y), QPointF(box.left() + 12 + width, y))
    painter.setFont(_bold(painter))
    painter.drawText(box.adjusted(0, 4, 0, -16), Qt.AlignmentFlag.AlignCenter, bar_text(length_um))


def paint_legend(
    painter: QPainter,
    area: QRectF,
    kind: LayerKind,
    display: Display,
    opacity: float,
    threshold: float | None,
    keys: Sequence[Key] = (),
) -> None:
    """Draw the colours of a layer as they appear, with its threshold if it has one, lower right.

    Above it stand the keys. Where there is no room beside the scale bar, it stands over that one;
    in a small view it shrinks to its bar beside it, so that it does not cover the slide.
    """
    is_small = _is_small(area)
    keys = () if is_small else keys
    box = _small_box(area) if is_small else _legend_box(area, _HEIGHT)
    _paint_paper(painter, box.adjusted(0, -_LINE * len(keys), 0, 0))
    painter.setPen(_INK)
    painter.setFont(_bold(painter))
    words = QRectF(box.left() + 12, box.top() + 3, box.width() - 24, 19)
    if is_small:
        words = QRectF(box.left() + 6, box.top() + 3, box.width() - 12, 19)
    low, high = f"{kind.low:g}", f"{kind.high:g}"
    title, ends = kind.title, painter.fontMetrics().horizontalAdvance(f"{low}   {high}")
    if not opacity:
        title = f"Faded at {display.fades_at:g}x" if display.opacity else "Transparent"
    if painter.fontMetrics().horizontalAdvance(title) + ends > words.width():
        title = kind.unit
    bar = QRectF(box.left() + 12, box.bottom() - 17, box.width() - 24, 9)
    if is_small:
        bar = QRectF(box.left() + 20, box.center().y() - 4, box.width() - 40, 9)
    else:
        painter.drawText(words, Qt.AlignmentFlag.AlignHCenter, title)
    painter.drawText(words, Qt.AlignmentFlag.AlignLeft, low)
    painter.drawText(words, Qt.AlignmentFlag.AlignRight, high)
    _paint_keys(painter, QPointF(words.left(), box.top()), keys)
    fraction = 0.0 if threshold is None else kind.fraction(threshold)
    painter.drawImage(bar, bar_on_tissue(display.colormap, display.extent, opacity, fraction))
    if threshold is None:
        return
    at = bar.left() + fraction * bar.width()
    if display.has_outline:
        painter.setPen(QPen(_OUTLINE, 2))
        painter.drawRect(QRectF(QPointF(at, bar.top()), bar.bottomRight()))
    painter.fillRect(QRectF(at - 2, bar.top() - 3, 4, bar.height() + 6), _PAPER)
    painter.fillRect(QRectF(at - 1, bar.top() - 3, 2, bar.height() + 6), _THRESHOLD)


def paint_keys(painter: QPainter, area: QRectF, keys: Sequence[Key]) -> None:
    """Draw a legend of keys alone, where that of a layer would stand; none in a small view."""
    if _is_small(area):
        return
    box = _legend_box(area, 6)
    _paint_paper(painter, box.adjusted(0, -_LINE * len(keys), 0, 0))
    painter.setFont(_bold(painter))
    _paint_keys(painter, QPointF(box.left() + 12, box.top()), keys)


def failed_key(opacity: float) -> Key:
    """Return the key of patches that failed; `opacity` as of the legend."""
    seen = opacity * np.array(FAILED_RGB) + (1 - opacity) * _TISSUE
    colour = QColor(*seen.round().astype(int).tolist())
    return "Failed", lambda painter, box: painter.fillRect(box, colour)


def paint_notice(painter: QPainter, area: QRectF, text: str) -> None:
    """Write a line about the whole view at the upper left of `area`."""
    painter.setFont(_bold(painter))
    metrics = painter.fontMetrics()
    width = min(metrics.horizontalAdvance(text) + 30.0, area.width() - 2 * _MARGIN)
    flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
    box = QRectF(area.left() + _MARGIN, area.top() + _MARGIN, width, area.height())
    inside = box.adjusted(12, 6, -12, -6)
    height = painter.boundingRect(inside, flags | Qt.AlignmentFlag.AlignTop, text).height()
    box.setHeight(height + 12)
    _paint_paper(painter, box)
    painter.setPen(_INK)
    painter.drawText(box.adjusted(12, 6, -12, -6), flags, text)


def screen_line(painter: QPainter, colour: QColor, width: float) -> QPen:
    """Return a line of a width on the screen, whatever the scale of what is painted with it."""
    # Qt counts the width of such a line in pixels of the screen, of which a dense one has more.
    pen = QPen(colour, width * painter.device().devicePixelRatio())
    pen.setCosmetic(True)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    return pen


def paint_twin(painter: QPainter, at: QPointF) -> None:
    """Mark a point that the mouse is on in another view."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for colour, width in ((_PAPER, 5), (_INK, 2)):
        painter.setPen(QPen(colour, width))
        painter.drawEllipse(at, _TWIN_PX, _TWIN_PX)
        painter.drawPoint(at)
    painter.restore()


def paint_frame(painter: QPainter, area: QRect, colour: QColor) -> None:
    """Frame the view that has the focus."""
    painter.setPen(QPen(colour, 2))
    painter.drawRect(area.adjusted(1, 1, -1, -1))


def paint_label(painter: QPainter, at: QPointF, text: str) -> None:
    """Write a line beside a point."""
    width = painter.fontMetrics().horizontalAdvance(text) + 14
    box = QRectF(at.x() + 14, at.y() + 10, width, painter.fontMetrics().height() + 8)
    window = QRectF(painter.window())
    box.moveRight(min(box.right(), window.right() - 4))
    box.moveBottom(min(box.bottom(), window.bottom() - 4))
    _paint_paper(painter, box)
    painter.setPen(_INK)
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)


def _strip(colours: npt.NDArray[Any]) -> QImage:
    """Return colours, shape (256, 3), as a picture of one row."""
    pixels = np.ascontiguousarray(np.round(colours).astype(np.uint8))
    return QImage(pixels.tobytes(), 256, 1, 768, QImage.Format.Format_RGB888).copy()


def _is_small(area: QRectF) -> bool:
    return min(area.width() / _SMALL_VIEW[0], area.height() / _SMALL_VIEW[1]) < 1


def _legend_box(area: QRectF, height: float) -> QRectF:
    width = min(_LEGEND_WIDTH, area.width() - 2 * _MARGIN)
    box = QRectF(area.right() - _MARGIN - width, 0, width, height)
    box.moveBottom(area.bottom() - _MARGIN)
    if box.left() < area.left() + _longest_bar(area) + 24 + 2 * _MARGIN:
        box.translate(0, -_HEIGHT - _MARGIN / 2)
    return box


def _small_box(area: QRectF) -> QRectF:
    """Return what is left beside the longest scale bar."""
    right, bottom = area.right() - _MARGIN, area.bottom() - _MARGIN
    left = area.left() + _longest_bar(area) + 24 + 1.5 * _MARGIN
    left = max(left, right - _SMALL_WIDTH)
    return QRectF(left, bottom - _SMALL_HEIGHT, right - left, _SMALL_HEIGHT)


def _paint_keys(painter: QPainter, bottom_left: QPointF, keys: Sequence[Key]) -> None:
    """Draw keys above a point, the first uppermost."""
    x, y = bottom_left.x(), bottom_left.y() - _LINE * len(keys)
    for text, draw in keys:
        draw(painter, QRectF(x, y + 6, 12, 12))
        painter.setPen(_INK)
        painter.drawText(QRectF(x + 18, y + 3, 400, _LINE), Qt.AlignmentFlag.AlignLeft, text)
        y += _LINE


def _longest_bar(area: QRectF) -> float:
    return min(_LONGEST_BAR, area.width() / 3)


def _paint_paper(painter: QPainter, box: QRectF) -> None:
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(_PAPER)
    painter.drawRoundedRect(box, 5, 5)
    painter.restore()


def _bold(painter: QPainter) -> QFont:
    font = QFont(painter.font())
    font.setBold(True)
    return font
