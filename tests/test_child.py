"""A child process: where it stands, and what it may take."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from idc_desktop.messages import InfoJob
from idc_desktop.supervisor import Child
from tests.support.crashing_engine import VARIABLE, Crash
from tests.support.processes import ends_within

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

CRASHING = "tests.support.crashing_engine"


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Child:
    monkeypatch.setenv(VARIABLE, Crash("hang", "open").variable())
    return Child(CRASHING, InfoJob(str(tmp_path / "s.tiff")))


def folder_of(child: Child) -> Path:
    """Return where a child stands."""
    return Path(f"/proc/{child.pid}/cwd").readlink()


def test_child_stands_in_an_empty_folder_that_goes_with_it(hanging: Child) -> None:
    with hanging:
        folder = folder_of(hanging)
        assert folder != Path.cwd()
        assert list(folder.iterdir()) == []

    assert not folder.exists()


def test_folder_goes_with_a_child_whose_parent_is_gone(hanging: Child) -> None:
    with hanging:
        folder = folder_of(hanging)
        hanging._stdin.close()  # as the system does when the parent ends
        assert ends_within(hanging.pid, 5)
        assert not folder.exists()
