"""The six files: complete or untouched, the same every time, and silent about whose slide it is."""

from __future__ import annotations

import base64
import contextlib
import csv
import gzip
import hashlib
import io
import json
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idc_desktop.commands.batch import FORMAT_NAMES
from idc_desktop.errors import ExportError, OutputError
from idc_desktop.export.content import Analysis
from idc_desktop.export.folder import write_folder
from idc_desktop.export.verify import PROVENANCE, verify_folder
from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.layers import NO_VALUE
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.model_file import read_model
from idc_desktop.models.provider import ProviderChoice
from idc_desktop.regions.shape import Region, rectangle
from idc_desktop.slides.description import LevelDescription, SlideDescription
from tests.support.command import SIX_FILES, file_sha256, read_csv, run_cli
from tests.support.models import TinyModel
from tests.support.scenes import Scene, paint_tiny
from tests.support.slides import damage_tile, pyramid, write_svs, write_tiff

CANARY = "K4N4R13NV0GEL"
REPOSITORY = Path(__file__).resolve().parents[1]


def analysis(model: Path, *, seed: int = 0, image: str = "s.svs") -> Analysis:
    """Make up a finished analysis of 30 x 20 patches; another seed is another run on the slide."""
    rng = np.random.default_rng(seed)
    grid = PatchGrid.over((0, 0, 6000, 4000), (2.0, 2.0), 400.0)
    probability_map = ProbabilityMap(grid)
    probability_map.states[:] = rng.choice([1, 1, 2, 3, 4], (grid.rows, grid.cols))
    ok = probability_map.states == PatchState.OK
    values = rng.integers(0, 1_000_001, ok.shape)
    probability_map.layer().stored[:] = np.where(ok, values, NO_VALUE)
    return Analysis(
        image=image,
        slide=SlideDescription(
            file=image, vendor="generic-tiff", width_l0=6000, height_l0=4000,
            levels=(LevelDescription(6000, 4000, 1.0, 2.0, 2.0),), mpp_x=2.0, mpp_y=2.0,
            mpp_source="file", objective_power=None, bounds=None,
            identity=hashlib.sha256(b"slide").hexdigest(), identity_kind="rule", warnings=(),
        ),
        model=read_model(model),
        map=probability_map,
        overview=rng.integers(0, 256, (200, 300, 3)).astype(np.uint8),
        overview_px_l0=20.0,
        tissue=TissueSettings(enabled=False),
        provider=ProviderChoice("cpu", "cpu", None),
        versions={"python": "3"},
        threshold=0.5,
        map_kind="patch",
    )  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in folder.iterdir()}


def region(name: str, classification: str = "") -> Region:
    return Region(name, rectangle(100, 100, 900, 700), classification, id=name)


