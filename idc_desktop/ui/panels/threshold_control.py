"""The threshold, set on the histogram of the layer that is shown."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.plain import plain_tip
from idc_desktop.ui.view.guides import colour_bar

_BINS = 50
_MARGIN = 9
_BAR = 11
_TICKS = 17
_HANDLE = 7
_LINE = QColor(200, 30, 30)
_STEP, _LEAP = 0.01, 0.1


class ThresholdControl(QWidget):
    """Histogram, colour bar and a handle to drag; arrow keys move it by 0.01, page keys by 0.1.

    A layer that is not of IDC has a histogram, too, but no handle: a threshold on it means nothing.
    """

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._counts = np.zeros(_BINS)
        self._is_stale = False
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        for changed in (
            document.map_changed,
            document.regions.changed,
            document.regions.choice_changed,
        ):
            changed.connect(self._on_changed)
        document.display_changed.connect(self.update)
        self._name()

    def sizeHint(self) -> QSize:
        """Prefer the width of the dock."""
        return QSize(240, 104)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw bars, the colour bar below them, and the threshold."""
        if self._is_stale:
            self._count()
        painter = QPainter(self)
        area = self._bars()
        threshold = self._document.threshold if self._has_threshold else 0.0
        text = self.palette().color(QPalette.ColorRole.WindowText)
        bars, below = QColor(text), QColor(text)
        bars.setAlpha(190)
        below.setAlpha(90)
        roots = np.sqrt(self._counts)
        peak = max(1.0, float(roots.max()))
        step = area.width() / _BINS
        for number, root in enumerate(roots.tolist()):
            tall = area.height() * root / peak
            bar = QRectF(area.left() + number * step, area.bottom() - tall, step - 1, tall)
            painter.fillRect(bar, bars if (number + 0.5) / _BINS >= threshold else below)
        strip = QRectF(area.left(), area.bottom() + 2, area.width(), _BAR)
        painter.drawImage(strip, colour_bar(self._document.display.colormap))
        painter.setPen(text)
        ticks = QRectF(0, strip.bottom() + 1, self.width(), _TICKS)
        for value in (0.0, 0.25, 0.5, 0.75, 1.0):
            x = area.left() + value * area.width()
            box = QRectF(x - 20, ticks.top(), 40, ticks.height())
            if value in (0.0, 1.0):
                box.moveLeft(min(max(box.left(), -10.0), self.width() - 30.0))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{value:g}")
        if self._has_threshold:
            self._paint_handle(painter, area, strip.bottom())
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take the threshold to the mouse."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._set_at(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag the threshold."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._set_at(event.position())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move the threshold."""
        now = self._document.threshold
        moves = {
            Qt.Key.Key_Left: now - _STEP,
            Qt.Key.Key_Down: now - _STEP,
            Qt.Key.Key_Right: now + _STEP,
            Qt.Key.Key_Up: now + _STEP,
            Qt.Key.Key_PageDown: now - _LEAP,
            Qt.Key.Key_PageUp: now + _LEAP,
            Qt.Key.Key_Home: 0.0,
            Qt.Key.Key_End: 1.0,
        }
        key = Qt.Key(event.key())
        if key in moves:
            self._set(moves[key])
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show the focus."""
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Show that the focus is gone."""
        self.update()

    @property
    def _has_threshold(self) -> bool:
        layer = self._document.layer
        return layer is None or layer.kind.is_of_idc

    def _name(self) -> None:
        """Say what it is."""
        layer = self._document.layer
        bars = "The bars show how much area has each {} (square root), in the chosen region or on "
        bars += "the whole slide."
        if layer is None or layer.kind.is_of_idc:
            self.setAccessibleName("Threshold")
            self.setCursor(Qt.CursorShape.SizeHorCursor)
            tip = f"Drag, or use the arrow keys. {bars.format('probability')} The dotted line is "
            tip += "the model's own threshold."
        else:
            self.setAccessibleName(f"Histogram: {layer.kind.title}")
            self.unsetCursor()
            tip = bars.format(layer.kind.title.lower())
        self.setToolTip(plain_tip(tip))

    def _bars(self) -> QRectF:
        bottom = self.height() - _BAR - 2 - _TICKS - 2
        return QRectF(_MARGIN, _HANDLE + 2, self.width() - 2 * _MARGIN, bottom - _HANDLE - 2)

    def _paint_handle(self, painter: QPainter, area: QRectF, bottom: float) -> None:
        own = area.left() + self._document.operation.threshold * area.width()
        painter.setPen(QPen(_LINE, 1, Qt.PenStyle.DotLine))
        painter.drawLine(QPointF(own, area.top()), QPointF(own, bottom))
        x = area.left() + self._document.threshold * area.width()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(QRectF(x - 1, 2, 2, bottom), _LINE)
        grip = QPolygonF(
            [QPointF(x - _HANDLE, 0), QPointF(x + _HANDLE, 0), QPointF(x, _HANDLE * 1.4)]
        )
        painter.setBrush(_LINE)
        highlight = self.palette().color(QPalette.ColorRole.Highlight)
        painter.setPen(QPen(highlight, 3) if self.hasFocus() else Qt.PenStyle.NoPen)
        painter.drawPolygon(grip)

    def _set_at(self, position: QPointF) -> None:
        area = self._bars()
        self._set((position.x() - area.left()) / area.width())

    def _set(self, value: float) -> None:
        if self._has_threshold:
            self._document.show(threshold=round(min(max(value, 0.0), 1.0), 3))

    def _on_changed(self) -> None:
        self._is_stale = True
        self._name()
        self.update()

    def _count(self) -> None:
        meter, subject = self._document.shown_meter, self._document.subject
        self._is_stale = False
        if meter is None or subject is None:
            self._counts[:] = 0
        else:
            self._counts = meter.histogram(subject.shape, _BINS)
