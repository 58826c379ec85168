"""Chooses what is shown beside the slide, and says what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.models.model_file import bundled_models
from idc_desktop.plain_text import one_line
from idc_desktop.regions.statistics import whole_slide
from idc_desktop.ui.beside import Beside, SideBySide
from idc_desktop.ui.panels.flow_layout import FlowLayout
from idc_desktop.ui.panels.wrapped_label import WrappedLabel
from idc_desktop.ui.plain import Label, plain_tip
from idc_desktop.ui.scene import SlideScene

_SAME = "The same slide"
_LEAST_LETTERS = 12
_EVERY_MS = 150


class BesideBar(QFrame):
    """Lies over the two views as long as there are two."""

    def __init__(
        self, pair: SideBySide, slides: Callable[[], list[Path]], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._pair = pair
        self._slides = slides  # of the list
        self._shown: Beside | None = None
        self.slides, self.models, self.layers = _box("Slide"), _box("Model"), _box("Layer")
        self.slides.activated.connect(lambda _: pair.show(self.slides.currentData()))
        self.models.activated.connect(self._on_model)
        self.layers.activated.connect(self._on_layer)
        self.together = QCheckBox("Move together")
        self.together.setToolTip(
            "Alike in µm, magnification and turn; what is in the middle of both belongs together"
        )
        self.together.clicked.connect(pair.join_or_free)
        self.left, self.right = WrappedLabel(), WrappedLabel()
        close = QPushButton("Close")
        close.setAccessibleName("Show one slide alone")
        close.clicked.connect(pair.hide)
        choices = QWidget()
        flow = FlowLayout(choices)
        for widget in (Label("Beside:"), self.slides, self.models, self.layers, self.together):
            flow.addWidget(widget)
        flow.addWidget(close)
        words = QHBoxLayout()
        words.addWidget(self.left, 1)
        words.addWidget(self.right, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 8, 4)
        column.addWidget(choices)
        column.addLayout(words)
        pair.changed.connect(self._on_changed)
        # Blocks and drags come faster than people read.
        self._soon = QTimer(self, singleShot=True, interval=_EVERY_MS)
        self._soon.timeout.connect(self._show)
        pair.document.state_changed.connect(self._show)
        for often in (pair.document.map_changed, pair.document.display_changed):
            often.connect(self._show_soon)
        self._on_changed()

    def _on_model(self, _: int) -> None:
        if self._shown is not None:
            self._shown.choose_model(self.models.currentData())

    def _on_layer(self, _: int) -> None:
        if self._shown is not None:
            self._shown.choose_layer(self.layers.currentData())

    def _on_changed(self) -> None:
        shown = self._shown = self._pair.beside
        self.setVisible(shown is not None)
        if shown is None:
            return
        self._offer_slides(shown)
        for changed in (shown.changed, shown.link.changed):
            changed.connect(self._show)
        shown.map_changed.connect(self._show_soon)
        shown.noted.connect(self._pair.document.noted)
        self._show()

    def _offer_slides(self, shown: Beside) -> None:
        self.slides.clear()
        self.slides.addItem(_SAME, None)
        open_now = self._pair.document.path
        for path in self._slides():
            if open_now is None or path != open_now.absolute():
                self.slides.addItem(one_line(path.name), path)
        at = self.slides.findData(shown.path) if shown.is_other_slide else 0
        if at < 0:
            at = self.slides.count()
            self.slides.addItem(one_line(shown.path.name) if shown.path else "", shown.path)
        self.slides.setCurrentIndex(at)

    def _show_soon(self) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def _show(self) -> None:
        shown = self._shown
        if shown is None:
            return
        _offer(self.models, _models(shown), _model_key(shown))
        kinds = [it.kind for it in shown.map.layers] if shown.map is not None else []
        layer = shown.layer.name if shown.layer is not None else ""
        _offer(self.layers, {it.name: it.title for it in kinds}, layer)
        self.layers.setVisible(len(kinds) > 1)
        self.together.setChecked(shown.link.is_joined)
        self.together.setEnabled(shown.link.can_join)
        self.left.setText(_said_of(self._pair.document))
        complete = bool(shown.map is not None and shown.map.states.all())
        self.right.setText(_said_of(shown) if complete else shown.message)


def _box(name: str) -> QComboBox:
    box = QComboBox()
    box.setAccessibleName(f"{name} beside the first")
    box.setToolTip(plain_tip(f"{name} of the view on the right"))
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(_LEAST_LETTERS)
    return box


def _offer(box: QComboBox, choices: dict[str, str], chosen: str) -> None:
    """Have a box hold choices, by what they stand for, and show one."""
    if [box.itemData(place) for place in range(box.count())] != list(choices):
        box.clear()
        for key, words in choices.items():
            box.addItem(words, key)
    box.setCurrentIndex(max(0, box.findData(chosen)))


def _models(scene: SlideScene) -> dict[str, str]:
    """Return the models that can be chosen, by what finds them."""
    names = {name: name for name in bundled_models()}
    key = _model_key(scene)
    return names if key in names else {**names, key: f"{scene.card.name} ({scene.model.path.name})"}


def _model_key(scene: SlideScene) -> str:
    bundled = {str(path): name for name, path in bundled_models().items()}
    return bundled.get(str(scene.model.path), str(scene.model.path))


def _said_of(scene: SlideScene) -> str:
    """Say in a line what is seen in a view, and what the map says of the whole slide."""
    if scene.path is None:
        return ""
    text = f"{one_line(scene.path.name)}: {scene.card.name}"
    layer = scene.measured
    if layer is not None and scene.meter is not None:
        text += f", {layer.name}"
        (found,) = scene.meter.measure([whole_slide(layer.grid).shape], scene.threshold)
        if found.idc_fraction is not None:
            text += f", IDC {100 * found.idc_fraction:.1f} % at {scene.threshold:.3f}"
    return text
