"""A row of widgets that goes on in the next line where the window is narrow."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QLayout, QLayoutItem, QWidget

from idc_desktop.ui.plain import Label

_SPACING_PX = 6


class FlowLayout(QLayout):
    """Places widgets one after the other, in as many lines as they need."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []

    def add_named(self, name: str, field: QWidget) -> None:
        """Add a field with its name before it, in one line."""
        pair = QWidget()
        row = QHBoxLayout(pair)
        row.setContentsMargins(0, 0, 0, 0)
        label = Label(name)
        label.setBuddy(field)  # a screen reader says it of the field
        row.addWidget(label)
        row.addWidget(field)
        self.addWidget(pair)

    def addItem(self, item: QLayoutItem) -> None:
        """Take another one."""
        self._items.append(item)

    def count(self) -> int:
        """Return how many there are."""
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        """Return one of them."""
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        """Give one back."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        """Need no more room than is needed."""
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        """Say that the height depends on the width."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height of all lines."""
        return sum(height + _SPACING_PX for height, _ in self._lines(width)) - _SPACING_PX

    def setGeometry(self, area: QRect) -> None:
        """Place the widgets, each in the middle of its line's height."""
        super().setGeometry(area)
        top = area.top()
        for height, line in self._lines(area.width()):
            left = area.left()
            for item, size in line:
                above = (height - size.height()) // 2
                item.setGeometry(QRect(QPoint(left, top + above), size))
                left += size.width() + _SPACING_PX
            top += height + _SPACING_PX

    def sizeHint(self) -> QSize:
        """Ask for one line."""
        sizes = [item.sizeHint() for item in self._items]
        width = sum(size.width() + _SPACING_PX for size in sizes) - _SPACING_PX
        return QSize(width, max(size.height() for size in sizes))

    def minimumSize(self) -> QSize:
        """Be content with one widget in a line."""
        sizes = [item.minimumSize() for item in self._items]
        return QSize(max(it.width() for it in sizes), max(it.height() for it in sizes))

    def _lines(self, width: int) -> list[tuple[int, list[tuple[QLayoutItem, QSize]]]]:
        """Return the height of each line, and its widgets with their sizes."""
        lines: list[tuple[int, list[tuple[QLayoutItem, QSize]]]] = []
        used = 0
        for item in self._items:
            size = item.sizeHint()
            size.setWidth(min(size.width(), width))
            if lines and used + _SPACING_PX + size.width() <= width:
                height, line = lines[-1]
                lines[-1] = max(height, size.height()), [*line, (item, size)]
                used += _SPACING_PX + size.width()
            else:
                lines.append((size.height(), [(item, size)]))
                used = size.width()
        return lines
