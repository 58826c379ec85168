"""What other threads say reaches the window's thread, in order, and never a taker that is gone."""

from __future__ import annotations

import gc
import threading
import time

import pytest
import shiboken6
from PySide6.QtCore import QCoreApplication, QEvent, QObject
from pytestqt.qtbot import QtBot

from idc_desktop.ui import hand_over as hand_over_module
from idc_desktop.ui.hand_over import HandOver
from idc_desktop.ui.task import Task


class _Taker(QObject):
    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[int, int]] = []

    def take(self, value: int) -> None:
        self.taken.append((value, threading.get_ident()))


def test_values_arrive_in_order_in_the_windows_thread(qtbot: QtBot) -> None:
    taker = _Taker()
    hand_over: HandOver[int] = HandOver(taker.take)

    def say() -> None:
        for number in range(1000):
            hand_over.put(number)

    thread = threading.Thread(target=say)
    thread.start()
    qtbot.waitUntil(lambda: len(taker.taken) == 1000)
    thread.join()
    assert [value for value, _ in taker.taken] == list(range(1000))
    assert {where for _, where in taker.taken} == {threading.get_ident()}


@pytest.mark.parametrize("how", ["deleted by Qt", "dropped by Python"])
def test_a_taker_that_is_gone_is_told_nothing(qtbot: QtBot, how: str) -> None:
    taker = _Taker()
    taken = taker.taken
    hand_over: HandOver[int] = HandOver(taker.take)
    hand_over.put(1)  # under way when the taker goes
    if how == "deleted by Qt":
        taker.deleteLater()
        QCoreApplication.sendPostedEvents(taker, QEvent.Type.DeferredDelete)
    else:
        del taker
        gc.collect()
    hand_over.put(2)
    qtbot.wait(20)
    assert taken == []


def test_what_is_said_after_qt_has_ended_is_dropped(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread may still be at work while the interpreter ends, and Qt before it."""
    monkeypatch.setattr(hand_over_module, "_carriers", [])
    taker = _Taker()
    hand_over: HandOver[int] = HandOver(taker.take)
    shiboken6.delete(hand_over._carrier)
    hand_over.put(1)
    assert taker.taken == []


def test_takers_may_go_while_a_thread_speaks(qtbot: QtBot) -> None:
    """What a closing window does; a signal of the taker, emitted here, ends the process."""
    stopped = threading.Event()
    speaking: list[HandOver[int]] = []

    def speak() -> None:
        while not stopped.is_set():
            for hand_over in list(speaking):
                hand_over.put(1)
            time.sleep(0)

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        for _ in range(200):
            taker = _Taker()
            speaking[:] = [HandOver(taker.take)]
            qtbot.wait(1)
            del taker
    finally:
        stopped.set()
        thread.join()


def test_a_task_is_let_go_of_in_the_windows_thread(qtbot: QtBot) -> None:
    """The last to hold a widget must not be the thread that worked for it."""
    ended_in: list[int] = []

    class _Held:
        def __del__(self) -> None:
            ended_in.append(threading.get_ident())

        def work(self) -> int:
            return 7

    task = Task()
    held = _Held()
    with qtbot.waitSignal(task.ended):
        task.start(held.work)
        del held
    qtbot.waitUntil(lambda: bool(ended_in))
    assert ended_in == [threading.get_ident()]
