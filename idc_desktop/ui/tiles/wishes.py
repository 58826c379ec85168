"""Which tiles are wanted, and by whom: several views may ask one loader."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from idc_desktop.ui.tiles.pyramid import Tile


class Wishes:
    """The tiles that each asker still wants; they are served in turn, so that none waits for all.

    An asker is held only as long as it wants something.
    """

    def __init__(self) -> None:
        self._of: dict[object, deque[Tile]] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def put(self, asker: object, tiles: Iterable[Tile]) -> None:
        """Say what an asker wants now, most urgent first; what it wanted before is dropped."""
        wanted = deque(tiles)
        if wanted:
            self._of[asker] = wanted
        else:
            self._of.pop(asker, None)

    def put_first(self, tiles: Iterable[Tile]) -> None:
        """Want some tiles before all others, whoever asked for them."""
        wanted = deque([*tiles, *self._of.pop(self, ())])
        if wanted:
            self._of = {self: wanted, **self._of}

    def next(self, is_needless: Callable[[Tile], bool]) -> Tile | None:
        """Take the next wish that is not needless; the turn goes to the next asker."""
        while self._of:
            asker = next(iter(self._of))
            wanted = self._of.pop(asker)
            tile = wanted.popleft()
            if wanted:
                self._of[asker] = wanted  # to the end of the line
            if not is_needless(tile):
                return tile
        return None
