"""Measure the table of slides with 5,000 rows: opening, sorting, searching, memory.

``python -m tests.bench.slide_table``. Linux only; Qt's offscreen platform if there is no display.
Exits 1 if a figure misses its target.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.figure import Figure
from tests.bench.viewer import SIZE, memory_mb

ROWS = 5_000
OPEN_S, SORT_MS, SEARCH_MS, MEMORY_MB = 2.0, 100.0, 100.0, 450.0
TIMEOUT_S = 120.0
_WORDS = ("", "12 patches excluded because of artefacts (12 pen).")


def main() -> int:
    """Run the bench; return the exit code."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    with tempfile.TemporaryDirectory(prefix="idc-desktop-bench-") as folder:
        os.environ["IDC_DESKTOP_DATA_DIR"] = str(Path(folder) / "data")
        slides = make_slides(Path(folder) / "slides", ROWS)
        figures = measure(slides)
    sys.stdout.write("".join(f"{figure}\n" for figure in figures))
    return 0 if all(figure.passed for figure in figures) else 1


def make_slides(folder: Path, count: int) -> list[Path]:
    """Write files in the place of slides, each with figures as an analysis leaves them."""
    from idc_desktop.models import DEFAULT_MODEL
    from idc_desktop.models.model_file import find_model, read_model
    from idc_desktop.ui.outcome import Details, Outcome

    chance, model = random.Random(1), read_model(find_model(DEFAULT_MODEL))
    folder.mkdir(parents=True)
    slides = []
    for number in range(count):
        slide = folder / f"S{chance.randrange(10**6):06d}-{number}.svs"
        slide.write_bytes(b"")
        slides.append(slide)
        foci, share = chance.randrange(40), chance.random()
        figures = {
            "Patches": "900",
            "IDC area µm^2": repr(share * 2e8),
            "Foci": repr(foci),
            "Largest focus µm^2": repr(share * 4e7) if foci else "",
            "Model": model.card.name,
            "Model SHA-256": model.sha256,
        }
        details = Details(figures, chance.choice(_WORDS), share * 1e7, foci // 2, "seen")
        card = model.card
        Outcome(card.name, card.threshold, share, share * 2e8, 0, details=details).store(
            slide, model
        )
    return slides


def measure(slides: list[Path]) -> list[Figure]:
    """Show a table of slides and use it."""
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QApplication

    from idc_desktop.ui.app import create_window
    from idc_desktop.ui.settings import Settings
    from idc_desktop.ui.slide_model import COLUMNS

    application = QApplication.instance() or QApplication([])
    settings = Settings(slides=[str(slide) for slide in slides])
    start = time.perf_counter()
    window = create_window(settings)
    window.resize(*SIZE)
    window.docks["Slide table"].show()
    window.docks["Slide table"].raise_()
    window.show()
    table, statuses = window.slide_panel.table, window.slide_panel.statuses
    application.processEvents()
    table.view.viewport().repaint()
    painted = time.perf_counter() - start
    longest = 0.0
    while time.perf_counter() - start < TIMEOUT_S:
        before = time.perf_counter()
        application.processEvents()
        longest = max(longest, time.perf_counter() - before)
        if statuses.of(slides[-1]).outcome is not None:
            break
        time.sleep(0.001)
    known = time.perf_counter() - start

    def took_ms(act: object, *given: object) -> float:
        before = time.perf_counter()
        act(*given)  # type: ignore[operator]
        table.view.viewport().repaint()
        return (time.perf_counter() - before) * 1000

    orders = (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder)
    sorts = [
        took_ms(table.view.sortByColumn, column, order)
        for column in range(len(COLUMNS))
        for order in orders
    ]
    searches = [took_ms(table.search.setText, text) for text in ("9", "99", "pen", "")]
    figures = [
        Figure(f"table of {len(slides):,} slides, painted", painted, "s", OPEN_S),
        Figure("  every state known", known, "s", OPEN_S),
        Figure("  event-loop gap meanwhile, longest", longest * 1000, "ms"),
        Figure("sorting, the slowest column", max(sorts), "ms", SORT_MS),
        Figure("searching, the slowest word", max(searches), "ms", SEARCH_MS),
        Figure("memory", memory_mb(), "MB", MEMORY_MB),
    ]
    window.close()
    return figures


if __name__ == "__main__":
    sys.exit(main())
