"""How a slide stands in the list: its picture, its name, and how far it is."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, Qt
from PySide6.QtGui import QPainter, QPalette
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

_GAP_PX = 8


class SlideItem(QStyledItemDelegate):
    """Shortens a name in its middle where it must; what was found is wrapped, never cut.

    The item's text is the name and, after a line break, how far the slide is.
    """

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        """Draw picture and texts."""
        item = QStyleOptionViewItem(option)
        self.initStyleOption(item, index)
        name, _, found = str(index.data()).partition("\n")
        item.text = ""
        style, is_selected = item.widget.style(), item.state & QStyle.StateFlag.State_Selected
        style.drawControl(QStyle.ControlElement.CE_ItemViewItem, item, painter, item.widget)
        role = QPalette.ColorRole.HighlightedText if is_selected else QPalette.ColorRole.Text
        painter.save()
        painter.setPen(item.palette.color(role))
        painter.setFont(item.font)
        left = item.decorationSize.width() + 2 * _GAP_PX
        box = item.rect.adjusted(left, 0, -_GAP_PX // 2, 0)
        line = item.fontMetrics.lineSpacing()
        # "34 %" stays in one line.
        found, flags = found.replace(" %", "\N{NO-BREAK SPACE}%"), Qt.TextFlag.TextWordWrap
        below = item.fontMetrics.boundingRect(box, flags, found)
        top = box.center().y() - min(line + below.height(), box.height()) // 2
        name = item.fontMetrics.elidedText(name, Qt.TextElideMode.ElideMiddle, box.width())
        painter.drawText(
            QRect(box.left(), top, box.width(), line), Qt.TextFlag.TextSingleLine, name
        )
        painter.drawText(QRect(box.left(), top + line, box.width(), below.height()), flags, found)
        painter.restore()
