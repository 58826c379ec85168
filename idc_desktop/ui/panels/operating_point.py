"""What the threshold means, and thresholds for a purpose."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from idc_desktop.maps.layers import CONTEXT
from idc_desktop.models.operation import Operation, operating_point_text
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.wrapped_label import WrappedLabel
from idc_desktop.ui.plain import plain_tip

_OWN = "Model's"
_SAME = 5e-4  # half of the last digit that the panel shows


class OperatingPointPanel(QWidget):
    """Presets of the threshold, and the figures of the one that is set.

    Attributes
    ----------
    buttons : dict of str to QPushButton
        By name. That of the model's own threshold is laid out elsewhere, beside the number.
    text : WrappedLabel
        The figures; laid out elsewhere, too: only its own layout gives a text its height.
    """

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        tips = {
            "Screening": "Misses few: a sensitivity of at least 0.95, and of Balanced's",
            "Balanced": "The largest sum of sensitivity and specificity",
            "Specific": "Alarms rarely: a specificity of at least 0.95, and of Balanced's",
            _OWN: "Go back to the model's own threshold",
        }
        self.buttons = {name: QPushButton(name) for name in tips}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for name, button in self.buttons.items():
            button.setToolTip(plain_tip(tips[name]))
            button.clicked.connect(lambda _checked=False, name=name: self._choose(name))
            if name != _OWN:
                row.addWidget(button)
        self.text = WrappedLabel()
        for changed in (document.display_changed, document.map_changed, document.model_changed):
            changed.connect(self._show)
        self._show()

    def _choose(self, name: str) -> None:
        self._document.show(threshold=preset(self._document.operation, name))

    def _show(self) -> None:
        document = self._document
        operation, threshold = document.operation, document.threshold
        for name, button in self.buttons.items():
            at = operation.threshold if name == _OWN else preset(operation, name)
            button.setEnabled(at is not None and abs(at - threshold) > _SAME)
        card = document.card
        where = "labelled slides" if document.measured_map == CONTEXT else card.curve_of
        said = operating_point_text(operation, threshold, where, card.prevalence)
        self.text.setText(said)


def preset(operation: Operation, name: str) -> float | None:
    """Return the threshold of a preset; None if it is not known, and for the model's own."""
    if name == "Balanced":
        return operation.balanced()
    if name == "Screening":
        return operation.screening()
    return operation.specific() if name == "Specific" else None
