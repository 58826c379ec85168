"""Which slides a cohort has, and where their results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from idc_desktop.cohorts.members import Member, find_members
from idc_desktop.errors import ProjectError, SlideError, UsageError
from idc_desktop.storage.project_files import create_project


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def found(*given: Path, out: Path | None = None, regions: Path | None = None) -> list[Member]:
    return find_members(list(map(str, given)), out or Path("/nowhere/out"), regions)[0]


def names(members: list[Member]) -> list[str]:
    return [it.name for it in members]


def test_folder_is_searched_to_the_last_but_not_what_is_hidden_or_written_by_us(
    tmp_path: Path,
) -> None:
    folder = fill(
        tmp_path / "slides",
        *("b.svs", "a/x.svs", "a/deep/y.ndpi", "notes.txt", ".hidden.svs", ".cache/z.svs"),
        *("a/._x.svs", "out/b/overlay.png", "out/loose.svs"),
        *("old/b/provenance.json", "old/b/probability.ome.tiff"),
        *("cut/c/probability.ome.tiff", "other/.cohort/slides.json", "other/k.svs"),
    )
    (folder / "a" / "again").symlink_to(folder)

    members = found(folder, out=folder / "out")

    assert names(members) == ["a/deep/y.ndpi", "a/x.svs", "b.svs"]
    assert [it.folder for it in members] == ["a/deep/y", "a/x", "b"]
    assert members[0].slide == folder / "a" / "deep" / "y.ndpi"


def test_of_several_arguments_names_begin_with_the_folder(tmp_path: Path) -> None:
    fill(tmp_path, "one/x.svs", "two/x.svs", "y.svs")

    members = found(tmp_path / "one", tmp_path / "two", tmp_path / "y.svs", tmp_path / "y.svs")

    assert names(members) == ["one/x.svs", "two/x.svs", "y.svs"]


def test_a_project_of_the_window_names_slides(tmp_path: Path) -> None:
    folder = fill(tmp_path / "study", "deep/x.svs")
    project, other = folder / "Mamma.idcproject", tmp_path / "elsewhere" / "y.svs"
    create_project(project, [other, folder / "deep" / "x.svs"])

    members = found(project)

    assert names(members) == ["deep/x.svs", "y.svs"]
    assert [it.slide for it in members] == [folder / "deep" / "x.svs", other]
    project.write_text("[]")
    with pytest.raises(ProjectError, match=r"Mamma\.idcproject"):
        found(project)


def test_equal_stems_in_a_folder_keep_their_suffixes(tmp_path: Path) -> None:
    members = found(fill(tmp_path, "x.svs", "x.tiff", "Y.svs", "y.tiff", "z.svs"))

    assert {it.name: it.folder for it in members} == {
        "x.svs": "x.svs",
        "x.tiff": "x.tiff",
        "Y.svs": "Y.svs",
        "y.tiff": "y.tiff",
        "z.svs": "z",
    }


def test_names_of_folders_are_safe_on_every_system(tmp_path: Path) -> None:
    (member,) = found(fill(tmp_path, "CON/a:b.svs"))

    parent, folder = member.folder.split("/")
    assert parent.startswith("_CON-")
    assert ":" not in folder


def test_no_slide_takes_the_name_of_a_table(tmp_path: Path) -> None:
    fill(tmp_path, "cohort.csv.svs", "Cohort.HTML/a.svs", "deep/cohort.csv.svs")

    folders = {it.name: it.folder for it in found(tmp_path)}

    assert folders == {
        "cohort.csv.svs": "_cohort.csv",
        "Cohort.HTML/a.svs": "_Cohort.HTML/a",
        "deep/cohort.csv.svs": "deep/cohort.csv",
    }


def test_two_slides_of_one_name_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "one/x.svs", "two/x.svs")

    with pytest.raises(UsageError, match=r"Both would be x\.svs"):
        found(tmp_path / "one" / "x.svs", tmp_path / "two" / "x.svs")


def test_nothing_found_is_said(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="There is no slide"):
        found(fill(tmp_path, "notes.txt"))


def test_list_says_what_belongs_to_each_slide(tmp_path: Path) -> None:
    fill(tmp_path, "s/x.svs", "elsewhere/y.svs")
    listing = tmp_path / "s" / "list.csv"
    listing.write_bytes(
        "\ufeffslide;mpp;regions;group\r\nx.svs;0,5;x.geojson;A\r\n../elsewhere/y.svs;;;\r\n".encode()
    )

    x, y = found(listing)

    assert (x.name, x.mpp, x.group) == ("x.svs", 0.5, "A")
    assert x.regions == tmp_path / "s" / "x.geojson"
    assert y == Member("y.svs", tmp_path / "elsewhere" / "y.svs", "y")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file\na.svs\n", "line 1: .*unknown: 'file'"),
        ("mpp\n0.5\n", "line 1: .*no column slide"),
        ("slide,mpp\na.svs,half\n", "line 2: .*mpp: 'half' is not a number"),
        ("slide\na\0.svs\n", "line 2: .*a NUL, which no name can"),
        ("slide,regions\na.svs,r\0.geojson\n", "line 2: .*a NUL"),
        ("slide,mpp\na.svs\n", "line 2: .*another number of cells"),
        ("slide\n\n,\n", "line 3: .*another number of cells"),
        ('slide\n""\n', "line 2: .*no slide is named"),
    ],
)
def test_list_that_cannot_be_used_says_where(tmp_path: Path, text: str, reason: str) -> None:
    listing = tmp_path / "list.csv"
    listing.write_text(text)

    with pytest.raises(SlideError, match=rf"list\.csv, {reason}"):
        found(listing)


def test_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    listing = tmp_path / "list.csv"
    listing.write_bytes(b"slide\n\xff\xfe")

    with pytest.raises(SlideError, match="it is no UTF-8"):
        found(listing)


def test_regions_of_a_folder_belong_to_the_slides_of_their_names(tmp_path: Path) -> None:
    slides = fill(tmp_path / "slides", "a/x.svs", "y.svs", "z.svs")
    regions = fill(tmp_path / "regions", "a/x.geojson", "x.geojson", "y.svs.xml")

    members = found(slides, regions=regions)

    assert [it.regions for it in members] == [
        regions / "a" / "x.geojson",
        regions / "y.svs.xml",
        None,
    ]


def test_stamp_follows_the_slide_or_the_files_of_its_folder(tmp_path: Path) -> None:
    file = Member("x.svs", tmp_path / "x.svs")
    folder = Member("series", tmp_path / "series")
    assert file.stamp == ""
    fill(tmp_path, "x.svs", "series/1.dcm")
    before = file.stamp, folder.stamp
    assert before[0] == file.stamp

    file.slide.write_bytes(b"more")
    fill(tmp_path, "series/2.dcm")

    assert file.stamp != before[0]
    assert folder.stamp != before[1]
