"""The viewer's decoder: signs of life while it reads, and defects that are told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from idc_desktop.children import decoder
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.processes.child import Child
from idc_desktop.processes.decoder_messages import Pixels, Reading, ReadPatch, ReadTile, ViewJob
from idc_desktop.processes.message import Command, Event, SlideOpened, Started
from tests.support.scenes import Scene


@pytest.fixture
def job(tiny_slide: Scene, data_dir: Path) -> ViewJob:
    return ViewJob(str(tiny_slide.path), None, str(data_dir))


@pytest.fixture
def said(job: ViewJob) -> Iterator[Callable[[Command], list[Event]]]:
    """Return what a decoder says to one command, up to the pixels."""
    child = Child("idc_desktop.children.decoder", job)
    with closing(child):

        def ask(command: Command) -> list[Event]:
            child.tell(command)
            heard = []
            for event in child.events():
                heard.append(event)
                if isinstance(event, Pixels):
                    break
            return heard

        yield ask


def test_request_that_takes_many_reads_shows_life_between_them(
    said: Callable[[Command], list[Event]],
) -> None:
    coarse = said(ReadTile(1, 7, 0, 0))  # 8192 pixels of the last level, 2048 at a time
    fine = said(ReadTile(2, 0, 0, 0))
    patch = said(ReadPatch(3, PatchSize(50, 8.0), 0, 0))

    assert isinstance(coarse.pop(0), SlideOpened)
    assert coarse[:-1] == [Started(1), *(Reading(1, left) for left in range(15, 0, -1))]
    assert fine[:-1] == [Started(2)]
    assert patch[:-1] == [Started(3), *(Reading(3, left) for left in range(8, 0, -1))]


class _Recorder:
    """Stands for the pipe to the parent; a process that gives up is a thread that stands still."""

    def __init__(self) -> None:
        self.given_up: list[tuple[int, Exception]] = []
        self.changed, self.let_go = threading.Event(), threading.Event()

    def send(self, event: Event) -> None:
        pass

    def give_up(self, error: Exception) -> None:
        self.given_up.append((threading.get_ident(), error))
        self.changed.set()
        self.let_go.wait()


def test_defect_in_any_thread_of_the_decoder_is_told(
    job: ViewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(decoder, "_read", fail)
    outbox, commands = _Recorder(), []
    listening = threading.Event()

    def listen(on_command: Callable[[Command], None]) -> None:
        commands.append(on_command)
        listening.set()

    threading.Thread(target=decoder.run, args=(job, outbox, listen), daemon=True).start()
    assert listening.wait(20)
    for request in range(decoder._THREADS):
        outbox.changed.clear()
        commands[0](ReadTile(request, 0, 0, 0))
        assert outbox.changed.wait(20)

    assert len({thread for thread, _ in outbox.given_up}) == decoder._THREADS
    assert {str(error) for _, error in outbox.given_up} == {"on purpose"}
    outbox.let_go.set()
