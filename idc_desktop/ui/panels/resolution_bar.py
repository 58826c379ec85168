"""Asks for the resolution of a slide that does not state it, and shows what was answered."""

from __future__ import annotations

from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.slides.description import MPP_RANGE
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.numbers import NumberField
from idc_desktop.ui.plain import Label

_LEAST_UM, _MOST_UM = MPP_RANGE  # what can be typed; which of it can be analyzed, the model decides


class ResolutionBar(QFrame):
    """Lies over the view while the resolution is unknown, doubtful, or is the user's word."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.setObjectName("resolutionBar")
        self.text = Label()
        self.text.setWordWrap(True)  # else the window could not be narrower than the words
        self.field = NumberField()
        self.field.setRange(0.0, _MOST_UM)
        self.field.setDecimals(4)
        self.field.setSingleStep(0.05)
        self.field.setSpecialValueText("µm per pixel?")  # shown at 0: no value is suggested
        self.field.setSuffix(" µm/px")
        self.field.setMinimumWidth(140)
        self.field.setAccessibleName("Resolution, µm per pixel")
        self._use = QPushButton("Use")
        self._use.clicked.connect(self._on_use)
        row = QHBoxLayout()
        row.addWidget(self.field)
        row.addWidget(self._use)
        row.addStretch(1)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addLayout(row)
        self.field.valueChanged.connect(self._on_value)
        document.slide_changed.connect(self._on_slide_changed)
        self._on_slide_changed()

    def _on_slide_changed(self) -> None:
        mpp, slide = self._document.mpp_xy, self._document.slide
        is_given = slide is not None and slide.mpp_source == "user"
        is_doubtful = slide is not None and bool(slide.scale_doubt)
        self.setVisible(slide is not None and (mpp is None or is_given or is_doubtful))
        self.field.setValue(mpp[0] if (is_given or is_doubtful) and mpp is not None else 0.0)
        self._on_value(self.field.value())

    def _on_value(self, mpp: float) -> None:
        slide = self._document.slide
        known, plausible = self._document.mpp_xy, mpp >= _LEAST_UM
        self._use.setEnabled(slide is not None and plausible and (known is None or mpp != known[0]))
        text = "This slide does not say how large its pixels are."
        if slide is not None and slide.scale_doubt:
            text = slide.scale_doubt
        elif known is not None:
            text = "The size of the pixels was given by hand."
        if slide is not None and plausible:
            width, height = slide.width_l0 * mpp / 1000, slide.height_l0 * mpp / 1000
            text += f" The scan would be {width:.1f} × {height:.1f} mm. Is that its size?"
        elif slide is not None and slide.mpp_of_objective is not None:
            text += f" Its objective, {slide.objective_power:g}x, suggests about "
            text += f"{slide.mpp_of_objective:.3g}."
        else:
            text += " Scanners at 40x give about 0.25, at 20x about 0.5."
        self.text.setText(text)

    def _on_use(self) -> None:
        self._document.give_resolution(self.field.value())
