"""State files: taken as they were written, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from idc_desktop.cohorts.states import CohortFolder, Listed, SlideState
from idc_desktop.cohorts.tables import write_tables

STATE = SlideState("a.tiff", "done", "task", "stamp", folder="a", figures={"Foci": "2"})


@pytest.fixture
def folder(tmp_path: Path) -> CohortFolder:
    return CohortFolder(tmp_path)


def test_state_is_read_as_it_was_kept(folder: CohortFolder) -> None:
    assert folder.state("1") is None
    folder.keep("1", STATE)
    assert folder.state("1") == STATE
    assert folder.states() == {"1": STATE}
    folder.forget("1")
    assert folder.states() == {}


@pytest.mark.parametrize(
    "change",
    [
        {"status": "great"},
        {"folder": "../elsewhere"},
        {"folder": "/elsewhere"},
        {"figures": {"Foci": 2}},
        {"more": 1},
    ],
)
def test_state_that_is_none_is_not_taken(folder: CohortFolder, change: dict[str, object]) -> None:
    folder.keep("1", STATE)
    path = folder.out / ".cohort" / "states" / "1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert folder.state("1") is None


def test_tables_have_a_row_for_all_that_are_listed_or_were_done(folder: CohortFolder) -> None:
    folder.list([Listed("2", "b.tiff", "g", None)])
    folder.keep("1", STATE)

    rows = write_tables(folder.out)

    assert [(it.state.image, it.state.status, it.is_listed) for it in rows] == [
        ("a.tiff", "done", False),
        ("b.tiff", "pending", True),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory in /proc")
def test_two_thousand_slides_make_a_table_in_little_time_and_memory(folder: CohortFolder) -> None:
    states = folder.out / ".cohort" / "states"
    folder.keep("0", SlideState("0", "done", "", "", thumbnail="A" * 8000, figures={}))
    text = (states / "0.json").read_text()
    for number in range(1, 2000):
        (states / f"{number}.json").write_text(text.replace('"image":"0"', f'"image":"{number}"'))
    folder.list([])
    script = (
        "import sys, time; from pathlib import Path; began = time.perf_counter()\n"
        "from idc_desktop.cohorts.tables import write_tables\n"
        "write_tables(Path(sys.argv[1]))\n"
        "peak = Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]\n"
        "print(time.perf_counter() - began, int(peak) / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, folder.out], capture_output=True, text=True, check=True
    )
    took_s, peak_mb = map(float, done.stdout.split())
    assert took_s < 15  # 1 s on a machine that does nothing else
    assert peak_mb < 300
    assert (folder.out / "cohort.csv").read_text("utf-8").count("\n") == 2001
