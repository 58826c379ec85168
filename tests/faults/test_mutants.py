"""Mutants of slides, models, regions and stored files: answered or refused, in time, no crash."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from idc_desktop.export.folder import write_folder
from idc_desktop.regions.book import RegionBook
from tests.faults.harness import LONGEST_S, Tally, Task
from tests.faults.mutants import Seed, mutants
from tests.regions.test_damage import REGIONS
from tests.regions.test_files import SQUARE, polygon
from tests.regions.test_xml_files import ASAP, IMAGESCOPE
from tests.support.command import environment, file_sha256
from tests.support.models import TinyModel
from tests.support.scans import write_dicom, write_mirax, write_vmu
from tests.support.scenes import paint_tiny
from tests.support.slides import Rgb, pyramid, reduced, write_svs, write_tiff
from tests.test_export import analysis
from tests.test_resolution import ome
from tests.test_store import open_store, result

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc")

LOG = logging.getLogger(__name__)
MPP = 2.0
QUICK = 5  # of each seed
LONG = {"slide": 1500, "model": 2000, "regions": 1000, "run": 1200, "book": 1200, "results": 800}


def write_slide_svs(folder: Path, pixels: Rgb) -> str:
    label = pixels[:64, :64]
    write_svs(folder / "s.svs", pyramid(pixels, (1, 4)), mpp=MPP, label=label, macro=label)
    return "s.svs"


def write_slide_tiff(folder: Path, pixels: Rgb) -> str:
    write_tiff(folder / "s.tiff", pyramid(pixels, (1, 4)), mpp=MPP, compression="jpeg")
    return "s.tiff"


def write_slide_ome(folder: Path, pixels: Rgb) -> str:
    height, width = pixels.shape[:2]
    words = ome(f'SizeX="{width}" SizeY="{height}"', str(MPP), str(MPP))
    write_tiff(folder / "s.ome.tiff", pyramid(pixels, (1, 4)), mpp=None, description=words)
    return "s.ome.tiff"


def write_slide_mirax(folder: Path, pixels: Rgb) -> str:
    cut = pixels[: pixels.shape[0] // 256 * 256, : pixels.shape[1] // 256 * 256]
    write_mirax(folder / "s.mrxs", pyramid(cut, (1, 2)), mpp=MPP)
    return "s.mrxs"


def write_slide_dicom(folder: Path, pixels: Rgb) -> str:
    for number, downsample in enumerate((1, 4)):
        level = reduced(pixels, downsample)
        write_dicom(folder / f"{number}.dcm", level, mpp=MPP * downsample, number=number)
    return ""


def write_slide_vmu(folder: Path, pixels: Rgb) -> str:
    write_vmu(folder / "s.vmu", pixels)
    return "s.vmu"


SLIDES: dict[str, Callable[[Path, Rgb], str]] = {
    "svs": write_slide_svs,
    "tiff": write_slide_tiff,
    "ome-tiff": write_slide_ome,
    "mirax": write_slide_mirax,
    "dicom": write_slide_dicom,
    "vmu": write_slide_vmu,
}
REAL_SLIDES = {"real-ndpi": "test3-DAPI-2-(387).ndpi", "real-svs": "CMU-1-Small-Region.svs"}
REGIONS_TEXT = {
    "geojson": json.dumps([polygon(SQUARE, properties={"name": "a"}), polygon(SQUARE[:-1])]),
    "asap": ASAP,
    "imagescope": IMAGESCOPE,
}
OTHERS = ("model", *REGIONS_TEXT, "run", "book", "results")


class Seeds:
    """Sound files of every kind, written when they are asked for."""

    def __init__(self, folder: Path, model: TinyModel) -> None:
        self._folder = folder
        self._model = model
        self._known: dict[str, Seed] = {}

    def get(self, name: str) -> Seed:
        """Return a seed by its name."""
        if name not in self._known:
            folder = self._folder / name
            folder.mkdir()
            self._known[name] = self._write(name, folder)
        return self._known[name]

    def of_file(self, name: str, path: Path) -> Seed:
        """Return the seed of a slide that is there."""
        folder = self._folder / name
        folder.mkdir()
        shutil.copyfile(path, folder / f"s{path.suffix}")
        return Seed(folder, f"s{path.suffix}", "slide")

    def _write(self, name: str, folder: Path) -> Seed:
        if name in SLIDES:
            opened = SLIDES[name](folder, paint_tiny(self._model)[0].pixels)
            return Seed(folder, opened, "slide")
        if name in REGIONS_TEXT:
            opened = "r.geojson" if name == "geojson" else "r.xml"
            (folder / opened).write_text(REGIONS_TEXT[name], encoding="utf-8")
            return Seed(folder, opened, "regions")
        if name == "model":
            shutil.copyfile(self._model.path, folder / "m.onnx")
            return Seed(folder, "m.onnx", name)
        if name == "run":
            with open_store(folder) as store:
                store.commit([result(number) for number in range(30)])
        elif name == "book":
            with RegionBook(folder) as book:
                book.edit(put=REGIONS)
        else:
            write_folder(folder, analysis(self._model.path), [])
        return Seed(folder, "", name)


@pytest.fixture(scope="module")
def seeds(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Seeds:
    return Seeds(tmp_path_factory.mktemp("seeds"), tiny_model)


# --- in our own processes -----------------------------------------------------------------------


def survey(seeds: list[Seed], folder: Path, counts: list[int], number: int) -> list[Tally]:
    """Open mutants in a harness; tell what came of them, and fail for what must not."""
    tasks = [
        asdict(Task(str(seed.folder), seed.opened, seed.kind, str(folder), count, number))
        for seed, count in zip(seeds, counts, strict=True)
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.harness"],
        input=json.dumps(tasks),
        capture_output=True,
        text=True,
        env=environment(folder / "data"),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tallies = [Tally(**it) for it in json.loads(done.stdout)]
    for seed, count, tally in zip(seeds, counts, tallies, strict=True):
        told = f"{tally.outcomes}, at most {tally.peak_mb:.0f} MB and {tally.slowest_s:.1f} s"
        LOG.info("%s: %s", seed.name, told)
        assert sum(tally.outcomes.values()) == count
        assert not tally.wrong, "\n".join([f"{len(tally.wrong)} of {count}", *tally.wrong[:5]])
    return tallies


def test_mutants_are_read_or_refused(seeds: Seeds, tmp_path: Path) -> None:
    names = [*SLIDES, *OTHERS]
    tallies = survey([seeds.get(it) for it in names], tmp_path, [QUICK] * len(names), number=1)

    assert {how for tally in tallies for how in tally.outcomes} >= {"read", "refused"}


def survey_many(seed: Seed, folder: Path) -> None:
    (tally,) = survey([seed], folder, [LONG[seed.kind]], number=2)
    if seed.kind == "slide":  # of others, any change may be refused
        assert min(tally.outcomes["read"], tally.outcomes["refused"]) > 10


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [*SLIDES, *OTHERS])
def test_thousands_of_mutants_are_read_or_refused(seeds: Seeds, tmp_path: Path, name: str) -> None:
    survey_many(seeds.get(name), tmp_path)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", REAL_SLIDES)
def test_mutants_of_real_slides_are_read_or_refused(
    seeds: Seeds, tmp_path: Path, shared_data: Path, name: str
) -> None:
    path = shared_data / "slides" / REAL_SLIDES[name]
    if not path.exists():
        pytest.skip(f"no {path.name}")
    survey_many(seeds.of_file(name, path), tmp_path)


# --- by the whole command -----------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """What a command did, with all the processes that it waited for."""

    arguments: tuple[str, ...]
    code: int
    stderr: str
    used_s: float
    peak_mb: float


def run(base: Path, *arguments: str | Path) -> Ran:
    """Run a command to its end; its data folder lies in `base`."""
    said = base / "stderr.txt"
    with said.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "idc_desktop", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=environment(base / "data"),
            cwd=base,
        )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ran(
        tuple(map(str, arguments)),
        process.returncode,
        said.read_text(encoding="utf-8"),
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1000,
    )


def check(ran: Ran, path: Path, codes: set[int]) -> str:
    """An expected exit code; a refusal in one line that names the file; no traceback; in time."""
    assert ran.code in codes, ran
    assert "Traceback" not in ran.stderr, ran
    assert ran.used_s < LONGEST_S, ran
    if ran.code == 3:
        *notes, refusal = ran.stderr.splitlines()
        assert refusal.startswith(f"{path.name}: "), ran
        assert all(note.startswith("note: ") for note in notes), ran
    return str(ran.code)


def command_for(seed: Seed, path: Path, model: TinyModel, sound: Path) -> tuple[str | Path, ...]:
    """Return what a user would type to have a mutant used."""
    chosen = ("--model", model.path, "--provider", "cpu", "--out", "out")
    if seed.kind == "slide":
        return "analyze", path, *chosen
    if seed.kind == "model":
        return "models", "verify", path, "--provider", "cpu"
    return "analyze", sound, *chosen, "--regions", path


def try_mutants(
    seeds: Seeds, tmp_path: Path, model: TinyModel, name: str, count: int, number: int
) -> Counter[str]:
    """Give mutants to the command; return how many ended with which exit code."""
    seed = seeds.get(name)
    sound = seeds.get("tiff").folder / "s.tiff"
    peaks: list[float] = []

    def attempt(path: Path) -> str:
        base = path.parent if path.is_file() else path
        home = tmp_path / f"run-{base.name}"
        home.mkdir()
        ran = run(home, *command_for(seed, path, model, sound))
        peaks.append(ran.peak_mb)
        code = check(ran, path, {0, 3, 4})
        shutil.rmtree(home)
        shutil.rmtree(base)
        return code

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = Counter(pool.map(attempt, mutants(seed, tmp_path, count, number)))
    LOG.info("%s, exit codes: %s, at most %.0f MB", name, dict(found), max(peaks))
    return found


COMMANDS = {
    "svs": 300, "tiff": 300, "ome-tiff": 200, "mirax": 200, "dicom": 200, "vmu": 100,
    "model": 300, "geojson": 200, "asap": 100, "imagescope": 100,
}  # fmt: skip


@pytest.mark.parametrize("name", ["svs", "mirax", "model", "geojson"])
def test_command_answers_or_refuses_mutants(
    seeds: Seeds, tmp_path: Path, tiny_model: TinyModel, name: str
) -> None:
    assert sum(try_mutants(seeds, tmp_path, tiny_model, name, 2, number=1).values()) == 2


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", COMMANDS)
def test_command_answers_or_refuses_hundreds_of_mutants(
    seeds: Seeds, tmp_path: Path, tiny_model: TinyModel, name: str
) -> None:
    found = try_mutants(seeds, tmp_path, tiny_model, name, COMMANDS[name], number=2)

    assert found["3"] >= 10


@pytest.mark.parametrize("count", [2, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.timeout(1800)
def test_analysis_with_a_damaged_run_file_gives_the_same_numbers(
    seeds: Seeds, tmp_path: Path, tiny_model: TinyModel, count: int
) -> None:
    sound = seeds.get("tiff").folder / "s.tiff"
    command = ("analyze", sound, "--model", tiny_model.path, "--provider", "cpu", "--out", "out")
    base = tmp_path / "base"
    base.mkdir()
    assert run(base, *command).code == 0
    patches = Path("out") / "s" / "patches.csv"
    expected = file_sha256(base / patches)
    (file,) = (base / "data" / "slides").rglob("run-*.sqlite")
    seed = Seed(file.parent, file.name, "run")
    inner = file.parent.relative_to(base)

    for path in mutants(seed, tmp_path, count, number=3):
        home = tmp_path / "again"
        (home / inner).mkdir(parents=True)
        shutil.copyfile(path, home / inner / file.name)
        ran = run(home, *command)
        assert ran.code == 0, ran
        assert file_sha256(home / patches) == expected, ran
        shutil.rmtree(home)
