"""Verbs as buttons above a list."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtWidgets import QVBoxLayout, QWidget

from idc_desktop.ui.panels.flow_layout import FlowLayout
from idc_desktop.ui.plain import Label
from idc_desktop.ui.verbs import Verb


def lay_out_below_verbs(panel: QWidget, verbs: Iterable[Verb], hint: str, view: QWidget) -> None:
    """Give a panel buttons for verbs, a hint beside them, and below them what they act on."""
    row = FlowLayout()
    for verb in verbs:
        row.addWidget(verb.button())
    row.addWidget(Label(hint))
    column = QVBoxLayout(panel)
    column.setContentsMargins(6, 4, 6, 4)
    column.addLayout(row)
    column.addWidget(view, 1)