def test_excluded_patches_are_listed_with_their_probability(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    made = analysis(tiny_model.path)
    row, col = np.argwhere(made.map.states == PatchState.OK)[0].tolist()
    expected = int(made.layer.stored[row, col])
    before, figures = made.map.counts(), (tmp_path / "before", tmp_path / "s")
    write_folder(figures[0], made, [])
    where = np.zeros(made.map.states.shape, np.bool_)
    where[row, col] = True
    made.map.exclude("blur", where)

    write_folder(tmp_path / "s", made, [])

    listed = {(it["row"], it["col"]): it for it in read_csv(tmp_path / "s" / "patches.csv")}
    entry = listed[str(row), str(col)]
    assert (entry["status"], float(entry["prob_IDC"])) == ("excluded", expected / 1e6)
    assert entry["excluded_reason"] == "blur"
    assert made.map.states[row, col] == PatchState.OK
    assert made.map.counts() == {**before, "ok": before["ok"] - 1, "excluded": 1}
    all_of_it, rest = (read_csv(it / "regions.csv")[-1] for it in figures)
    assert int(rest["Patches analyzed"]) == int(all_of_it["Patches analyzed"]) - 1
    assert rest["Patches failed"] == all_of_it["Patches failed"]


def test_folder_that_was_written_is_proved_intact(tiny_model: TinyModel, tmp_path: Path) -> None:
    write_folder(tmp_path / "a", analysis(tiny_model.path), [region("r")])

    assert set(contents(tmp_path / "a")) == set(SIX_FILES)
    assert verify_folder(tmp_path / "a")["model"]["sha256"] == tiny_model.sha256


def test_same_analysis_gives_the_same_bytes(tiny_model: TinyModel, tmp_path: Path) -> None:
    for name in "abc":
        write_folder(tmp_path / name, analysis(tiny_model.path), [region("r")])

    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_three_runs_of_a_slide_give_the_same_six_files(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path
) -> None:
    """In other folders, with other data folders, threads and working folders."""
    found = []
    for number in (1, 2, 3):
        base = tmp_path / f"run {number}"
        base.mkdir()
        slide = Path(shutil.copy(tiny_slide.path, base / "tiny.tiff"))
        outcome = run_cli(
            "analyze", slide, "--out", base / "out", "--model", tiny_model.path,
            "--provider", "cpu", "--threads", number, data_dir=base / "data",
        )  # fmt: skip
        assert outcome.code == 0, outcome
        found.append(contents(base / "out" / "tiny"))

    assert set(found[0]) == set(SIX_FILES)
    for name in set(SIX_FILES) - {"provenance.json"}:
        assert found[0][name] == found[1][name] == found[2][name], name


@given(name=st.text(max_size=20), classification=st.text(max_size=10), image=st.text(max_size=20))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_text_becomes_a_formula_and_every_text_survives(
    model_path: Path, tmp_path: Path, name: str, classification: str, image: str
) -> None:
    write_folder(tmp_path, analysis(model_path, image=image), [region(name, classification)])
    rows = read_csv(tmp_path / "regions.csv")

    for column, text in (("Image", image), ("Name", name), ("Classification", classification)):
        cell = rows[0][column]
        assert not cell.startswith(("=", "+", "-", "@", "\t"))
        expected = text.encode("utf-8", "replace").decode()
        assert cell == (f"'{expected}" if text.startswith(("=", "+", "-", "@", "\t")) else expected)


@pytest.fixture(scope="module")
def model_path(tiny_model: TinyModel) -> Path:
    return tiny_model.path


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_formula_is_disarmed(tiny_model: TinyModel, tmp_path: Path, start: str) -> None:
    write_folder(tmp_path, analysis(tiny_model.path, image=start), [region(start, start)])

    for row in csv.reader(io.StringIO((tmp_path / "regions.csv").read_text(encoding="utf-8"))):
        assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in row)
    rows = read_csv(tmp_path / "regions.csv")
    assert (rows[0]["Name"], rows[0]["Image"]) == (f"'{start}", f"'{start}")


def test_numbers_are_never_guarded(tiny_model: TinyModel, tmp_path: Path) -> None:
    left = Region("left", rectangle(-900, -700, -100, -100))

    write_folder(tmp_path, analysis(tiny_model.path), [left])

    row = read_csv(tmp_path / "regions.csv")[0]
    assert (row["Centroid X µm"], row["Centroid Y µm"]) == ("-1000.0", "-800.0")


DAMAGES = {
    "changed": lambda folder: (folder / "regions.csv").write_text("x", encoding="utf-8"),
    "missing": lambda folder: (folder / "overlay.png").unlink(),
    "no provenance": lambda folder: (folder / PROVENANCE).unlink(),
    "empty provenance": lambda folder: (folder / PROVENANCE).write_text("", encoding="utf-8"),
    "other JSON": lambda folder: (folder / PROVENANCE).write_text("[1]", encoding="utf-8"),
    "no files named": lambda folder: edit(folder, files={}),
    "one file named": lambda folder: edit(folder, files={"patches.csv": "0"}),
    "outside": lambda folder: edit(folder, files={"../patches.csv": "0"}),
    "hash is a number": lambda folder: edit(folder, files=dict.fromkeys(SIX_FILES, 7)),
    "slide is a list": lambda folder: edit(folder, slide=[]),
    "model is missing": lambda folder: edit(folder, model=None),
    "deep": lambda folder: (folder / PROVENANCE).write_text("[" * 99_999, encoding="utf-8"),
    "file is a folder": lambda folder: (
        (folder / "patches.csv").unlink(),
        (folder / "patches.csv").mkdir(),
    ),
}


