"""How a slide stands in the list: its picture, its name, and how far it is."""

from __future__ import annotations

import re

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPalette
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from idc_desktop.ui.slide_model import PICTURE_ROLE, WORDS_ROLE
from idc_desktop.ui.slide_pictures import ICON

_GAP_PX = 8
_TOGETHER = re.compile(r"(?<=\d) (?=%|failed)|(?<=\bIDC) (?=\d)|(?<=\bat) (?=\d)")


class SlideItem(QStyledItemDelegate):
    """Gives a long name two lines; what was found is wrapped, never cut."""

    def initStyleOption(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Put the slide's picture beside its name."""
        super().initStyleOption(option, index)
        option.icon = index.data(PICTURE_ROLE)
        option.features |= QStyleOptionViewItem.ViewItemFeature.HasDecoration
        option.font.setBold(False)  # it is highlighted

    def sizeHint(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        """Have all rows as high as a picture."""
        return QSize(0, ICON.height() + 10)

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        """Draw picture and texts."""
        item = QStyleOptionViewItem(option)
        self.initStyleOption(item, index)
        name, found = str(index.data()), str(index.data(WORDS_ROLE))
        item.text = ""
        style, is_selected = item.widget.style(), item.state & QStyle.StateFlag.State_Selected
        style.drawControl(QStyle.ControlElement.CE_ItemViewItem, item, painter, item.widget)
        role = QPalette.ColorRole.HighlightedText if is_selected else QPalette.ColorRole.Text
        painter.save()
        painter.setPen(item.palette.color(role))
        painter.setFont(item.font)
        left = item.decorationSize.width() + 2 * _GAP_PX
        box = item.rect.adjusted(left, 0, -_GAP_PX // 2, 0)
        flags, found = Qt.TextFlag.TextWordWrap, _in_pieces(found)
        lines, line = (
            _name_lines(name, item.fontMetrics, box.width()),
            item.fontMetrics.lineSpacing(),
        )
        height = len(lines) * line + item.fontMetrics.boundingRect(box, flags, found).height()
        box.setTop(max(box.top(), box.center().y() - height // 2))
        for text in lines:
            painter.drawText(box, Qt.TextFlag.TextSingleLine, text)
            box.setTop(box.top() + line)
        painter.drawText(box, flags, found)
        painter.restore()


def _name_lines(name: str, metrics: QFontMetrics, width: int) -> list[str]:
    """Return a name in one line, or two: the second is shortened if it must be."""
    fits = len(name)
    while fits > 1 and metrics.horizontalAdvance(name[:fits]) > width:
        fits -= 1
    if fits == len(name):
        return [name]
    return [name[:fits], metrics.elidedText(name[fits:], Qt.TextElideMode.ElideMiddle, width)]


def _in_pieces(found: str) -> str:
    """Let lines end where a reader would end them: "34 %" and "6 failed" stay together."""
    return _TOGETHER.sub("\N{NO-BREAK SPACE}", found)
