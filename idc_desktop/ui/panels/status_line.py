"""What is under the cursor, how the tool is used, and the words that are always there."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPointF, QRect, QSize, Qt
from PySide6.QtGui import QHelpEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QStatusBar, QWidget

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.plain import Label, plain_tip, show_tip
from idc_desktop.ui.scene import SlideScene

_SPACING_PX = 18
_MARGIN_PX = 4


class NoteBar(QStatusBar):
    """The bar at the foot of the window; a message that is too long ends in "…", its tip does not.

    Qt cuts it off wherever the next widget begins.
    """

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the message, if there is one."""
        painter = QPainter(self)
        room = self._room()
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, self._shortened(room))
        painter.end()

    def event(self, event: QEvent) -> bool:
        """Show the whole message where there is only room for its beginning."""
        if isinstance(event, QHelpEvent) and self._shortened(self._room()) != self.currentMessage():
            show_tip(self, event, self.currentMessage())
            return True
        return super().event(event)

    def _room(self) -> QRect:
        kept = [it.x() for it in self.findChildren(StatusLine) if it.isVisible()]
        return QRect(6, 0, min([self.width(), *kept]) - 12, self.height())

    def _shortened(self, room: QRect) -> str:
        end = Qt.TextElideMode.ElideRight
        return self.fontMetrics().elidedText(self.currentMessage(), end, room.width())


class ToolHint(Label):
    """How the tool in use is used; it gives way to everything else in the line."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._hint = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def say(self, hint: str) -> None:
        """Say how another tool is used."""
        self._hint = hint
        self._show()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Say as much as there is room for."""
        super().resizeEvent(event)
        self._show()

    def _show(self) -> None:
        hint, end = self._hint, Qt.TextElideMode.ElideRight
        self.setText(self.fontMetrics().elidedText(hint, end, self.width()))
        self.setToolTip(plain_tip(hint))


class StatusLine(QWidget):
    """Position, patch, level, provider, and the research-use line.

    Where they do not fit side by side, provider and level are left out: no number is cut.
    """

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._scene: SlideScene = document
        self._point: QPointF | None = None
        self.position = Label()
        self._level = Label()
        self._provider = Label()
        self._notice = Label(RESEARCH_USE_NOTICE)
        row = QHBoxLayout(self)
        row.setContentsMargins(_MARGIN_PX, 0, _MARGIN_PX, 0)
        row.setSpacing(_SPACING_PX)
        for label in (self.position, self._level, self._provider, self._notice):
            row.addWidget(label)
        self.watch(document)
        document.camera.moved.connect(self._show_level)
        document.slide_changed.connect(self._show_level)
        document.slide_changed.connect(self._forget_point)
        document.map_changed.connect(self._show_provider)
        document.map_changed.connect(self._show_position)

    def watch(self, scene: SlideScene) -> None:
        """Say what is under the mouse in the view of a scene, too."""

        def on_pointed(point: QPointF | None) -> None:
            is_left = point is None and self._scene is not scene
            if not is_left:  # the mouse came into another view before it left this one
                self._scene = scene if point is not None else self._document
                self._point = point
                self._show_position()

        scene.pointed.connect(on_pointed)

    def _forget_point(self) -> None:
        """Say nothing of another slide until the mouse is moved over this one."""
        self._point = None
        self._show_position()

    def sizeHint(self) -> QSize:
        """Ask for the room that all of it takes."""
        labels = (self.position, self._level, self._provider, self._notice)
        return QSize(_width_of(labels), self._notice.sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """Need no more than the research-use line."""
        return QSize(_width_of([self._notice]), self._notice.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show what fits."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Leave out what does not fit, the least needed first."""
        shown = [self.position, self._level, self._provider, self._notice]
        for label in (self._provider, self._level, self.position):
            label.setVisible(_width_of(shown) <= self.width())
            if label.isHidden():
                shown.remove(label)
        self.updateGeometry()

    def _show_position(self) -> None:
        scene, point = self._scene, self._point
        if point is None or not scene.slide:
            self.position.clear()
            self._fit()
            return
        mpp = scene.mpp_xy
        if mpp is None:
            text = f"x {point.x():.0f}, y {point.y():.0f} px"
        else:
            text = f"x {point.x() * mpp[0]:,.0f}, y {point.y() * mpp[1]:,.0f} µm"
        layer = scene.layer
        cell = None if layer is None else layer.grid.cell_at(point.x(), point.y())
        if layer is not None and cell is not None:
            value = layer.value_at(*cell)
            if value is not None:
                text += f"    {layer.kind.symbol} = {value:.3f}"
            else:
                text += f"    {layer.map.state_at(*cell).words}"
        self.position.setText(text)
        self._fit()

    def _show_level(self) -> None:
        slide = self._document.slide
        levels = slide.levels if slide is not None else ()
        wanted = 1 / self._document.camera.screen_scale
        fine = [k for k, it in enumerate(levels) if it.downsample <= wanted * 1.001]
        level = fine[-1] if fine else 0
        self._level.setText(f"level {level}" if levels else "")
        self._fit()

    def _show_provider(self) -> None:
        record = self._document.record
        plan = record.plan if record.done_patches else None
        used = plan.provider.used.upper() if plan is not None else ""
        self._provider.setText(used and f"on {used}")
        self._fit()


def _width_of(labels: Sequence[Label]) -> int:
    """Return the width that labels take side by side."""
    return (
        sum(label.sizeHint().width() for label in labels)
        + _SPACING_PX * (len(labels) - 1)
        + 2 * _MARGIN_PX
    )
