"""The figures of the chosen region, or of the whole slide."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QFormLayout, QPushButton, QWidget

from idc_desktop.regions.diameter import Diameter, diameter_of
from idc_desktop.regions.measures import area_text, length_text
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.wrapped_label import WrappedLabel

_EVERY_MS = 200
_UNDEFINED = "–"
_TIPS = {
    "Of": "The chosen region, or the whole slide",
    "Area": "All of it, analyzed or not",
    "Analyzed area": "Part of it whose patches have a probability",
    "IDC area": "Analyzed area with a probability at or above the threshold",
    "Accepted IDC area": "IDC area in the union of all that was judged IDC; unknown before the "
    "first verdict. What was judged otherwise within it counts too, and is told",
    "IDC, of analyzed area": "Share of the analyzed area that is IDC area",
    "Longest diameter": "Of the region; of the slide, the accepted tumour's, its parts together",
    "Mean probability": "Mean over the patches, each weighted by its area in it",
    "Median probability": "Half of the analyzed area has this probability or less",
    "Patches analyzed": "Patches with a probability and with their centre in it",
    "Background": "Patches with too little tissue; known once the analysis is complete",
    "Excluded": "Patches that the shield leaves out: pen, ink, blur, folds, bubbles, wrong colours",
    "Failed": "Patches that could not be read, or for which the model gave no probability",
}


class StatisticsPanel(QWidget):
    """Follows the map and the threshold."""

    failures_asked = Signal()
    """The user wants to know which patches failed."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        form = QFormLayout(self)
        form.setContentsMargins(8, 0, 8, 8)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.figures = {name: WrappedLabel(_UNDEFINED) for name in _TIPS}
        for name, label in self.figures.items():
            form.addRow(name, label)
            for it in (label, form.labelForField(label)):
                it.setToolTip(_TIPS[name])
        self._which = QPushButton("Which patches failed …")
        self._which.clicked.connect(self.failures_asked)
        form.addRow(self._which)
        # Blocks and drags come faster than people read.
        self._refresh = QTimer(self)
        self._refresh.setSingleShot(True)
        self._refresh.setInterval(_EVERY_MS)
        self._refresh.timeout.connect(self._show)
        for changed in (
            document.map_changed,
            document.display_changed,
            document.slide_changed,
            document.regions.changed,
            document.regions.choice_changed,
        ):
            changed.connect(self._on_changed)
        document.state_changed.connect(self._show)
        self._show()

    def _on_changed(self) -> None:
        if not self._refresh.isActive():
            self._refresh.start()

    def _show(self) -> None:
        document = self._document
        texts = dict.fromkeys(self.figures, _UNDEFINED)
        failed = 0
        meter, subject = document.meter, document.subject
        if document.map is not None and meter is not None and subject is not None:
            threshold, accepted = document.threshold, document.regions.accepted
            (found,) = meter.measure([subject.shape], threshold)
            (accepted_um2,) = accepted.areas_um2([subject], meter, threshold)
            longest: Diameter | None
            disputed_um2 = accepted.disputed_um2(subject, meter, threshold)
            disputed = f", of it {area_text(disputed_um2)} judged otherwise" if disputed_um2 else ""
            if len(document.regions.chosen) == 1:
                longest, of_what = diameter_of([subject.shape], meter.mpp), ""
            else:
                longest = accepted.diameter(meter.layer, meter.mpp, threshold)
                of_what = ", accepted tumour" if longest else ""
            failed = document.map.failed_patches
            fraction = found.idc_fraction
            is_complete = bool(document.map.states.all())
            chosen = len(document.regions.chosen)
            subject_text = subject.name
            if chosen > 1:
                subject_text += f", not the {chosen} regions"
            if not is_complete:
                is_partial = document.run is not None and document.run.is_partial
                subject_text += ", inside regions only" if is_partial else ", so far"
            texts = {
                "Of": subject_text,
                "Area": area_text(found.area_um2),
                "Analyzed area": area_text(found.area_um2 * (found.coverage_percent or 0) / 100),
                "IDC area": area_text(found.idc_area_um2),
                "Accepted IDC area": area_text(accepted_um2) + disputed,
                "IDC, of analyzed area": _text(
                    None if fraction is None else 100 * fraction, "{:.1f} %"
                ),
                "Longest diameter": length_text(longest and longest.length) + of_what,
                "Mean probability": _text(found.mean_probability, "{:.3f}"),
                "Median probability": _text(found.median_probability, "{:.3f}"),
                "Patches analyzed": f"{found.patches_analyzed:,}",
                "Background": f"{found.patches_background:,}" if is_complete else _UNDEFINED,
                "Excluded": f"{found.patches_excluded:,}",
                "Failed": f"{found.patches_failed:,}",
            }
        for name, text in texts.items():
            self.figures[name].setText(text)
        self._which.setVisible(failed > 0)


def _text(value: float | None, form: str) -> str:
    return _UNDEFINED if value is None else form.format(value)
