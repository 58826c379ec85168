"""What another thread has to say reaches the window's thread, or nobody."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import shiboken6
from PySide6.QtCore import QObject, Qt, Signal

T = TypeVar("T")


class HandOver(Generic[T]):
    """Carries values from any thread to one taker in the window's thread, in their order.

    A thread must hold neither the taker nor a signal of it: while the window's thread deletes the
    taker, `emit` in the other reads freed memory, and a thread that lets go of the last reference
    deletes it where it must not be deleted. A thread may hold this; what comes after the taker's
    end is dropped.

    Parameters
    ----------
    take : callable
        A method of a QObject, called in the window's thread with each value.
    """

    def __init__(self, take: Callable[[T], object]) -> None:
        self._take = weakref.WeakMethod(take)
        self._carrier = _carrier()

    def put(self, value: T) -> None:
        """Hand a value over; from any thread. Once the process ends there is nobody to take it."""
        with contextlib.suppress(RuntimeError):  # Qt has deleted the carrier
            self._carrier.sent.emit(self, value)

    def deliver(self, value: T) -> None:
        """Give a value to the taker if it still lives; in the window's thread."""
        take = self._take()
        if take is not None and shiboken6.isValid(getattr(take, "__self__", None)):
            take(value)


class _Carrier(QObject):
    """Lives in the window's thread as long as the process does: its signals are always safe."""

    sent = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self.sent.connect(self._on_sent, Qt.ConnectionType.QueuedConnection)

    def _on_sent(self, hand_over: HandOver[Any], value: Any) -> None:  # noqa: ANN401 - of any type
        hand_over.deliver(value)


_carriers: list[_Carrier] = []


def _carrier() -> _Carrier:
    if not _carriers:
        _carriers.append(_Carrier())
    return _carriers[0]