def edit(folder: Path, **changes: Any) -> None:
    document = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    text = json.dumps({**document, **changes})
    (folder / PROVENANCE).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folder_is_told_from_an_intact_one(
    tiny_model: TinyModel, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "export"
    write_folder(folder, analysis(tiny_model.path), [])
    DAMAGES[damage](folder)

    with pytest.raises(ExportError, match=r"^export: "):
        verify_folder(folder)


@pytest.fixture(scope="module")
def canary_run(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides with names in every text, one of them with a torn tile, analyzed anonymously."""
    base = tmp_path_factory.mktemp("secret") / CANARY
    base.mkdir()
    canvas, _ = paint_tiny(tiny_model)
    levels = pyramid(canvas.pixels, (1, 4))
    names = ("Patient", "Filename", "User", "Date", "ScanScope ID", "Title", "Barcode", "Left")
    whole = write_svs(
        base / f"{CANARY} whole.svs", levels, mpp=2.0,
        fields={name: f"{CANARY} {name}" for name in names},
        label=canvas.pixels[:100, :100], macro=canvas.pixels[:100, :200],
    )  # fmt: skip
    torn = write_tiff(
        base / f"{CANARY} torn.tiff", canvas.pixels, mpp=2.0, compression="jpeg",
        description=f"{CANARY} DOE^JOHN",
    )  # fmt: skip
    damage_tile(torn, 0, 2, 2)
    users = dict.fromkeys(("USER", "LOGNAME", "USERNAME", "HOSTNAME"), CANARY)
    outcome = run_cli(
        "analyze", whole, torn, "--out", base / "out", "--model", tiny_model.path, "--anonymous",
        "--provider", "cpu", *(f"--format={name}" for name in FORMAT_NAMES if name != "dicom"),
        data_dir=base / "data", env=users,
    )  # fmt: skip
    assert outcome.code == 4, outcome
    return base


@pytest.mark.parametrize("place", ["out", "data"])
def test_anonymous_run_writes_no_name_anywhere(canary_run: Path, place: str) -> None:
    files = [path for path in (canary_run / place).rglob("*") if path.is_file()]
    assert len(files) >= 2
    canaries = [
        text.encode(coding)
        for text in (CANARY, CANARY.lower(), "DOE^JOHN")
        for coding in ("utf-8", "utf-16-le")
    ]
    for path in files:
        assert CANARY not in str(path.relative_to(canary_run))
        data = unpacked(path)
        assert not [canary for canary in canaries if canary in data], path


def unpacked(path: Path) -> bytes:
    """Return a file's bytes, with what is compressed in it unfolded."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".pdf":
        # A stream that unfolds to text is text; one of pixels holds no words.
        streams = re.findall(rb"stream\r?\n(.*?)endstream", data, re.DOTALL)
        for stream in streams:
            with contextlib.suppress(ValueError, zlib.error):
                data += zlib.decompress(base64.a85decode(stream.strip().removesuffix(b"~>")))
    return data


def test_canary_would_be_found_in_a_report(tiny_model: TinyModel, tmp_path: Path) -> None:
    """A check of the check above."""
    found = analysis(tiny_model.path, image=CANARY)

    write_folder(tmp_path / "s", found, [], ("report", "qupath"))

    for name in ("report.pdf", "measurements.tsv", "regions.csv"):
        assert CANARY.encode() in unpacked(tmp_path / "s" / name)


def test_torn_tile_is_told_in_the_anonymous_export(canary_run: Path) -> None:
    """So the test above did look at a reason for a failure, which OpenSlide words with a path."""
    failed = [
        row
        for path in (canary_run / "out").glob("*/patches.csv")
        for row in read_csv(path)
        if row["status"] == "failed"
    ]

    assert failed


def test_name_that_is_taken_by_a_folder_leaves_all_files_untouched(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    write_folder(tmp_path, analysis(tiny_model.path), [])
    (tmp_path / "patches.geojson").unlink()
    (tmp_path / "patches.geojson").mkdir()
    old = {name: file_sha256(tmp_path / name) for name in SIX_FILES if name != "patches.geojson"}

    with pytest.raises(OutputError, match="cannot be written"):
        write_folder(tmp_path, analysis(tiny_model.path, seed=1), [])

    now = {name: file_sha256(tmp_path / name) for name in old}
    assert now == old
    assert {path.name for path in tmp_path.iterdir()} == set(SIX_FILES)
