"""Opening a slide has an end, whatever its decoder makes of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from idc_desktop.children import opening
from idc_desktop.children.serving import Outbox
from idc_desktop.errors import SlideError
from idc_desktop.processes.engine_messages import InfoJob
from idc_desktop.processes.message import SlideOpened
from idc_desktop.processes.supervisor import ask
from tests.support.scenes import Scene

ROWS = 20_000_000  # some seconds


def database_that_counts(path: Path, rows: int | None) -> Path:
    """Write a Sakura slide of which the first table is a query that counts, perhaps for ever."""
    end = "" if rows is None else f" WHERE n < {rows}"
    with closing(sqlite3.connect(path)) as file:
        file.execute(
            "CREATE VIEW DataManagerSQLiteConfigXPO AS WITH RECURSIVE r(n) AS"
            f" (SELECT 1 UNION ALL SELECT n + 1 FROM r{end}) SELECT max(n) AS TableName FROM r"
        )
    return path


class GivenUp:
    """Stands for the pipe to the parent; the process is the test's and goes on."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def give_up(self, error: Exception) -> None:
        self.errors.append(error)


def test_slide_that_takes_too_much_time_to_open_is_refused_by_name(
    tmp_path: Path, tiny_slide: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = GivenUp()
    opening.open_slide(cast("Outbox", outbox), str(tiny_slide.path)).close()
    assert not outbox.errors
    monkeypatch.setattr(opening, "_MOST_CPU_S", 0.1)

    with pytest.raises(SlideError):  # by then the process would be gone
        opening.open_slide(
            cast("Outbox", outbox), str(database_that_counts(tmp_path / "a.svslide", ROWS))
        )

    assert isinstance(outbox.errors[0], SlideError)
    assert str(outbox.errors[0]).startswith("a.svslide: After 0.1 s of computing it is still not")


@pytest.mark.long
@pytest.mark.timeout(120)
def test_slide_that_never_opens_is_given_up(tmp_path: Path) -> None:
    path = database_that_counts(tmp_path / "b.svslide", None)

    with pytest.raises(SlideError, match=r"^b\.svslide: After 12 s of computing"):
        ask(InfoJob(str(path)), SlideOpened, path.name)
