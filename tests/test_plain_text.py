"""Names reach the terminal as one line that it shows and does not obey."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idc_desktop.commands.cli import main
from idc_desktop.export.results import results_name
from idc_desktop.plain_text import counted, one_line
from tests.support.command import read_json
from tests.support.models import TinyModel, write_tiny_model
from tests.support.scenes import Scene

EVIL = "a\x1b]0;pwn\x07\x1b[31m\nb\r\x9b2J\u202egpj.\u2028\u2066\x7f"
ENDINGS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Fall 12, µm/px – 50 %\u202f»½« 患者 👩\u200d🔬 می\u200cخواهم", None),
        ("", None),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31m\x9b", r"\x1b[31m\x9b"),
        ("\u202eabc\u2069\u200f", r"\u202eabc\u2069\u200f"),
        ("\udc80\ud83d", r"\udc80\ud83d"),
        ("\U000e0041", r"\U000e0041"),
        ("\\n", None),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_and_nothing_else(
    text: str, shown: str | None
) -> None:
    assert one_line(text) == (text if shown is None else shown)


@given(text=st.text(st.characters(codec=None)) | st.text(st.sampled_from(EVIL + ENDINGS)))
def test_no_text_has_two_lines_or_cannot_be_encoded(text: str) -> None:
    line = one_line(text)

    assert len(line.splitlines()) <= 1
    assert not {unicodedata.category(it) for it in line} & {"Cc", "Cs", "Zl", "Zp"}
    line.encode("utf-8")


def harmless(text: str) -> bool:
    return all(one_line(line) == line for line in text.split("\n"))


@pytest.fixture
def evil_slide(tiny_slide: Scene, tmp_path: Path) -> Path:
    if sys.platform == "win32":
        pytest.skip("such names cannot be on Windows")
    path = tmp_path / f"{EVIL}\udc80.tiff"
    shutil.copy(tiny_slide.path, path)
    return path


@pytest.fixture
def evil_regions(tmp_path: Path) -> Path:
    """Two regions, one of them off the slide, which is told."""
    path = tmp_path / "r.geojson"
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[x, 9], [x + 90, 9], [x + 90, 99], [x, 99], [x, 9]]],
            },
            "properties": {"name": EVIL * 3000, "classification": {"name": EVIL}},
        }
        for x in (9, 90_000)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_hostile_names_end_no_line_and_reach_no_terminal(
    evil_slide: Path,
    evil_regions: Path,
    tiny_model: TinyModel,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(data_dir))
    out = tmp_path / f"out{EVIL}"
    gone = str(evil_slide.with_name(f"gone{EVIL}.svs"))
    analysis = ["--out", str(out), "--model", str(tiny_model.path), "--regions", str(evil_regions)]
    commands = {
        ("info", str(evil_slide)): 0,
        ("info", gone): 3,
        ("analyze", str(evil_slide), *analysis): 0,
        ("analyze", gone, *analysis): 3,
        ("models", "show", gone): 3,
        ("verify", str(out / results_name(evil_slide))): 0,
        ("verify", gone): 3,
    }

    for command, code in commands.items():
        assert main(list(command)) == code
        said = capfd.readouterr()
        assert harmless(said.out + said.err), command
        assert max(map(len, said.err.split("\n"))) < 12_000
        # Names of regions that were cut are told beside what is wrong.
        told = (code != 0) + ("--regions" in command)
        if command[:2] == ("analyze", str(evil_slide)):
            told = 2
            assert said.err.endswith("(see --regions-origin).\n")
        assert len(said.err.splitlines()) == told


def test_hostile_arguments_are_quoted_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["info", "a.svs", f"--{EVIL}"])

    said = capfd.readouterr().err
    assert harmless(said)
    assert r"\x1b" in said


@pytest.mark.parametrize("verb", ["show", "list", "verify"])
def test_hostile_card_reaches_no_terminal(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data_dir: Path,
    capfd: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(data_dir))
    model = write_tiny_model(tmp_path / f"m{EVIL}.onnx".replace("/", ""), recipe=EVIL)
    monkeypatch.setattr("idc_desktop.models.model_file.bundled_models", lambda: {EVIL: model.path})

    assert main(["models", verb, *([] if verb == "list" else [str(model.path)])]) == 0

    said = capfd.readouterr()
    assert harmless(said.out)
    assert said.err == ""


def test_json_is_exact_and_harmless(
    evil_slide: Path, data_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(evil_slide), "--json"]) == 0

    said = capfd.readouterr().out
    assert harmless(said)
    assert os.fsencode(json.loads(said)["file"]) == os.fsencode(evil_slide.name)


def test_hostile_provenance_reaches_no_terminal(
    tiny_slide: Scene,
    tiny_model: TinyModel,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(data_dir))
    command = ["analyze", str(tiny_slide.path), "--out", str(tmp_path)]
    assert main([*command, "--model", str(tiny_model.path)]) == 0
    file = tmp_path / "tiny" / "provenance.json"
    document = read_json(file)
    document["slide"]["identity"] = document["model"]["version"] = EVIL
    document["model"]["name"] = document["model"]["sha256"] = EVIL
    document["files"][EVIL] = "0" * 64
    file.write_text(json.dumps(document))
    capfd.readouterr()

    assert main(["verify", str(file.parent)]) == 3
    del document["files"][EVIL]
    file.write_text(json.dumps(document))
    main(["verify", str(file.parent)])

    said = capfd.readouterr()
    assert harmless(said.out + said.err)
    assert r"\x1b" in said.err


@pytest.mark.parametrize(
    ("number", "one", "many", "said"),
    [
        (0, "patch", "", "0 patches"),
        (1, "patch", "", "1 patch"),
        (2_000, "slide", "", "2,000 slides"),
        (1, "focus", "foci", "1 focus"),
        (3, "focus", "foci", "3 foci"),
    ],
)
def test_number_decides_the_form_of_a_word(number: int, one: str, many: str, said: str) -> None:
    assert counted(number, one, many) == said
