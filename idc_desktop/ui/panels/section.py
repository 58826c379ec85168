"""A titled part of a dock that can be folded away."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QToolButton, QVBoxLayout, QWidget


class Section(QWidget):
    """A title with an arrow over some content."""

    def __init__(self, title: str, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._content = content
        self._header = QToolButton()
        self._header.setObjectName("sectionTitle")
        self._header.setText(title)
        self._header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._header.setAutoRaise(True)
        self._header.clicked.connect(lambda: self.fold(not self.is_folded))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._header)
        layout.addWidget(content)
        self.fold(False)

    @property
    def title(self) -> str:
        """The title."""
        return self._header.text()

    @property
    def is_folded(self) -> bool:
        """Whether the content is hidden."""
        return self._content.isHidden()

    def fold(self, folded: bool) -> None:
        """Hide the content, or show it."""
        self._content.setHidden(folded)
        arrow = Qt.ArrowType.RightArrow if folded else Qt.ArrowType.DownArrow
        self._header.setArrowType(arrow)
