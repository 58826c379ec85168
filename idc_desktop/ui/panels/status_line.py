"""What is under the cursor, how the tool is used, and the words that are always there."""

from __future__ import annotations

from PySide6.QtCore import QPointF
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.probability_map import MILLIONTHS, PatchState
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.plain import Label, plain_tip
from idc_desktop.ui.view.slide_view import SlideView


class ToolHint(Label):
    """How the tool in use is used; it gives way to everything else in the line."""

    def __init__(self, view: SlideView, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._view = view
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        view.tool_changed.connect(self._show)

    def _show(self) -> None:
        self.setText(self._view.hint)
        self.setToolTip(plain_tip(self._view.hint))


class StatusLine(QWidget):
    """Position, patch, level, provider, and the research-use line."""

    def __init__(
        self, document: SlideDocument, view: SlideView, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._document = document
        self._point: QPointF | None = None
        self.position = Label()
        self._level = Label()
        self._provider = Label()
        notice = Label(RESEARCH_USE_NOTICE)
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 0, 4, 0)
        row.setSpacing(18)
        for label in (self.position, self._level, self._provider, notice):
            row.addWidget(label)
        view.pointed.connect(self._on_pointed)
        document.viewport_changed.connect(self._show_level)
        document.slide_changed.connect(self._show_level)
        document.map_changed.connect(self._show_provider)
        document.map_changed.connect(self._show_position)

    def _on_pointed(self, point: QPointF | None) -> None:
        self._point = point
        self._show_position()

    def _show_position(self) -> None:
        document, point = self._document, self._point
        if point is None or not document.slide:
            self.position.clear()
            return
        mpp = document.mpp_xy
        if mpp is None:
            text = f"x {point.x():.0f}, y {point.y():.0f} px"
        else:
            text = f"x {point.x() * mpp[0]:,.0f}, y {point.y() * mpp[1]:,.0f} µm"
        current, grid = document.map, document.grid
        cell = None if grid is None else grid.cell_at(point.x(), point.y())
        if current is not None and cell is not None:
            state = PatchState(current.states[cell])
            if state is PatchState.OK:
                text += f"    p = {current.millionths[cell] / MILLIONTHS:.3f}"
            else:
                text += f"    {state.words}"
        self.position.setText(text)

    def _show_level(self) -> None:
        slide = self._document.slide
        levels = slide.levels if slide is not None else ()
        wanted = 1 / (self._document.viewport.scale * self.devicePixelRatioF())
        fine = [k for k, it in enumerate(levels) if it.downsample <= wanted * 1.001]
        level = fine[-1] if fine else 0
        self._level.setText(f"level {level}" if levels else "")

    def _show_provider(self) -> None:
        run = self._document.run
        used = run.plan.provider.used.upper() if run.plan and run.done_patches else ""
        self._provider.setText(used and f"on {used}")
