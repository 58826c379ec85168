"""What holds a file or a process, and gives it free at the end of a ``with`` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """A resource that a ``with`` block closes, whatever happens inside."""

    @abstractmethod
    def close(self) -> None:
        """Give the resource free."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
