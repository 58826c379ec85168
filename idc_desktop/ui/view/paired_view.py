"""The view of the document, and beside it the view of what it is compared with."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QPointF, Qt
from PySide6.QtWidgets import QSplitter, QWidget

from idc_desktop.ui.beside import Beside, SideBySide
from idc_desktop.ui.camera import Camera
from idc_desktop.ui.view.slide_view import SlideView


class PairedView(QSplitter):
    """Lays two views side by side, and shows in each where the mouse is in the other.

    Parameters
    ----------
    view : SlideView
        Of the document.
    pair : SideBySide
    """

    def __init__(self, view: SlideView, pair: SideBySide, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._view = view
        self._pair = pair
        self._shown: Beside | None = None
        self.other: SlideView | None = None
        self.setChildrenCollapsible(False)
        self.addWidget(view)
        pair.changed.connect(self._on_changed)
        pair.document.pointed.connect(partial(self._point, 0))

    @property
    def active_camera(self) -> Camera:
        """The camera of the view that has the focus, else the document's."""
        is_other = self.other is not None and self.other.hasFocus()
        return self.other.camera if is_other and self.other is not None else self._view.camera

    def _on_changed(self) -> None:
        former, self.other = self.other, None
        had_focus = former is not None and former.hasFocus()
        if former is not None:
            former.leave()
            former.hide()
            former.deleteLater()
        self._shown = self._pair.beside
        self._view.is_framed = self._shown is not None
        self._view.show_twin(None)
        if self._shown is not None:
            self.other = SlideView(self._shown)
            self.other.setAccessibleName("Slide beside the first")
            self.other.is_framed = True
            self._shown.pointed.connect(partial(self._point, 1))
            self.addWidget(self.other)
            self.setSizes([1, 1])
        if had_focus:
            self._view.setFocus()

    def _point(self, number: int, point_l0: QPointF | None) -> None:
        """Show in one view what the mouse is on in the other, while they move together."""
        if self.other is None or self._shown is None:
            return
        link, opposite = self._shown.link, None
        if point_l0 is not None and link.is_joined:
            opposite = link.opposite(number, point_l0)
        (self.other if number == 0 else self._view).show_twin(opposite)
