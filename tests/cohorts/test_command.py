"""``idc-desktop cohort``: as `analyze`, slide by slide, and what all of them say together."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from idc_desktop.cohorts.states import CohortFolder
from idc_desktop.commands.cli import main
from idc_desktop.regions.book import RegionBook
from idc_desktop.regions.shape import MASK_REMOVED, Region, rectangle
from tests.cohorts.support import TinyCohort, digests, document
from tests.support.command import environment, read_csv

COLUMNS = (
    "Image,Group,Status,Patches,Patches analyzed,Patches failed,Patches excluded,"
    "Analyzed area µm^2,IDC area µm^2,IDC fraction,Foci,Largest focus µm^2,Max diameter µm,"
    "Threshold,Model,Model SHA-256,Map,mpp used,mpp source,Provider,Notes,Error"
)


def region(name: str) -> str:
    ring = [[200, 200], [600, 200], [600, 600], [200, 600], [200, 200]]
    return json.dumps(
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"name": name},
        }
    )


def test_cohort_is_what_analyze_makes_of_each_slide_and_one_table(
    cohort: TinyCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort.add("b.tiff", "a/b.tiff")
    cohort.add_damaged("a/bad.svs")

    assert cohort.run("--json") == 3

    said = document(capsys)
    assert [it["status"] for it in said["slides"]] == ["done", "refused", "done"]
    assert said["counts"] == {"done": 2, "partial": 0, "refused": 1, "failed": 0, "pending": 0}
    assert (cohort.out / "cohort.csv").read_text("utf-8").splitlines()[0] == COLUMNS
    first, bad, last = cohort.rows
    assert [it["Image"] for it in cohort.rows] == ["a/b.tiff", "a/bad.svs", "b.tiff"]
    assert bad["Error"].startswith("bad.svs: ")
    assert {**first, "Image": "b.tiff"} == last
    # The row says what the slide's own files say.
    with (cohort.out / "b" / "regions.csv").open(encoding="utf-8", newline="") as file:
        whole = list(csv.DictReader(file))[-1]
    for column in whole.keys() & last.keys() - {"Image", "Max diameter µm", "Patches excluded"}:
        assert last[column] == whole[column], column
    assert float(last["IDC area µm^2"]) / float(last["Analyzed area µm^2"]) == pytest.approx(
        float(last["IDC fraction"])
    )
    assert int(last["Foci"]) >= 1
    assert float(last["Max diameter µm"]) > 0
    # The files are those of a command of its own.
    alone = tmp_path / "alone"
    slide = str(cohort.slides / "b.tiff")
    arguments = ["--model", str(cohort.model), "--provider", "cpu", "--out", str(alone)]
    assert main(["analyze", slide, *arguments]) == 0
    assert digests(cohort.out / "b") == digests(alone / "b")


def test_same_command_goes_on_and_does_nothing_twice(
    cohort: TinyCohort, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort.add("a.tiff", "b.tiff")
    cohort.add_damaged("bad.svs")
    assert cohort.run() == 3
    before, tables = cohort.written(), digests(cohort.out)

    assert cohort.run() == 3

    assert cohort.written() == before
    assert digests(cohort.out) == tables
    assert "2 of 3 slides were done before, 1 refused" in capsys.readouterr().out

    # A new slide joins, one that was mended is tried again, one that is gone stays as such.
    cohort.add("c.tiff", "bad.svs")
    (cohort.slides / "b.tiff").unlink()
    assert cohort.run() == 0
    assert cohort.statuses == dict.fromkeys(("a.tiff", "b.tiff", "bad.svs", "c.tiff"), "done")
    assert [it["Notes"] for it in cohort.rows] == ["", "The slide is no longer listed.", "", ""]
    now = cohort.written()
    assert {it: now[it] for it in before if not it.startswith(".cohort")}.items() <= before.items()


def test_what_was_refused_is_tried_again_where_that_is_asked_for(cohort: TinyCohort) -> None:
    cohort.add_damaged("bad.svs")
    assert cohort.run() == 3
    folder = CohortFolder(cohort.out)
    (before,) = folder.stamps().values()
    assert cohort.run() == 3
    assert list(folder.stamps().values()) == [before]

    assert cohort.run("--retry", "failed") == 3

    assert list(folder.stamps().values()) != [before]


def test_results_that_are_gone_or_replaced_or_of_other_options_are_made_again(
    cohort: TinyCohort,
) -> None:
    cohort.add("a.tiff")
    assert cohort.run() == 0
    wanted = digests(cohort.out)
    provenance = cohort.out / "a" / "provenance.json"
    overlay = cohort.out / "a" / "overlay.png"
    for spoil in (provenance.unlink, lambda: provenance.write_text("{}"), overlay.unlink):
        spoil()
        assert cohort.run("--overwrite") == 0
        assert digests(cohort.out) == wanted

    assert cohort.run("--threshold", "0.9") == 0

    assert cohort.rows[0]["Threshold"] == "0.9"
    assert digests(cohort.out / "a") != wanted


def test_what_the_window_changed_of_a_slide_comes_into_its_row(
    cohort: TinyCohort, data_dir: Path
) -> None:
    cohort.add("a.tiff")
    assert cohort.run() == 0
    (place,) = (data_dir / "slides").iterdir()
    untouched, patches = cohort.written(), int(cohort.rows[0]["Patches analyzed"])

    with RegionBook(place) as book:
        book.edit(put=[Region("only drawn", rectangle(0, 0, 50, 50))])
        book.save_view({"display": {}})
        book.flush()
        assert cohort.run() == 0  # it is open
    assert cohort.run() == 0
    assert cohort.written() == untouched

    with RegionBook(place) as book:
        cell = Region("glass", rectangle(200, 200, 400, 400), MASK_REMOVED)
        book.edit(put=[cell])
    assert cohort.run() == 0
    assert int(cohort.rows[0]["Patches analyzed"]) == patches - 1
    changed = cohort.written()
    assert cohort.run() == 0
    assert cohort.written() == changed

    with RegionBook(place) as book:
        book.edit(put=[Region("judged", rectangle(0, 0, 900, 900), verdict="IDC")])
    assert cohort.run() == 0
    assert [it["Verdict"] for it in read_csv(cohort.out / "a" / "regions.csv")] == ["IDC", ""]

    with RegionBook(place) as book:
        book.edit(remove=[it.id for it in book.kept.regions])
    assert cohort.run() == 0
    assert int(cohort.rows[0]["Patches analyzed"]) == patches


def test_damaged_state_costs_its_own_slide(cohort: TinyCohort) -> None:
    cohort.add("a.tiff", "b.tiff")
    assert cohort.run() == 0
    wanted = digests(cohort.out)
    states = sorted((cohort.out / ".cohort" / "states").iterdir())
    states[0].write_bytes(states[0].read_bytes()[:100])

    assert cohort.run() == 0

    assert digests(cohort.out) == wanted


def test_anonymous_files_name_no_slide_and_no_folder(cohort: TinyCohort) -> None:
    cohort.add("Mueller/S21-4711.tiff")
    cohort.add_damaged("Meier/S22-0815.svs")
    given = [cohort.slides]

    assert cohort.run("--anonymous", given=given) == 3

    assert len(cohort.rows) == 2
    for path in cohort.out.rglob("*"):
        text = str(path.relative_to(cohort.out)).encode()
        text += path.read_bytes() if path.is_file() else b""
        for name in (b"S21-4711", b"S22-0815", b"Mueller", b"Meier", os.fsencode(cohort.slides)):
            assert name not in text, path


@pytest.mark.parametrize("name", ["slide", "Mueller", "this", "S22-0815"])
def test_anonymous_message_has_no_name_and_all_of_its_words(
    cohort: TinyCohort, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    cohort.add("good.tiff")
    cohort.add_damaged(f"{name}.svs")
    cohort.add_damaged(f"{name}.mrxs")

    assert cohort.run("--anonymous") == 3

    told = {it["Image"]: it["Error"] for it in cohort.rows if it["Error"]}
    texts = sorted(error.replace(image, "IMAGE") for image, error in told.items())
    assert texts == [
        "IMAGE: Its data folder IMAGE is missing. Copy the .mrxs file together with that whole "
        "folder, side by side.",
        "IMAGE: This is not a slide format that OpenSlide reads. Convert it to a tiled pyramidal "
        "TIFF.",
    ]


def test_format_that_one_slide_cannot_have_costs_no_other_file(cohort: TinyCohort) -> None:
    cohort.add("a.tiff")

    assert cohort.run("--format", "dicom", "--format", "regions") == 4

    (row,) = cohort.rows
    assert row["Status"] == "partial"
    assert "--format dicom is not possible" in row["Error"]
    assert (cohort.out / "a" / "regions.geojson").is_file()
    assert cohort.run("--format", "dicom", "--format", "regions") == 4


def test_page_shows_names_and_runs_none(cohort: TinyCohort) -> None:
    name = '<img src=x onerror="alert(1)">&amp;.tiff'
    cohort.add(name)
    cohort.add_damaged("=1+1.svs")

    assert cohort.run() == 3

    page = (cohort.out / "cohort.html").read_text("utf-8")
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;amp;.tiff" in page
    assert "<img src=x" not in page
    assert not re.search(r"https?:|(src|href)=\"//", page)
    assert 'src="data:image/jpeg;base64,' in page
    assert "default-src 'none'" in page
    assert [it["Image"] for it in cohort.rows] == [name, "'=1+1.svs"]


def test_regions_of_each_slide_come_into_one_table(
    cohort: TinyCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort.add("a/x.tiff", "y.tiff", "z.tiff")
    regions = tmp_path / "regions"
    regions.mkdir()
    (regions / "x.geojson").write_text(region("tumour"))
    (regions / "y.geojson").write_text(region("=nest"))
    (regions / "z.geojson").write_text("{")

    assert cohort.run("--regions", regions) == 3

    with (cohort.out / "cohort_regions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(it["Image"], it["Name"]) for it in rows] == [
        ("a/x.tiff", "tumour"),
        ("y.tiff", "'=nest"),
    ]
    assert cohort.statuses["z.tiff"] == "refused"
    assert "z.geojson" in cohort.rows[2]["Error"]
    one = regions / "x.geojson"
    assert cohort.run("--regions", one) == 2
    assert "--regions-for-all" in capsys.readouterr().err
    assert cohort.run("--regions", one, given=[cohort.slides / "y.tiff"]) == 0


def test_list_gives_resolution_and_group(cohort: TinyCohort) -> None:
    cohort.add("a.tiff", "b.tiff")
    listing = cohort.slides / "list.csv"
    listing.write_text("slide,mpp,group\na.tiff,2.5,treated\nb.tiff,,control\n")

    assert cohort.run("--mpp", "3", given=[listing]) == 0

    columns = ("Group", "mpp used", "mpp source")
    assert [[it[column] for column in columns] for it in cohort.rows] == [
        ["treated", "2.5", "user"],
        ["control", "3.0", "user"],
    ]


def test_model_that_cannot_be_used_ends_all_at_once(
    cohort: TinyCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort.add("a.tiff", "b.tiff")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    cohort.model = bad

    assert cohort.run() == 3

    assert capsys.readouterr().err.count("bad.onnx") == 1
    assert not list(cohort.out.glob("*/provenance.json"))


def test_ctrl_c_keeps_what_was_done_and_the_same_command_goes_on(
    cohort: TinyCohort, data_dir: Path
) -> None:
    names = [f"{number}.tiff" for number in range(6)]
    cohort.add(*names)
    process = subprocess.Popen(
        [sys.executable, "-m", "idc_desktop", *cohort.arguments()],
        env=environment(data_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "done" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 130, stderr
    assert "6 slides: " in stdout
    assert "Cancelled." in stderr
    counts = Counter(cohort.statuses.values())
    assert counts.keys() == {"done", "pending"}
    assert cohort.run() == 0
    assert set(cohort.statuses.values()) == {"done"}


def test_shards_share_the_slides_and_make_the_same_tables(
    cohort: TinyCohort, data_dir: Path, tmp_path: Path
) -> None:
    cohort.add("a.tiff", "b.tiff", "sub/c.tiff", "sub/d.tiff")
    assert cohort.run() == 0
    wanted, cohort.out = digests(cohort.out), tmp_path / "shared"

    shards = [
        subprocess.Popen(
            [sys.executable, "-m", "idc_desktop", *cohort.arguments("--shard", shard)],
            env=environment(data_dir / shard[0]),
            stdout=subprocess.PIPE,
            text=True,
        )
        for shard in ("1/2", "2/2")
    ]
    said = [it.communicate(timeout=60)[0] for it in shards]

    assert [it.returncode for it in shards] == [0, 0]
    assert digests(cohort.out) == wanted
    assert not list((cohort.out / ".cohort" / "claims").iterdir())
    # Each has done some of them; none was done twice.
    runs = [list(data_dir.glob(f"{it}/slides/*/run-*.sqlite")) for it in "12"]
    assert all(it.count("done") >= 4 for it in said)
    assert all(runs)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b"])
def test_shard_that_is_none_is_refused(
    cohort: TinyCohort, shard: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cohort.run("--shard", shard)
    assert end.value.code == 2
    assert "--shard" in capsys.readouterr().err


def test_shards_cannot_forget_what_others_do(
    cohort: TinyCohort, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort.add("a.tiff")
    assert cohort.run("--shard", "1/2", "--restart") == 2
    assert "Run once with --restart alone" in capsys.readouterr().err


def test_states_that_cannot_be_kept_end_the_command(
    cohort: TinyCohort, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort.add("a.tiff", "b.tiff")
    states = cohort.out / ".cohort" / "states"
    states.parent.mkdir(parents=True)
    states.write_bytes(b"")

    assert cohort.run() == 5

    assert "What became of the slides cannot be kept" in capsys.readouterr().err
    states.unlink()
    assert cohort.run() == 0
