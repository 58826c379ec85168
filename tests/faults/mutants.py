"""Mutants: files that were sound until something happened to them, always the same by a seed."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tifffile

from tests.support.damage import DAMAGES

_NUMBERS = (0, 1, 2, 7, 255, 256, 0x7FFF, 0xFFFF, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
_WORDS = (
    b"0", b"-1", b"1e999", b"nan", b"99999999999999999999", b"1e-320", b"../../x", b"", b"null",
    b"[[]]", b'"', b"\xff\xfe", b"A" * 5000, b"[" * 3000,
)  # fmt: skip
_TEXTS = frozenset((".ini", ".geojson", ".xml", ".json", ".vmu"))
_TIFFS = frozenset((".svs", ".tif", ".tiff", ".ndpi"))
_HEAD_BYTES = 4096

Place = tuple[int, int]
"""Offset and size of a value in a file."""


@dataclass(frozen=True)
class Seed:
    """Sound files, one of which is damaged in each mutant.

    Attributes
    ----------
    folder : Path
        Holds the files and nothing else.
    opened : str
        Which of them is opened; empty if it is the folder.
    kind : {"slide", "model", "regions", "run", "book", "results"}
        What they are.
    """

    folder: Path
    opened: str
    kind: str

    @property
    def name(self) -> str:
        """Name of the seed."""
        return self.folder.name

    @property
    def files(self) -> list[Path]:
        """All files, in the order of their names."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


def mutants(seed: Seed, folder: Path, count: int, number: int) -> Iterator[Path]:
    """Write one mutant after the other, each into a folder of its own; yield what is opened.

    Parameters
    ----------
    number : int
        Another one gives other mutants.
    """
    choice = random.Random(f"{seed.name} {number}")
    files = {path: path.read_bytes() for path in seed.files}
    places = {path: _places(path, data) for path, data in files.items()}
    for each in range(count):
        home = folder / f"{seed.name}-{number}-{each}"
        shutil.copytree(seed.folder, home)
        victim = choice.choice(list(files))
        data = _damaged(victim, files[victim], places[victim], choice)
        (home / victim.relative_to(seed.folder)).write_bytes(data)
        opened = home / seed.opened
        if opened.is_file():  # a name of its own, so that messages can be told apart
            opened = opened.rename(opened.with_stem(f"{opened.stem}-{each}"))
            data_folder = home / Path(seed.opened).stem
            if data_folder.is_dir():  # MIRAX
                data_folder.rename(opened.with_suffix(""))
        yield opened


def _damaged(path: Path, data: bytes, places: list[Place], choice: random.Random) -> bytes:
    if path.suffix == ".sqlite":
        return DAMAGES[choice.choice(list(DAMAGES))](data, choice)[0]
    is_text = path.suffix in _TEXTS
    out = bytearray(data)
    for _ in range(choice.randrange(1, 5)):
        kind = choice.random()
        if kind < 0.5:
            at, size = choice.choice(places)
            value = choice.choice([*_NUMBERS, choice.randrange(1 << 32)]) % (1 << 8 * size)
            word = choice.choice(_WORDS) if is_text else value.to_bytes(size, "little")
            out[at : at + size] = word
        elif kind < 0.7:  # a bit anywhere
            out[choice.randrange(len(out))] ^= 1 << choice.randrange(8)
        elif kind < 0.85:  # a run of noise
            at, size = choice.randrange(len(out)), choice.randrange(1, 400)
            out[at : at + size] = choice.randbytes(size)
        elif kind < 0.93:  # a piece in the place of another
            source, target = choice.randrange(len(out)), choice.randrange(len(out))
            piece = out[source : source + choice.randrange(1, 2000)]
            out[target : target + len(piece)] = piece
        else:
            del out[choice.randrange(len(out) // 20, len(out)) :]
            break
        if not out:
            break
    return bytes(out)


def _places(path: Path, data: bytes) -> list[Place]:
    """Return where the values are that decide how a file is read."""
    if path.suffix in _TEXTS:
        return [(it.start(), len(it[0])) for it in re.finditer(rb"[\w.+-]+", data)]
    if path.suffix in _TIFFS:
        with tifffile.TiffFile(path) as file:
            big = file.is_bigtiff
            start, step, fields = (8, 20, (2, 2, 8, 8)) if big else (2, 12, (2, 2, 4, 4))
            return [
                (page.offset + start + step * entry + sum(fields[:field]), fields[field])
                for page in file.pages
                for entry in range(len(page.tags))
                for field in range(4)
            ]
    head = range(0, min(len(data), _HEAD_BYTES), 2)
    return [(at, size) for at in head for size in (1, 2, 4)]
