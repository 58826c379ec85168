"""The view of the slide: pan, zoom, rotate; tiles coarse to fine; the map over them."""

from __future__ import annotations

import math

from PySide6.QtCore import QPoint, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QTransform,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.map_raster import MapRaster
from idc_desktop.ui.tile_loader import Tile
from idc_desktop.wire import TILE_PX

_BACKGROUND = QColor(236, 236, 238)
_WAITING = QColor(246, 246, 247)
_BROKEN = QColor(160, 160, 160)
_STEP = 1.25  # zoom per wheel notch or key
_LARGEST_SCALE = 8.0  # device px per level-0 pixel
_SMALLEST_PART = 0.5  # of the scale at which the slide fits
_REST_MS = 120
_MINIMAP_PX = 180
_ROUND = 0.500001


class SlideView(QWidget):
    """Shows the document's slide.

    The frame: a point is in level-0 pixels; `scale` is device-independent pixels per level-0
    pixel; the view turns around its centre.
    """

    pointed = Signal(object)
    """The level-0 point under the cursor (QPointF), or None."""
    clicked = Signal(QPointF)
    """A level-0 point was clicked."""
    moved = Signal()
    """The part that is shown has changed."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._centre = QPointF()
        self._scale = 1.0
        self._angle = 0.0
        self._mirrored = False
        self._raster: MapRaster | None = None
        self._raster_is_stale = False
        self._smooth_map = False
        self._outline = True
        self._fitted = False
        self._pressed_at: QPoint | None = None
        self._dragged = False
        self._moving = False
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._on_rest)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(240, 180)
        self.setAccessibleName("Slide")
        document.slide_changed.connect(self._on_slide_changed)
        document.map_changed.connect(self._on_map_changed)
        document.view_changed.connect(self._on_view_changed)

    @property
    def scale(self) -> float:
        """Screen pixels per level-0 pixel."""
        return self._scale

    @property
    def centre(self) -> QPointF:
        """The level-0 point in the middle of the view."""
        return QPointF(self._centre)

    @property
    def smooth_map(self) -> bool:
        """Whether the map is interpolated between patches."""
        return self._smooth_map

    @smooth_map.setter
    def smooth_map(self, value: bool) -> None:
        self._smooth_map = value
        self.update()

    @property
    def is_at_limit(self) -> bool:
        """Whether the view is as large as it gets."""
        return self._scale >= _LARGEST_SCALE

    @property
    def is_sharp(self) -> bool:
        """Whether all that is seen is shown at its best resolution."""
        tiles = self._document.tiles
        return tiles is not None and tiles.is_idle and self.has_all_tiles and not self._moving

    @property
    def has_all_tiles(self) -> bool:
        """Whether every visible tile is here, or cannot be."""
        tiles = self._document.tiles
        if tiles is None or not self._document.slide:
            return False
        return all(tiles.get(it) or tiles.is_broken(it) for it in self._visible_tiles())

    def fit(self) -> None:
        """Show the whole slide."""
        slide = self._document.slide
        if not slide:
            return
        x, y, width, height = self._extent()
        self._centre = QPointF(x + width / 2, y + height / 2)
        turned = self._angle % 180 != 0
        across, down = (height, width) if turned else (width, height)
        self._scale = min(self.width() / across, self.height() / down) * 0.98
        self._fitted = True
        self._on_moved()

    def set_scale(self, scale: float, at: QPointF | None = None) -> None:
        """Zoom, keeping the level-0 point under the widget position `at` (else the centre)."""
        if not self._document.slide:
            return
        _, _, width, height = self._extent()
        smallest = min(self.width() / width, self.height() / height) * _SMALLEST_PART
        at = QPointF(self.rect().center()) if at is None else at
        fixed = self.to_l0(at)
        self._scale = min(max(scale, min(smallest, 1.0)), _LARGEST_SCALE)
        self._centre += fixed - self.to_l0(at)
        self._fitted = False
        self._on_moved()

    def centre_on(self, point_l0: QPointF) -> None:
        """Bring a point to the centre."""
        self._centre = QPointF(point_l0)
        self._fitted = False
        self._on_moved()

    def rotate(self, degrees: float) -> None:
        """Turn the view around its centre."""
        self._angle = (self._angle + degrees) % 360
        if self._fitted:
            self.fit()
        self._on_moved()

    def mirror(self) -> None:
        """Flip left and right."""
        self._mirrored = not self._mirrored
        self._on_moved()

    def to_device(self) -> QTransform:
        """Return the transform from level-0 pixels to widget pixels."""
        transform = QTransform()
        transform.translate(self.width() / 2, self.height() / 2)
        transform.rotate(self._angle)
        transform.scale(-self._scale if self._mirrored else self._scale, self._scale)
        transform.translate(-self._centre.x(), -self._centre.y())
        return transform

    def to_l0(self, position: QPointF) -> QPointF:
        """Return the level-0 point under a widget position."""
        inverse, _ = self.to_device().inverted()
        return inverse.map(position)

    def visible_l0(self) -> QRectF:
        """Return the level-0 rectangle around what is seen."""
        inverse, _ = self.to_device().inverted()
        return inverse.mapRect(QRectF(self.rect()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint what is there: sharp tiles, else coarser ones; never a hole."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), _BACKGROUND)
        if self._document.slide:
            self._paint_tiles(painter)
            to_device, seen = self.to_device(), self.visible_l0()
            raster = self._current_raster() if self._document.map_visible else None
            if raster is not None:
                smooth = self._smooth_map and not self._moving
                raster.paint(painter, to_device, seen, self._document.opacity, smooth)
                if self._outline:
                    raster.paint_outline(painter, to_device, seen)
            self._paint_selected(painter, to_device)
            self._paint_scale_bar(painter)
            self._paint_minimap(painter)
        else:
            painter.setPen(QColor(70, 70, 75))
            text = self._document.message
            area = self.rect().adjusted(40, 40, -40, -40)
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(area, int(flags), text)
        painter.end()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep a fitted slide fitted."""
        if self._fitted:
            self.fit()
        else:
            self._on_moved()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom at the cursor."""
        self.set_scale(self._scale * _STEP ** (event.angleDelta().y() / 120), event.position())
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to drag."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed_at, self._dragged = event.position().toPoint(), False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag, or tell what is under the cursor."""
        position = event.position().toPoint()
        if self._pressed_at is not None and event.buttons() & Qt.MouseButton.LeftButton:
            step = self.to_l0(QPointF(self._pressed_at)) - self.to_l0(QPointF(position))
            if self._dragged or (position - self._pressed_at).manhattanLength() > 3:
                self._dragged = True
                self._pressed_at = position
                self.centre_on(self._centre + step)
        self.pointed.emit(self.to_l0(event.position()) if self._document.slide else None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a drag; a click without one goes to whoever listens."""
        if self._pressed_at is not None and not self._dragged and self._document.slide:
            self.clicked.emit(self.to_l0(event.position()))
        self._pressed_at = None

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Pan by arrows, zoom by plus and minus."""
        step = 0.1 * min(self.width(), self.height())
        steps = {
            Qt.Key.Key_Left: QPointF(-step, 0),
            Qt.Key.Key_Right: QPointF(step, 0),
            Qt.Key.Key_Up: QPointF(0, -step),
            Qt.Key.Key_Down: QPointF(0, step),
        }
        key = Qt.Key(event.key())
        if key in steps:
            self.centre_on(self.to_l0(QPointF(self.rect().center()) + steps[key]))
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.set_scale(self._scale * _STEP)
        elif key == Qt.Key.Key_Minus:
            self.set_scale(self._scale / _STEP)
        else:
            super().keyPressEvent(event)

    def _extent(self) -> tuple[float, float, float, float]:
        slide = self._document.slide
        if slide["bounds"]:
            x, y, width, height = slide["bounds"]
            return x, y, width, height
        return 0, 0, slide["width_l0"], slide["height_l0"]

    def _target_zoom(self) -> int:
        # Tiles are shown at no less than their own resolution, but for the last tenth of a step.
        return min(max(0, math.floor(math.log2(1 / self._scale) + 0.1)), self._top_zoom())

    def _top_zoom(self) -> int:
        """Return the zoom at which the whole slide is a tile or two wide."""
        slide = self._document.slide
        side = max(slide["width_l0"], slide["height_l0"])
        return max(0, math.ceil(math.log2(side / (2 * TILE_PX))))

    def _tiles_of(self, zoom: int, area_l0: QRectF) -> list[Tile]:
        slide, side = self._document.slide, TILE_PX * 2**zoom
        area = area_l0.intersected(QRectF(0, 0, slide["width_l0"], slide["height_l0"]))
        if area.isEmpty():
            return []
        centre = area.center()
        tiles = [
            Tile(zoom, col, row)
            for row in range(int(area.top() // side), math.ceil(area.bottom() / side))
            for col in range(int(area.left() // side), math.ceil(area.right() / side))
        ]
        return sorted(
            tiles,
            key=lambda it: (
                ((it.col + 0.5) * side - centre.x()) ** 2
                + ((it.row + 0.5) * side - centre.y()) ** 2
            ),
        )

    def _visible_tiles(self) -> list[Tile]:
        return self._tiles_of(self._target_zoom(), self.visible_l0())

    def _paint_tiles(self, painter: QPainter) -> None:
        tiles = self._document.tiles
        if tiles is None:
            return
        to_device = self.to_device()
        upright = self._angle == 0 and not self._mirrored
        if not upright:
            painter.setTransform(to_device)
        at_rest = not self._moving and self._scale not in (1.0, 0.5, 0.25)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, at_rest)
        for tile in self._visible_tiles():
            side = TILE_PX * 2**tile.zoom
            target = QRectF(tile.col * side, tile.row * side, side, side)
            if upright:
                # Edges on whole pixels: neighbours share them, and no seam shows. The hair more
                # than a half keeps what Qt computes as 99.4999 and 100.5 in step.
                mapped = to_device.mapRect(target)
                left, top, right, bottom = (
                    math.floor(edge + _ROUND)
                    for edge in (mapped.left(), mapped.top(), mapped.right(), mapped.bottom())
                )
                target = QRectF(left, top, right - left, bottom - top)
            image, source = tiles.get(tile), QRectF(0, 0, TILE_PX, TILE_PX)
            coarser = tile
            while image is None and coarser.zoom < self._top_zoom():
                half = TILE_PX / 2
                source = QRectF(
                    source.left() / 2 + (coarser.col % 2) * half,
                    source.top() / 2 + (coarser.row % 2) * half,
                    source.width() / 2,
                    source.height() / 2,
                )
                coarser = Tile(coarser.zoom + 1, coarser.col // 2, coarser.row // 2)
                image = tiles.get(coarser)
            if tiles.is_broken(tile):
                painter.fillRect(target, _BROKEN)
            elif image is None:
                painter.fillRect(target, _WAITING)
            else:
                painter.drawImage(target, image, source)
        painter.resetTransform()

    def _paint_selected(self, painter: QPainter, to_device: QTransform) -> None:
        grid, cell = self._document.grid, self._document.selected
        if grid is None or cell is None:
            return
        left = grid.origin_x_l0 + cell[1] * grid.step_x_l0
        top = grid.origin_y_l0 + cell[0] * grid.step_y_l0
        painter.setTransform(to_device)
        for colour, width in ((QColor(255, 255, 255), 5), (QColor(200, 30, 30), 2)):
            pen = QPen(colour, width)
            pen.setCosmetic(True)
            painter.setPen(pen)
            painter.drawRect(QRectF(left, top, grid.step_x_l0, grid.step_y_l0))
        painter.resetTransform()

    def _paint_scale_bar(self, painter: QPainter) -> None:
        mpp = self._document.mpp_xy
        longest = min(220.0, self.width() / 3)
        if mpp is None:
            return
        um_per_px = mpp[0] / self._scale
        power = 10.0 ** math.floor(math.log10(longest * um_per_px))
        length_um = max(it * power for it in (1, 2, 5) if it * power <= longest * um_per_px)
        text = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
        width = length_um / um_per_px
        box = QRectF(14, self.height() - 46, width + 20, 34)
        painter.fillRect(box, QColor(255, 255, 255, 215))
        painter.setPen(QPen(QColor(20, 20, 20), 3))
        y = box.bottom() - 9
        painter.drawLine(QPointF(box.left() + 10, y), QPointF(box.left() + 10 + width, y))
        font = QFont(self.font())
        font.setBold(True)
        painter.setFont(font)
        painter.drawText(box.adjusted(0, 2, 0, -12), Qt.AlignmentFlag.AlignCenter, text)

    def _paint_minimap(self, painter: QPainter) -> None:
        tiles, slide = self._document.tiles, self._document.slide
        if tiles is None or self.width() < 3 * _MINIMAP_PX:
            return
        zoom = self._top_zoom()
        scale = _MINIMAP_PX / max(slide["width_l0"], slide["height_l0"])
        width, height = slide["width_l0"] * scale, slide["height_l0"] * scale
        frame = QRectF(self.width() - width - 14, 14, width, height)
        painter.fillRect(frame.adjusted(-3, -3, 3, 3), QColor(255, 255, 255, 235))
        painter.save()
        painter.setClipRect(frame)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, not self._moving)
        whole = QRectF(0, 0, slide["width_l0"], slide["height_l0"])
        side = TILE_PX * 2**zoom * scale
        for tile in self._tiles_of(zoom, whole):
            image = tiles.get(tile)
            if image is not None:
                at = QPointF(frame.left() + tile.col * side, frame.top() + tile.row * side)
                painter.drawImage(QRectF(at.x(), at.y(), side, side), image)
        painter.setPen(QPen(QColor(200, 30, 30), 2))
        seen = self.visible_l0()
        painter.drawRect(
            QRectF(
                frame.left() + seen.left() * scale,
                frame.top() + seen.top() * scale,
                seen.width() * scale,
                seen.height() * scale,
            )
        )
        painter.restore()

    def _on_moved(self) -> None:
        self._moving = True
        self._rest.start()
        seen = self.visible_l0()
        self._document.view_l0 = (seen.x(), seen.y(), seen.width(), seen.height())
        self._ask_for_tiles()
        self.update()
        self.moved.emit()

    def _on_rest(self) -> None:
        self._moving = False
        self.update()

    def _ask_for_tiles(self) -> None:
        tiles = self._document.tiles
        if tiles is None or not self._document.slide:
            return
        zoom, seen = self._target_zoom(), self.visible_l0()
        slide = self._document.slide
        whole = QRectF(0, 0, slide["width_l0"], slide["height_l0"])
        margin = seen.adjusted(
            -seen.width() / 4, -seen.height() / 4, seen.width() / 4, seen.height() / 4
        )
        wanted = self._tiles_of(self._top_zoom(), whole) + self._tiles_of(zoom, seen)
        ahead = self._tiles_of(zoom, margin)
        tiles.want(list(dict.fromkeys([*wanted, *ahead])))

    def _on_slide_changed(self) -> None:
        tiles = self._document.tiles
        self._raster_is_stale = True
        if tiles is not None and self._document.slide:
            tiles.loaded.connect(self.update)
            tiles.pin(self._top_zoom())
            self._angle, self._mirrored = 0.0, False
            self.fit()
        self.update()

    def _on_map_changed(self) -> None:
        # Blocks may arrive faster than frames are painted: the raster is made once a frame.
        self._raster_is_stale = True
        self.update()

    def _on_view_changed(self) -> None:
        self._raster_is_stale = True  # its outline depends on the threshold
        self.update()

    def _current_raster(self) -> MapRaster | None:
        document = self._document
        if self._raster_is_stale:
            current = document.map
            self._raster = None if current is None else MapRaster(current, document.threshold)
            self._raster_is_stale = False
        return self._raster
