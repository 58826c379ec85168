"""The tool that changes regions: choose, move, drag corners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QTransform

from idc_desktop.errors import RegionsError
from idc_desktop.regions import editing
from idc_desktop.regions.shape import Point, Region, Shape, Vertex
from idc_desktop.ui.view.region_layer import path_of
from idc_desktop.ui.view.tools import Tool

if TYPE_CHECKING:
    from idc_desktop.ui.view.canvas import Canvas

_REACH_PX = 8.0
_NUDGE_PX = 1.0
_STRETCH = 1.02


class EditTool(Tool):
    """Click to choose; drag a corner or the region; drag beside it to pan.

    A double click on an edge inserts a corner; Alt and a click on a corner removes it.
    """

    cursor = Qt.CursorShape.PointingHandCursor
    shows_handles = True
    hint = "Drag regions or corners; double-click edges."

    def __init__(self, view: Canvas) -> None:
        super().__init__(view)
        self._region: Region | None = None
        self._vertex: Vertex | None = None
        self._start: Point = (0.0, 0.0)
        self._changed: Shape | None = None

    def press(self, event: QMouseEvent) -> None:
        """Take hold of a corner, of a region, or of the slide."""
        self._start, self._changed = self.point(event), None
        found = self._corner_at(self._start)
        if found is not None:
            self._region, self._vertex = found
            if event.modifiers() & Qt.KeyboardModifier.AltModifier:
                self._remove_corner()
            return
        self._region, self._vertex = self.choose_at(event), None
        if self._region is None:
            self.view.pan_tool.press(event)

    def move(self, event: QMouseEvent) -> None:
        """Move what was taken hold of."""
        if not event.buttons() & Qt.MouseButton.LeftButton:
            return
        if self._region is None:
            self.view.pan_tool.move(event)
            return
        if self._region.is_locked:
            return
        at = self.point(event)
        try:
            if self._vertex is not None:
                self._changed = editing.move_vertex(self._region.shape, self._vertex, at).shape
            else:
                step = (at[0] - self._start[0], at[1] - self._start[1])
                self._changed = self._region.shape.moved(*step)
        except RegionsError:  # no area like this: the last shape stays
            return
        self.view.update()

    def release(self, event: QMouseEvent) -> None:
        """Make the move an edit."""
        region, changed, is_corner = self._region, self._changed, self._vertex is not None
        self.abandon()
        regions = self.view.document.regions
        if region is None:
            self.view.pan_tool.release(event)
        elif changed is not None and region in regions.all:  # not deleted or undone meanwhile
            label = "Move corner" if is_corner else "Move region"
            regions.reshape(label, {region: changed})

    def double_click(self, event: QMouseEvent) -> bool:
        """Insert a corner where an edge of a chosen region is."""
        if event.modifiers() & Qt.KeyboardModifier.AltModifier:
            return False  # that takes corners away
        at, reach = self.point(event), _REACH_PX / self.view.camera.scale
        for region in self.view.document.regions.chosen:
            vertex, distance = region.shape.nearest_edge(at)
            if distance <= reach and not region.is_locked:
                drawn = editing.insert_vertex(region.shape, vertex, at)
                self.view.document.regions.reshape("Insert corner", {region: drawn.shape})
                return True
        return False

    def key(self, event: QKeyEvent) -> bool:
        """Nudge the chosen regions by the arrow keys with Shift; with Alt, stretch them."""
        steps = {
            Qt.Key.Key_Left: (-1, 0),
            Qt.Key.Key_Right: (1, 0),
            Qt.Key.Key_Up: (0, -1),
            Qt.Key.Key_Down: (0, 1),
        }
        step, keys = steps.get(Qt.Key(event.key())), event.modifiers()
        regions = self.view.document.regions
        if step is not None and keys & Qt.KeyboardModifier.ShiftModifier:
            by = _NUDGE_PX / self.view.camera.scale
            moved = {it: it.shape.moved(step[0] * by, step[1] * by) for it in regions.chosen}
            regions.reshape("Move regions", moved)
        elif step is not None and keys & Qt.KeyboardModifier.AltModifier:
            # Right and down grow, left and up shrink.
            factors = (_STRETCH ** step[0], _STRETCH ** step[1])
            regions.reshape(
                "Stretch regions", {it: it.shape.scaled(*factors) for it in regions.chosen}
            )
        else:
            return False
        return True

    def abandon(self) -> None:
        """Let go without a change."""
        self._region = self._vertex = self._changed = None
        self.view.update()

    def paint(self, painter: QPainter, to_device: QTransform) -> None:
        """Show the region as it would be."""
        if self._changed is not None:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.DashLine)
            painter.drawPath(to_device.map(path_of(self._changed)))

    def _corner_at(self, point: Point) -> tuple[Region, Vertex] | None:
        reach = _REACH_PX / self.view.camera.scale
        for region in self.view.document.regions.chosen:
            if region.is_hidden or region.is_locked:
                continue
            vertex, distance = region.shape.nearest_vertex(point)
            if distance <= reach:
                return region, vertex
        return None

    def _remove_corner(self) -> None:
        region, vertex = self._region, self._vertex
        self.abandon()
        assert region is not None
        assert vertex is not None
        try:
            drawn = editing.delete_vertex(region.shape, vertex)
        except RegionsError as error:
            self.view.document.noted.emit(f"{region.name} {error} without this corner.")
        else:
            self.view.document.regions.reshape("Remove corner", {region: drawn.shape})
