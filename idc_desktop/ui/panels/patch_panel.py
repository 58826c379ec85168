"""Why here: the very pixels that the model saw of the selected patch, and what it said."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QImage, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from idc_desktop.maps.probability_map import MapLayer
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.wrapped_label import WrappedLabel

_SIDE = 264  # 3 x 3 patches of 88 pixels
_PAPER = QColor(255, 255, 255, 220)
_INK = QColor(20, 20, 22)
_MARK = QColor(200, 30, 30)


class _Neighbourhood(QWidget):
    """The patch in the middle of its eight neighbours, each with its probability."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._image: QImage | None = None
        self._layer: MapLayer | None = None
        self._cell = (0, 0)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Pixels that the model saw, with the neighbouring patches")

    def sizeHint(self) -> QSize:
        return QSize(_SIDE, _SIDE)

    def show_cell(self, layer: MapLayer, cell: tuple[int, int]) -> None:
        if cell != self._cell:
            self._image = None  # the pixels of this cell are on their way
        self._layer, self._cell = layer, cell
        self.update()

    def show_image(self, image: QImage | None) -> None:
        self._image = image
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        side = _SIDE / 3
        if self._image is None:
            painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.AlternateBase))
        else:
            painter.drawImage(self.rect(), self._image)
        font = QFont(self.font())
        font.setPointSizeF(font.pointSizeF() * 0.9)
        painter.setFont(font)
        for down in range(3):
            for across in range(3):
                text = self._text(self._cell[0] + down - 1, self._cell[1] + across - 1)
                if text:
                    box = QRectF(across * side + 2, (down + 1) * side - 18, side - 4, 16)
                    width = painter.fontMetrics().horizontalAdvance(text) + 8
                    painter.fillRect(QRectF(box.left(), box.top(), width, 16), _PAPER)
                    painter.setPen(_INK)
                    painter.drawText(box.adjusted(4, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, text)
        painter.setPen(QPen(_MARK, 2))
        painter.drawRect(QRectF(side, side, side, side))
        painter.end()

    def _text(self, row: int, col: int) -> str:
        layer = self._layer
        if layer is None or not (0 <= row < layer.grid.rows and 0 <= col < layer.grid.cols):
            return ""
        value = layer.value_at(row, col)
        return layer.map.state_at(row, col).words if value is None else f"{value:.2f}"


class PatchPanel(QWidget):
    """Shows the selected patch: pixels, state, probability, and its neighbours."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.text = WrappedLabel()
        self.picture = _Neighbourhood()
        self._caption = WrappedLabel("")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 8, 8)
        layout.addWidget(self.text)
        layout.addWidget(self.picture)
        layout.addWidget(self._caption)
        document.slide_changed.connect(self._on_slide_changed)
        document.map_changed.connect(self._show)
        document.display_changed.connect(self._show)
        document.selection_changed.connect(self._on_selected)
        self._show()

    def _on_slide_changed(self) -> None:
        self.picture.show_image(None)
        if self._document.tiles is not None:
            self._document.tiles.patch_loaded.connect(self.picture.show_image)

    def _on_selected(self) -> None:
        self._show()
        tiles, cell = self._document.tiles, self._document.selected
        if tiles is not None and cell is not None:
            tiles.ask_patch(self._document.card.patch, *cell)

    def _show(self) -> None:
        layer, cell = self._document.layer, self._document.selected
        is_shown = cell is not None and layer is not None
        self.picture.setVisible(is_shown)
        self._caption.setVisible(is_shown)
        if cell is None or layer is None:
            self.text.setText("Click a patch of the map to see what the model saw.")
            return
        self.picture.show_cell(layer, cell)
        side = self._document.card.patch.side_px
        self._caption.setText(f"The pixels that the model saw, {side} × {side} per patch, resized.")
        row, col = cell
        measured = self._document.measured
        assert measured is not None
        if measured.value_at(row, col) is not None:
            said = ", ".join(_values_text(measured, *cell))
            is_idc = measured.positive(self._document.threshold)[cell]
            said += ", IDC" if is_idc else ", not IDC"
            said += f" at threshold {self._document.threshold:.3f}"
        else:
            said = layer.map.state_text(*cell)
            if layer.map.excluded[cell]:
                said += f" ({_stored_text(measured, *cell)}, not counted)"
        self.text.setText(f"Row {row}, column {col}: {said}")


def _stored_text(measured: MapLayer, row: int, col: int) -> str:
    """Say what the model said of a patch that is left out."""
    patch = measured.map.layer()
    return f"{patch.kind.symbol} = {patch.kind.value(int(patch.stored[row, col])):.6f}"


def _values_text(measured: MapLayer, row: int, col: int) -> Iterator[str]:
    """Say what each layer has of a patch; the names of the layers where there are several."""
    layers = measured.map.layers
    for layer in layers:
        value = layer.value_at(row, col)
        name = layer.kind.symbol if len(layers) == 1 else layer.kind.unit
        if value is not None:
            yield f"{name} = {value:.6f}"
