"""Options of a command from a TOML file, written into the run, and a run that is only told of."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.trainer.conftest import SmallData
from trainer import cli
from trainer.cli import main
from trainer.data.preparing import prepare
from trainer.settings_file import FILE, keep, parse


def parsed(tmp_path: Path, text: str, *more: str, verb: str = "train") -> object:
    path = tmp_path / "given.toml"
    path.write_text(text, encoding="utf-8")
    return parse(*cli._parser(), [verb, "--settings", str(path), *more])


WHOLE = """
data = "store"
out = "run"
network = "vgg16-features"
epochs = 3
learning-rate = 1e-3
mixed_precision = true
official-only = true
"""


def test_options_come_from_the_file_and_those_given_go_before(tmp_path: Path) -> None:
    found = vars(parsed(tmp_path, WHOLE, "--epochs", "5"))

    assert (found["data"], found["out"]) == (Path("store"), Path("run"))
    assert (found["network"], found["epochs"], found["learning_rate"]) == (
        "vgg16-features", 5, 0.001,
    )  # fmt: skip
    assert found["mixed_precision"]
    assert found["official_only"]


def test_what_a_run_keeps_runs_it_again(tmp_path: Path) -> None:
    out = tmp_path / 'an "odd" folder ü'
    out.mkdir()
    before = parsed(tmp_path, WHOLE, "--out", str(out), "--seed", "7")
    keep(before)
    kept = tomllib.loads((out / FILE).read_text(encoding="utf-8"))

    after = parse(*cli._parser(), ["train", "--settings", str(out / FILE), "--out", str(out)])

    assert kept["seed"] == 7
    known = {**vars(before), "data": Path("store").resolve(), "settings": None, "run": None}
    assert {**vars(after), "settings": None, "run": None} == known


def test_base_of_a_fit_is_called_from(tmp_path: Path) -> None:
    text = 'from = "baseline"\ndata = "store"\nout = "run"\n'

    assert vars(parsed(tmp_path, text, verb="fit"))["base"] == "baseline"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "There is no option epoch"),
        ("settings = 'x'", "There is no option settings"),
        ("epochs = 'many'", "epochs: 'many' is not a whole number"),
        ("epochs = [1, 2]", "epochs is one value"),
        ("split = 'mine'", "split must be one of: official"),
        ("official-only = 1", "official-only is true or false"),
        ("epochs = true", "epochs cannot be True"),
        ("[epochs]\na = 1", "epochs is one value"),
        ("epochs = = 3", "This is no TOML file"),
        (f"epochs = {'[' * 5000}{']' * 5000}", "This is no TOML file"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "given.toml"
    path.write_text(text)

    assert main(["train", "--settings", str(path)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--settings", str(tmp_path / "no.toml")]) == 2
    assert "no.toml cannot be read" in capsys.readouterr().err


def test_dry_run_tells_of_all_trainings_and_writes_nothing(
    small_data: SmallData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")
    prepare(small_data.patches, tmp_path / "store")
    out = tmp_path / "out"

    command = ["fit", "--data", str(tmp_path / "store"), "--out", str(out), "--epochs", "2"]
    assert main([*command, "--batch", "8", "--dry-run"]) == 0

    said = capsys.readouterr().out
    assert [f"fold {at}:" in said for at in range(1, 6)] == [True] * 5
    assert "on all cases:" in said
    assert "about " in said
    assert "GB of memory" in said
    assert "epochs: 2" in said
    assert not out.exists()
