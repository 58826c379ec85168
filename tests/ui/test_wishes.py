"""Several askers of tiles."""

from __future__ import annotations

from idc_desktop.ui.tiles.pyramid import Tile
from idc_desktop.ui.tiles.wishes import Wishes


def tiles(row: int, count: int) -> list[Tile]:
    return [Tile(0, col, row) for col in range(count)]


def served(wishes: Wishes, needless: frozenset[Tile] = frozenset()) -> list[Tile]:
    found = []
    while (tile := wishes.next(needless.__contains__)) is not None:
        found.append(tile)
    return found


def test_askers_are_served_in_turn() -> None:
    wishes = Wishes()
    wishes.put("left", tiles(0, 3))
    wishes.put("right", tiles(1, 2))
    assert [it.row for it in served(wishes)] == [0, 1, 0, 1, 0]
    assert not wishes


def test_new_wishes_replace_those_of_the_same_asker_only() -> None:
    wishes = Wishes()
    wishes.put("left", tiles(0, 3))
    wishes.put("right", tiles(1, 2))
    wishes.put("left", tiles(2, 1))
    assert sorted(it.row for it in served(wishes)) == [1, 1, 2]
    wishes.put("left", tiles(0, 3))
    wishes.put("left", [])
    assert not wishes


def test_what_came_meanwhile_is_not_asked_again() -> None:
    wishes = Wishes()
    wishes.put("left", tiles(0, 3))
    wishes.put("right", tiles(0, 3))
    assert served(wishes, frozenset(tiles(0, 2))) == [Tile(0, 2, 0), Tile(0, 2, 0)]


def test_what_was_lost_comes_first_however_often() -> None:
    wishes = Wishes()
    wishes.put("left", tiles(0, 1))
    wishes.put_first(tiles(1, 1))
    wishes.put_first(tiles(2, 1))
    assert [it.row for it in served(wishes)] == [2, 0, 1]
