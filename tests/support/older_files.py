"""Files as older versions wrote them: their statements stand here as they stood there."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from idc_desktop.maps.probability_map import BlockResult
from idc_desktop.regions.shape import Region
from idc_desktop.storage.run_files import run_key

_REGIONS_1 = (
    "CREATE TABLE region (id TEXT PRIMARY KEY, place INTEGER NOT NULL, text TEXT NOT NULL, "
    "crc INTEGER NOT NULL)",
    "CREATE TABLE view (name TEXT PRIMARY KEY, text TEXT NOT NULL, crc INTEGER NOT NULL)",
)
_RUN_1 = (
    "CREATE TABLE run (key TEXT NOT NULL, settings TEXT NOT NULL)",
    "CREATE TABLE block (number INTEGER PRIMARY KEY, first_row INTEGER NOT NULL, "
    "first_col INTEGER NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, "
    "states BLOB NOT NULL, millionths BLOB NOT NULL, reasons TEXT NOT NULL, crc INTEGER NOT NULL)",
)
_RUN_4 = (
    _RUN_1[0],
    "CREATE TABLE block (number INTEGER PRIMARY KEY, first_row INTEGER NOT NULL, "
    "first_col INTEGER NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, "
    "states BLOB NOT NULL, layer_names TEXT NOT NULL, layer_values BLOB NOT NULL, "
    "reasons TEXT NOT NULL, crc INTEGER NOT NULL)",
)
_FACTS = "CREATE TABLE fact (name TEXT PRIMARY KEY, text TEXT NOT NULL, crc INTEGER NOT NULL)"


def write_regions_1(path: Path, regions: Iterable[Region], view: Mapping[str, Any]) -> None:
    """Write a regions file of version 1."""
    _write_regions(path, regions, view, 1)


def write_regions_3(path: Path, regions: Iterable[Region], view: Mapping[str, Any]) -> None:
    """Write a regions file of version 3, in which nothing was judged, marked or written."""
    _write_regions(path, regions, view, 3)


def _write_regions(
    path: Path, regions: Iterable[Region], view: Mapping[str, Any], version: int
) -> None:
    regions = list(regions)
    schema = _REGIONS_1 if version == 1 else (_FACTS, *_REGIONS_1)
    with _making(path, schema, 0x49444332, version) as database:
        if version == 3:
            _write_facts(database, {"format": "3", "regions": str(len(regions))})
        for place, region in enumerate(regions):
            entry = {
                "name": region.name,
                "classification": region.classification,
                "color": region.color,
                "is_locked": region.is_locked,
                "is_hidden": region.is_hidden,
                "roi": region.shape.roi,
                "polygons": [[it.tolist() for it in part] for part in region.shape.polygons],
            }
            row = (region.id, place, json.dumps(entry, separators=(",", ":")))
            database.execute("INSERT INTO region VALUES (?, ?, ?, ?)", (*row, _crc(row)))
        for name, value in view.items():
            row = (name, json.dumps(value))
            database.execute("INSERT INTO view VALUES (?, ?, ?)", (*row, _crc(row)))


def write_run_1(path: Path, settings: Mapping[str, Any], results: Iterable[BlockResult]) -> None:
    """Write a run file of version 1."""
    _write_run(path, settings, results, 1)


def write_run_3(path: Path, settings: Mapping[str, Any], results: Iterable[BlockResult]) -> None:
    """Write a run file of version 3, of which nobody noted who computed it and when."""
    _write_run(path, settings, results, 3)


def write_run_4(path: Path, settings: Mapping[str, Any], results: Iterable[BlockResult]) -> None:
    """Write a run file of version 4, in which every block is there as a whole."""
    _write_run(path, settings, results, 4)


def _write_run(
    path: Path, settings: Mapping[str, Any], results: Iterable[BlockResult], version: int
) -> None:
    tables = _RUN_4 if version == 4 else _RUN_1
    schema = tables if version == 1 else (_FACTS, *tables)
    with _making(path, schema, 0x49444331, version) as database:
        if version > 1:
            _write_facts(database, {"format": str(version)})
        run = (run_key(settings), json.dumps(settings, sort_keys=True))
        database.execute("INSERT INTO run (key, settings) VALUES (?, ?)", run)
        for result in results:
            block = result.block
            reasons = json.dumps([[*cell, why] for cell, why in sorted(result.reasons.items())])
            head = (block.number, block.row, block.col, block.rows, block.cols)
            layers = dict(result.layers)
            if version < 4:  # kept the patch layer alone
                layers = {"patch": layers["patch"]}
            values = b"".join(it.astype("<i4").tobytes() for it in layers.values())
            names = json.dumps(list(layers)) if version == 4 else ""
            body = result.states.tobytes() + names.encode() + values
            crc = zlib.crc32(repr(head).encode() + body + reasons.encode())
            named = [names] if version == 4 else []
            row = (*head, result.states.tobytes(), *named, values, reasons, crc)
            database.execute(f"INSERT INTO block VALUES ({', '.join('?' * len(row))})", row)


def _write_facts(database: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    for name, text in facts.items():
        crc = _crc(("fact", name, text))
        database.execute("INSERT INTO fact VALUES (?, ?, ?)", (name, text, crc))


@contextlib.contextmanager
def _making(path: Path, schema: Iterable[str], application_id: int, version: int = 1) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for statement in schema:
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {application_id}")
        database.execute(f"PRAGMA user_version = {version}")
        yield database


def _crc(row: tuple[object, ...]) -> int:
    return zlib.crc32(repr(row).encode("utf-8", "surrogatepass"))
