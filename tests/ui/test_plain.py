"""Words from files are shown as they stand: no headline, no picture and no link comes of them."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QAction, QDesktopServices, QTextDocument, QTextDocumentFragment
from PySide6.QtGui import Qt as QtText
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QLabel,
    QListView,
    QMessageBox,
    QTextBrowser,
    QTextEdit,
    QToolTip,
    QWidget,
)
from pytestqt.qtbot import QtBot

from idc_desktop.errors import SlideError
from idc_desktop.regions.shape import Region, rectangle
from idc_desktop.ui import app
from idc_desktop.ui.exporting import Exported
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.plain import Label, MessageBox, plain_tip
from tests.support.models import TinyModel, write_tiny_model
from tests.support.scenes import Scene
from tests.ui.support import analyze, window_with

UI = Path(app.__file__).parent
EVIL = "<h1>DONE</h1><a href='http:evil'>x<img src='evil.png'>"
FILE_EVIL = EVIL.replace("/", "\u2044")  # as a file may be named


def rich_texts() -> Iterator[str]:
    """Yield what is shown, or would be, and is taken for HTML without being meant as such."""
    for widget in QApplication.allWidgets():
        if isinstance(widget, QLabel) and is_taken_for_html(widget):
            yield widget.text()
        if isinstance(widget, QTextEdit):
            yield from rich_parts(widget.document())
        yield from evil_tips(widget.toolTip(), widget.statusTip(), widget.whatsThis())
        for action in widget.findChildren(QAction):
            yield from evil_tips(action.toolTip(), action.statusTip(), action.whatsThis())
        if isinstance(widget, QAbstractItemView) and widget.model() is not None:
            yield from evil_tips(*tips_of(widget))


def is_taken_for_html(label: QLabel) -> bool:
    form = label.textFormat()
    is_rich = form in (Qt.TextFormat.RichText, Qt.TextFormat.MarkdownText)
    guesses = form == Qt.TextFormat.AutoText
    return is_rich or (guesses and QtText.mightBeRichText(label.text()))


def rich_parts(document: QTextDocument) -> Iterator[str]:
    """Yield links and pictures; pages of our own are HTML."""
    block = document.begin()
    while block.isValid():
        for run in block:
            form = run.fragment().charFormat()
            if form.isAnchor() or form.isImageFormat():
                yield run.fragment().text()
        block = block.next()


def tips_of(view: QAbstractItemView) -> Iterator[str]:
    model = view.model()
    role = Qt.ItemDataRole.ToolTipRole
    for column in range(1 if isinstance(view, QListView) else model.columnCount()):
        yield model.headerData(column, Qt.Orientation.Horizontal, role) or ""
        for row in range(model.rowCount()):
            yield model.data(model.index(row, column, QModelIndex()), role) or ""


def evil_tips(*tips: str) -> Iterator[str]:
    """Yield tips that do not show the markup which came with a name."""
    for tip in tips:
        if QtText.mightBeRichText(tip):
            shown = QTextDocumentFragment.fromHtml(tip).toPlainText()
            if "<h1>" not in shown or "<img" not in shown:
                yield tip


@pytest.fixture
def evil_model(tmp_path: Path) -> TinyModel:
    model = write_tiny_model(tmp_path / f"{FILE_EVIL}.onnx", version=EVIL, recipe=EVIL)
    card = json.loads(json.dumps(model.card))
    idc = card["idc"]
    idc["limitations"], idc["attribution"], idc["licence"] = [EVIL], EVIL, EVIL
    idc["training"]["data"] = idc["training"]["split"] = EVIL
    idc["calibration"]["fitted_on"] = idc["calibration"]["weighting"] = EVIL
    idc["intended_use"] = {"tissue": EVIL, "stain": EVIL, "scanner": EVIL}
    idc["metrics"] = {EVIL: {"auc": {"value": EVIL, "low": EVIL, "high": EVIL}, EVIL: EVIL}}
    proto = onnx.load(model.path)
    proto.metadata_props[0].value = json.dumps(card)
    model.path.write_bytes(proto.SerializeToString())
    return model


@pytest.fixture
def evil_window(
    qtbot: QtBot,
    tmp_path: Path,
    tiny_slide: Scene,
    evil_model: TinyModel,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MainWindow]:
    """An analyzed slide with regions, where whatever has a name has an evil one."""
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    opened: list[object] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    folder = tmp_path / FILE_EVIL
    folder.mkdir()
    slide = folder / f"{FILE_EVIL}.tiff"
    shutil.copy(tiny_slide.path, slide)
    with window_with(evil_model.path) as window:
        window.show()
        window.open(slide)
        analyze(window, qtbot)
        shapes = [rectangle(100, 100, 700, 700), rectangle(400, 300, 900, 900)]
        window.document.regions.edit(
            EVIL, put=[Region(EVIL, it, EVIL, id=str(number)) for number, it in enumerate(shapes)]
        )
        for dock in window.docks.values():
            dock.show()
        yield window
    assert opened == []


def dialogs_of(window: MainWindow) -> dict[str, Callable[[], object]]:
    desk, document = window.dialogs, window.document
    return {
        "card": desk.show_card,
        "provenance": desk.show_provenance,
        "about": desk.show_about,
        "keys": window._show_shortcuts,
        "warning": lambda: desk.warn(EVIL, EVIL),
        "again": desk.ask_again,
        "unsaved": lambda: desk.ask_unsaved(EVIL, lambda: None),
        "replaced": lambda: desk.ask_overwrite(EVIL, lambda: None),
        "exported": lambda: desk.tell_exported(Exported(Path(EVIL), (EVIL,))),
        "export": lambda: desk.ask_export(lambda *_: None),
        "failures": desk.show_failures,
        "pictures": desk.show_associated,
        "slide refused": lambda: document.refused.emit(EVIL),
        "model refused": lambda: document.model_refused.emit(EVIL),
        "note": lambda: document.noted.emit(EVIL),
        "run failed": lambda: document.run._fail(SlideError(EVIL)),
        "regions refused": lambda: window.regions.ask_and_read(Path(f"{FILE_EVIL}.geojson")),
        "menu": lambda: window.regions.show_menu(window.pos()),
        "resolution": lambda: document.give_resolution(2.5),
        "defect": lambda: app._Reporter(window)(RuntimeError, RuntimeError(EVIL), None),
    }


def test_no_name_becomes_markup_in_any_window(evil_window: MainWindow, qtbot: QtBot) -> None:
    assert list(rich_texts()) == []
    texts = [it.text() for it in evil_window.findChildren(QLabel)]
    assert any(EVIL in text for text in texts), "the names are on the screen"
    for name, show in dialogs_of(evil_window).items():
        show()
        qtbot.wait(1)
        assert list(rich_texts()) == [], name
        shown = [it for it in QApplication.topLevelWidgets() if it.isVisible()]
        for widget in shown:
            for label in widget.findChildren(QLabel):
                assert not label.openExternalLinks()
            for text in widget.findChildren(QTextBrowser):
                assert not text.openLinks()
                assert not text.openExternalLinks()
            if widget is not evil_window:
                widget.close()


def test_card_is_shown_with_its_markup_as_text(evil_window: MainWindow) -> None:
    evil_window.dialogs.show_card()
    (browser,) = evil_window.findChildren(QTextBrowser)

    page = browser.toPlainText()

    assert page.count(EVIL) >= 10
    browser.window().close()


def test_regions_of_another_origin_are_asked_for_without_markup(
    evil_window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = evil_window.document.slide
    assert description is not None
    monkeypatch.setattr(type(description), "bounds_origin_l0", property(lambda _: (5, 5)))

    evil_window.regions.ask_and_read(Path(f"{FILE_EVIL}.geojson"))

    (box,) = evil_window.findChildren(QMessageBox)
    assert FILE_EVIL in box.text()
    assert list(rich_texts()) == []
    box.close()


def test_tip_shows_a_name_as_it_stands(qtbot: QtBot) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    widget.show()

    QToolTip.showText(widget.pos(), plain_tip(EVIL), widget)

    assert QTextDocumentFragment.fromHtml(QToolTip.text()).toPlainText() == EVIL
    assert plain_tip("a < b\nc & d") == "a < b\nc & d"
    QToolTip.hideText()


def test_what_would_be_markup_is_found() -> None:
    """The tests above can fail."""
    made = [QLabel(EVIL), QTextBrowser(), QLabel("x")]
    made[1].setHtml(EVIL)
    made[2].setToolTip(EVIL)
    box = QMessageBox(QMessageBox.Icon.Warning, "x", "y")
    box.setInformativeText(EVIL)

    assert len(set(rich_texts())) >= 3
    assert EVIL in {it.text() for it in box.findChildren(QLabel) if is_taken_for_html(it)}
    for widget in (*made, box):
        widget.deleteLater()


@pytest.mark.parametrize("part", ["label", "message", "informative"])
def test_own_widgets_take_nothing_for_markup(qtbot: QtBot, part: str) -> None:
    box = MessageBox(QMessageBox.Icon.Warning, "x", EVIL if part == "message" else "y")
    label = Label(EVIL if part == "label" else "y")
    qtbot.addWidget(label)
    if part == "informative":
        box.setInformativeText(EVIL)

    labels = [label, *box.findChildren(QLabel)]

    assert not any(map(is_taken_for_html, labels))
    assert EVIL in {it.text() for it in labels}
    box.close()


RICH = {
    "setHtml", "insertHtml", "setMarkdown", "setTextFormat", "setOpenExternalLinks", "setOpenLinks",
    "setWhatsThis", "setStatusTip", "toHtml",
}  # fmt: skip
MAKERS = {
    "QLabel", "QMessageBox", "QErrorMessage", "QTextEdit", "QTextBrowser", "QProgressDialog",
    "QSplashScreen", "QWhatsThis", "QStaticText", "QTextDocument", "QGraphicsTextItem", "QToolTip",
}  # fmt: skip
ALLOWED = {"plain.py", "reading.py"}


@pytest.mark.parametrize("path", sorted(UI.rglob("*.py")), ids=lambda path: path.name)
def test_what_guesses_at_markup_is_made_in_one_place_only(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            found += [base.id for base in node.bases if isinstance(base, ast.Name)]
        elif isinstance(node, ast.Call):
            found += called(node)

    if path.name not in ALLOWED:
        assert not set(found) & (RICH | MAKERS | {"a tip that is not plain", "a row"})


def called(call: ast.Call) -> list[str]:
    """Return the names by which a call counts."""
    if isinstance(call.func, ast.Name):
        return [call.func.id]
    if not isinstance(call.func, ast.Attribute):
        return []
    name, of = call.func.attr, call.func.value
    names = [name]
    if isinstance(of, ast.Name) and of.id in MAKERS:  # QMessageBox.warning(…)
        names.append(of.id)
    if name == "setToolTip" and not all(map(is_plain, call.args)):
        names.append("a tip that is not plain")
    if name in ("addRow", "insertRow") and isinstance(call.args[0], ast.JoinedStr):
        names.append("a row")
    return names


def is_plain(argument: ast.expr) -> bool:
    """Whether words are ours, or went through `plain_tip`."""
    if isinstance(argument, ast.IfExp):
        return is_plain(argument.body) and is_plain(argument.orelse)
    if isinstance(argument, ast.Subscript):
        return is_plain(argument.value)
    if isinstance(argument, ast.Call) and isinstance(argument.func, ast.Name):
        return argument.func.id == "plain_tip"
    if isinstance(argument, ast.Name):
        return argument.id.isupper()
    return isinstance(argument, ast.Constant)
