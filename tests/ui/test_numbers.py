"""Numbers in the window: a decimal point, whatever the language of the desktop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QLocale, Qt
from pytestqt.qtbot import QtBot

from idc_desktop.ui.numbers import NumberField, number_text
from idc_desktop.ui.view.guides import bar_text
from tests.support.models import TinyModel
from tests.ui.support import part, window_with


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.0, "1,234"),
        (1_234_567.8, "1,234,568"),
        (999.6, "1,000"),
        (99.96, "100"),
        (100.0, "100"),
        (4.2101, "4.21"),
        (2.5, "2.5"),
        (0.012345, "0.0123"),
        (0.0000001, "0.0000001"),
        (-3.14159, "-3.14"),
        (0.0, "0"),
    ],
)
def test_numbers_have_no_exponent(value: float, text: str) -> None:
    assert number_text(value) == text


def test_lengths_have_no_exponent() -> None:
    assert bar_text(12_345_678.0) == "12,346 mm"
    assert bar_text(0.00002) == "0.00002 µm"


@pytest.fixture(params=["de_DE", "fr_FR", "en_US", "C"])
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    before = QLocale()
    QLocale.setDefault(QLocale(request.param))
    yield request.param
    QLocale.setDefault(before)


@pytest.mark.parametrize("typed", ["0.25", "0,25", ".25", ",25"])
def test_both_separators_are_read_in_every_language(
    qtbot: QtBot, language: str, typed: str
) -> None:
    field = NumberField()
    qtbot.addWidget(field)
    field.setRange(0, 10_000)
    field.setDecimals(4)
    field.setSuffix(" µm/px")
    field.show()
    field.selectAll()
    qtbot.keyClicks(field, typed)
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert field.value() == 0.25
    assert field.text() == "0.2500 µm/px"
    field.setValue(1234.5)
    assert field.text() == "1234.5000 µm/px"


def test_fields_of_the_window_read_both_separators(
    qtbot: QtBot, language: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    with window_with(tiny_model.path) as window:
        window.show()
        field = part(window.inspector, NumberField, "Threshold")
        for typed in ("0.35", "0,45"):
            field.selectAll()
            qtbot.keyClicks(field, typed)
            qtbot.keyClick(field, Qt.Key.Key_Return)
            assert window.document.threshold == float(typed.replace(",", "."))
            assert field.text() == typed.replace(",", ".") + "0"
