"""Cohorts of the tiny slide, run in this process."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from idc_desktop.commands.cli import main


@dataclass
class TinyCohort:
    """A folder of copies of one slide, and a command on it."""

    slides: Path
    out: Path
    model: Path
    source: Path
    options: list[str] = field(default_factory=list)

    def add(self, *names: str) -> None:
        """Add slides by their paths below the folder."""
        for name in names:
            path = self.slides / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.source, path)

    def add_damaged(self, name: str) -> None:
        """Add what has the name of a slide, and is none."""
        path = self.slides / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no slide" * 99)

    def arguments(self, *more: str | Path, given: Iterable[Path] | None = None) -> list[str]:
        """Return the arguments of the command."""
        slides = [self.slides] if given is None else given
        common = ("--model", self.model, "--provider", "cpu", "--out", self.out)
        return list(map(str, ["cohort", *slides, *common, *self.options, *more]))

    def run(self, *more: str | Path, given: Iterable[Path] | None = None) -> int:
        """Run the command to its end."""
        return main(self.arguments(*more, given=given))

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows of ``cohort.csv``."""
        with (self.out / "cohort.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    @property
    def statuses(self) -> dict[str, str]:
        """What became of each slide, by its name."""
        return {it["Image"]: it["Status"] for it in self.rows}

    def written(self) -> dict[str, int]:
        """Return when each file of the results was written (ns)."""
        return {
            str(it.relative_to(self.out)): it.stat().st_mtime_ns
            for it in self.out.rglob("*.*")
            if it.is_file() and it.parent != self.out and it.name != "slides.json"
        }


def digests(folder: Path) -> dict[str, str]:
    """Return the hash of each file of a folder of results, provenance without its moment."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".cohort" not in path.parts:
            data = path.read_bytes()
            if path.name == "provenance.json":
                document: Any = json.loads(data)
                del document["analyzed"]
                data = json.dumps(document).encode()
            found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what ``--json`` printed."""
    return json.loads(capsys.readouterr().out)
