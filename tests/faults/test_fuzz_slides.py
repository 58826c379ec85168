"""Mutants of slides through the command line: an answer or a refusal, in time, never a crash."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tifffile

from tests.support.command import Outcome, run_cli
from tests.support.models import TinyModel
from tests.support.scenes import paint_tiny
from tests.support.slides import pyramid, write_svs, write_tiff

SECONDS = 30
INTERESTING = (0, 1, 2, 7, 255, 256, 0x7FFF, 0xFFFF, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


@pytest.fixture(scope="module")
def seeds(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An Aperio slide with label and macro, and a pyramid of JPEG tiles."""
    folder = tmp_path_factory.mktemp("seeds")
    canvas, _ = paint_tiny(tiny_model)
    levels = pyramid(canvas.pixels, (1, 4))
    label = canvas.pixels[:64, :64]
    return [
        write_svs(folder / "a.svs", levels, mpp=2.0, label=label, macro=label),
        write_tiff(folder / "b.tiff", levels, mpp=2.0, compression="jpeg"),
    ]


def mutant(data: bytes, places: list[int], choice: random.Random) -> bytes:
    """Damage a TIFF: its directories mostly, its tiles, or its length."""
    out = bytearray(data)
    for _ in range(choice.randrange(1, 5)):
        kind = choice.random()
        if kind < 0.5:  # a field of a directory's entry: tag, type, count or value
            entry = choice.choice(places)
            field, size = choice.choice([(0, 2), (2, 2), (4, 4), (8, 4), (8, 2)])
            value = choice.choice([*INTERESTING, choice.randrange(1 << 32)])
            out[entry + field : entry + field + size] = (value % (1 << 8 * size)).to_bytes(
                size, "little"
            )
        elif kind < 0.7:  # a bit anywhere
            out[choice.randrange(len(out))] ^= 1 << choice.randrange(8)
        elif kind < 0.85:  # a run of noise
            at = choice.randrange(len(out))
            noise = choice.randbytes(choice.randrange(1, 400))
            out[at : at + len(noise)] = noise[: len(out) - at]
        elif kind < 0.93:  # a piece moved elsewhere
            source, target = choice.randrange(len(out)), choice.randrange(len(out))
            piece = out[source : source + choice.randrange(1, 2000)][: len(out) - target]
            out[target : target + len(piece)] = piece
        else:
            del out[choice.randrange(len(data) // 20, len(data)) :]
            break
    return bytes(out[: len(data)])


def entries_of(path: Path) -> list[int]:
    with tifffile.TiffFile(path) as file:
        return [
            page.offset + 2 + 12 * number for page in file.pages for number in range(len(page.tags))
        ]


def mutants(seeds: list[Path], folder: Path, count: int, seed: int) -> Iterator[Path]:
    choice = random.Random(seed)
    for number in range(count):
        source = seeds[number % len(seeds)]
        path = folder / f"mutant-{number}{source.suffix}"
        path.write_bytes(mutant(source.read_bytes(), entries_of(source), choice))
        yield path


def check(outcome: Outcome, path: Path, codes: set[int]) -> int:
    """An expected exit code; a refusal in one line that names the file; no traceback."""
    assert outcome.code in codes, f"{path}\n{outcome}"
    assert "Traceback" not in outcome.stderr, f"{path}\n{outcome}"
    if outcome.code == 3:
        *notes, refusal = outcome.error_lines
        assert path.name in refusal, f"{path}\n{outcome}"
        assert all(note.startswith("note: ") for note in notes), f"{path}\n{outcome}"
    return outcome.code


def fuzz(seeds: list[Path], tmp_path: Path, model: Path, count: int, seed: int) -> Counter[str]:
    def run(path: Path) -> tuple[str, str]:
        data = tmp_path / f"{path.stem}-data"
        info = run_cli("info", path, data_dir=data, timeout=SECONDS)
        code = check(info, path, {0, 3})
        if code == 3:
            assert len(info.error_lines) == 1, info
            return "info 3", ""
        out = tmp_path / f"{path.stem}-out"
        analyze = run_cli(
            "analyze", path, "--out", out, "--model", model, "--provider", "cpu",
            data_dir=data, timeout=SECONDS,
        )  # fmt: skip
        return "info 0", f"analyze {check(analyze, path, {0, 3, 4})}"

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        results = list(pool.map(run, mutants(seeds, tmp_path, count, seed)))
    return Counter(word for result in results for word in result if word)


def test_seeds_themselves_are_sound(
    seeds: list[Path], tmp_path: Path, tiny_model: TinyModel
) -> None:
    outcome = run_cli(
        "analyze", *seeds, "--out", tmp_path, "--model", tiny_model.path, data_dir=tmp_path / "data"
    )

    assert outcome.code == 0, outcome


def test_mutants_are_answered_or_refused(
    seeds: list[Path], tmp_path: Path, tiny_model: TinyModel
) -> None:
    outcomes = fuzz(seeds, tmp_path, tiny_model.path, 14, seed=1)

    assert outcomes["info 3"]
    assert outcomes["info 0"]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [2, 3])
def test_hundreds_of_mutants_are_answered_or_refused(
    seeds: list[Path], tmp_path: Path, tiny_model: TinyModel, seed: int
) -> None:
    outcomes = fuzz(seeds, tmp_path, tiny_model.path, 150, seed)

    assert outcomes["info 3"] >= 10
    assert outcomes["analyze 0"] >= 10
