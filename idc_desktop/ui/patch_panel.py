"""Why here: the very pixels that the model saw of a clicked patch, and what it said."""

from __future__ import annotations

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtWidgets import QGroupBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from idc_desktop.card import PATCH_SIZE_PX
from idc_desktop.grid import MILLIONTHS, PatchState
from idc_desktop.ui.document import SlideDocument

_ENLARGED = 3
_INVITATION = "Click a patch\nof the map"


class PatchPanel(QGroupBox):
    """Shows one patch: enlarged pixels, probability, and its eight neighbours."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__("Patch", parent)
        self._document = document
        self._cell: tuple[int, int] | None = None
        self._picture = QLabel(_INVITATION)
        side = PATCH_SIZE_PX * _ENLARGED
        self._picture.setFixedSize(side, side)
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._picture.setAccessibleName("Pixels that the model saw")
        self._text = QLabel()
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._neighbours = QLabel()
        layout = QHBoxLayout(self)
        layout.addWidget(self._picture)
        column = QVBoxLayout()
        column.addWidget(self._text)
        column.addWidget(self._neighbours)
        column.addStretch(1)
        layout.addLayout(column, 1)
        document.slide_changed.connect(self._on_slide_changed)
        document.map_changed.connect(self._show_text)

    def show_patch_at(self, point_l0: QPointF) -> None:
        """Show the patch that holds a level-0 point; nothing outside the map."""
        grid, tiles = self._document.grid, self._document.tiles
        cell = None if grid is None else grid.cell_at(point_l0.x(), point_l0.y())
        if cell is None or tiles is None:
            return
        self._cell = cell
        self._document.selected = cell
        self._document.view_changed.emit()
        self._show_text()
        tiles.ask_patch(self._document.card.spacing_um_px, *cell)

    def _on_slide_changed(self) -> None:
        self._cell = None
        self._picture.setText(_INVITATION)
        self._text.clear()
        self._neighbours.clear()
        if self._document.tiles is not None and self._document.slide:
            self._document.tiles.patch_loaded.connect(self._show_picture)

    def _show_picture(self, image: QImage) -> None:
        enlarged = image.scaled(
            self._picture.size(),
            Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.FastTransformation,
        )
        self._picture.setPixmap(QPixmap.fromImage(enlarged))

    def _show_text(self) -> None:
        current = self._document.map
        if current is None or self._cell is None:
            return
        row, col = self._cell
        if row >= current.grid.rows or col >= current.grid.cols:
            return
        state = PatchState(current.states[row, col])
        said = state.label.replace("_", " ")
        if state is PatchState.OK:
            said = f"p = {current.millionths[row, col] / MILLIONTHS:.6f}"
        elif (row, col) in current.reasons:
            said += f": {current.reasons[row, col]}"
        self._text.setText(f"row {row}, column {col}\n{said}")
        lines = []
        for near_row in range(row - 1, row + 2):
            values = []
            for near_col in range(col - 1, col + 2):
                inside = 0 <= near_row < current.grid.rows and 0 <= near_col < current.grid.cols
                known = inside and current.states[near_row, near_col] == PatchState.OK
                value = current.millionths[near_row, near_col] / MILLIONTHS if known else None
                values.append("  –  " if value is None else f"{value:.2f} ")
            lines.append(" ".join(values))
        self._neighbours.setText("with its neighbours:\n" + "\n".join(lines))
