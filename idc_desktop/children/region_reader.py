"""The reader of files of regions: a child process that reads one and repairs what is in it.

A polygon of a few thousand corners can cross itself so often that its repair takes minutes and
gigabytes, in C, where nothing stops it but the end of the process.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from idc_desktop.children.serving import Listen, Outbox, serve
from idc_desktop.errors import RegionsError
from idc_desktop.processes.message import MAX_TEXT, JobMessage
from idc_desktop.processes.region_messages import (
    MAX_BATCH,
    MAX_MARKS,
    MAX_POINTS,
    CheckingArea,
    MarksFound,
    ReadRegionsJob,
    RegionsDone,
    RegionsFound,
)
from idc_desktop.regions.files import RegionsFile
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Region

_MOST_CPU_S = 25.0  # a million corners or 100,000 areas take a third of it
_LOOK_EVERY_S = 0.5
_BATCH_REGIONS, _BATCH_POINTS = 256, 1 << 16


def main() -> None:
    """Run the job that arrives on stdin."""
    serve(run, (ReadRegionsJob,))


def run(job: JobMessage, outbox: Outbox, listen: Listen) -> None:
    """Read the file and send its regions."""
    assert isinstance(job, ReadRegionsJob)
    listen(lambda _cancel: os._exit(0))
    gc.disable()  # there are no cycles, but millions of lists to look for them in
    file = RegionsFile(Path(job.path))
    threading.Thread(target=_watch, args=(file, outbox), daemon=True).start()
    for batch in _batches(file):
        outbox.send(RegionsFound.of(batch))
    for marks in _mark_batches(file):
        outbox.send(MarksFound.of(marks))
    notes = tuple(note[:MAX_TEXT] for note in file.notes())
    outbox.send(RegionsDone(notes, file.states_origin, file.in_nm_of_glass))


def _batches(file: RegionsFile) -> Iterator[list[Region]]:
    batch: list[Region] = []
    points = in_all = 0
    for region in file.regions():
        batch.append(region)
        corners = sum(map(len, region.shape.rings))
        points, in_all = points + corners, in_all + corners
        if in_all > MAX_POINTS:
            raise RegionsError(
                f"{file.name}: Repaired, the areas have more than {MAX_POINTS:,} corners. Simplify "
                "them."
            )
        if len(batch) == _BATCH_REGIONS or points >= _BATCH_POINTS:
            yield batch
            batch, points = [], 0
    if batch:
        yield batch


def _mark_batches(file: RegionsFile) -> Iterator[list[Mark]]:
    marks = list(islice(file.marks(), MAX_MARKS + 1))
    if len(marks) > MAX_MARKS:
        raise RegionsError(f"{file.name}: The file has more than {MAX_MARKS:,} measurements.")
    for at in range(0, len(marks), MAX_BATCH):
        yield marks[at : at + MAX_BATCH]


def _watch(file: RegionsFile, outbox: Outbox) -> None:
    """Say what is being checked; end this process when it has had its time.

    Time of the processor, since on a busy machine nothing is as fast as it is elsewhere.
    """
    while time.process_time() < _MOST_CPU_S:
        outbox.send(CheckingArea(file.at))
        time.sleep(_LOOK_EVERY_S)
    outbox.give_up(
        RegionsError(
            f"{file.name}: After {_MOST_CPU_S:g} s only {file.at or 'nothing'} was reached. There "
            "are too many areas, or this one crosses itself too often. Simplify them, or export "
            "fewer."
        )
    )


if __name__ == "__main__":
    main()
