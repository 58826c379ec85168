"""A small picture of the whole slide that shows where the view looks, and takes it elsewhere."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, QSizeF, Qt
from PySide6.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QTransform,
)
from PySide6.QtWidgets import QWidget

from idc_desktop.ui.scene import SlideScene
from idc_desktop.ui.tiles.overview import loaded_top_tiles, paint_overview

_SIDE = 190
_BORDER = 4
_PAPER = QColor(255, 255, 255, 235)
_FRAME = QColor(200, 30, 30)
_SMALLEST_FRAME = 7.0


class Minimap(QWidget):
    """Lies in a corner of the view; click or drag to look elsewhere.

    The slide is turned here as it is in the view, so that up is up in both.
    """

    def __init__(self, scene: SlideScene, view: QWidget) -> None:
        super().__init__(view)
        self._scene = scene
        self._view = view
        self._picture: QImage | None = None
        self._picture_tiles = -1
        self._picture_key: tuple[QSize, QTransform, int] | None = None
        self._placed_for = QTransform()
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setAccessibleName("Overview of the slide")
        self.setToolTip("Click or drag to look elsewhere")
        self.hide()
        scene.slide_changed.connect(self._on_slide_changed)
        scene.camera.moved.connect(self._on_moved)

    def place(self) -> None:
        """Take the upper right corner of the view, if it is large enough."""
        pyramid = self._scene.pyramid
        if pyramid is None or self._view.width() < 3 * _SIDE:
            self.hide()
            return
        size, self._placed_for = self._turned_size(), self._turn()
        self.resize(size.width() + 2 * _BORDER, size.height() + 2 * _BORDER)
        self.move(self._view.width() - self.width() - 12, 12)
        self.show()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the slide and the outline of what the view sees."""
        if self._scene.pyramid is None or self._scene.tiles is None:
            return
        painter = QPainter(self)
        painter.fillRect(self.rect(), _PAPER)
        inside = QRectF(self.rect()).adjusted(_BORDER, _BORDER, -_BORDER, -_BORDER)
        painter.drawImage(inside, self._current_picture())
        painter.setClipRect(self.rect().adjusted(1, 1, -1, -1))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        seen = self._seen().intersected(QPolygonF(inside))
        painter.setPen(QPen(QColor(255, 255, 255), 4))
        painter.drawPolygon(seen)
        painter.setPen(QPen(_FRAME, 2))
        painter.drawPolygon(seen)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Look where the mouse is."""
        self._look_at(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the mouse."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._look_at(event.position())

    def _look_at(self, position: QPointF) -> None:
        inverse, _ = self._to_picture().inverted()
        self._scene.camera.centre_on(inverse.map(position))

    def _turn(self) -> QTransform:
        """Return how the slide is turned and mirrored, around its level-0 origin."""
        viewport = self._scene.camera.viewport
        turn = QTransform().rotate(viewport.angle_deg)
        return turn.scale(-1, 1) if viewport.mirrored else turn

    def _turned_size(self) -> QSize:
        """Return the size of the box around the slide as it is turned."""
        assert self._scene.pyramid is not None
        turned = self._turn().mapRect(self._scene.pyramid.area_l0).size()
        scaled = turned.scaled(QSizeF(_SIDE, _SIDE), Qt.AspectRatioMode.KeepAspectRatio)
        return scaled.toSize().expandedTo(QSize(8, 8))

    def _to_picture(self) -> QTransform:
        """Return the transform from level-0 pixels to this widget's."""
        assert self._scene.pyramid is not None
        area, size = self._scene.pyramid.area_l0, QSizeF(self._turned_size())
        around = self._turn().mapRect(area)
        to_box = QTransform.fromTranslate(_BORDER, _BORDER)
        to_box.scale(size.width() / around.width(), size.height() / around.height())
        to_box.translate(-around.left(), -around.top())
        return self._turn() * to_box

    def _seen(self) -> QPolygonF:
        """Return the outline of what the view sees; never too small to be found."""
        size = self._scene.camera.size
        inverse, _ = self._scene.camera.to_device().inverted()
        corners = inverse.map(QPolygonF(QRectF(QPointF(), size)))
        seen = self._to_picture().map(corners)
        if max(seen.boundingRect().width(), seen.boundingRect().height()) < _SMALLEST_FRAME:
            half = _SMALLEST_FRAME / 2
            seen = QPolygonF(
                QRectF(-half, -half, 2 * half, 2 * half).translated(seen.boundingRect().center())
            )
        return seen

    def _current_picture(self) -> QImage:
        """Return the slide's picture, turned; it is painted again while tiles come in."""
        tiles, pyramid = self._scene.tiles, self._scene.pyramid
        assert tiles is not None
        assert pyramid is not None
        ratio = self.devicePixelRatioF()
        size, here = self._turned_size() * ratio, loaded_top_tiles(pyramid, tiles)
        key = (size, self._turn(), here)
        if self._picture is None or self._picture_key != key:
            to_picture = self._to_picture() * QTransform.fromTranslate(-_BORDER, -_BORDER)
            to_picture *= QTransform.fromScale(ratio, ratio)
            self._picture = paint_overview(pyramid, tiles, size, to_picture)
            self._picture_key, self._picture_tiles = key, here
        return self._picture

    def _on_moved(self) -> None:
        if self._placed_for != self._turn():
            self.place()
        self.update()

    def _on_slide_changed(self) -> None:
        self._picture, self._picture_tiles = None, -1
        if self._scene.tiles is not None:
            self._scene.tiles.loaded.connect(self._on_loaded)
        self.place()

    def _on_loaded(self) -> None:
        pyramid = self._scene.pyramid
        if pyramid is not None and self._picture_tiles < len(pyramid.top_tiles()):
            self.update()
