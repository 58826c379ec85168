"""Numbers on a command line."""

from __future__ import annotations

import pytest

from idc_desktop.arguments import decimal, probability
from idc_desktop.commands.cli import main
from trainer.cli import main as trainer_main

WRONG = {
    "threshold in words": (
        "analyze s.svs --out o --threshold half",
        "argument --threshold: 'half' is not a number",
    ),
    "threshold beyond one": (
        "analyze s.svs --out o --threshold 50",
        "argument --threshold: 50 is not a probability from 0 to 1",
    ),
    "threshold that is none": (
        "analyze s.svs --out o --threshold nan",
        "argument --threshold: nan is not a probability from 0 to 1",
    ),
    "resolution with thousands": (
        "export s.svs --out o --mpp 1,000.5",
        "argument --mpp: '1,000.5' is not a number",
    ),
    "threads in words": (
        "analyze s.svs --out o --threads two",
        "argument --threads: 'two' is not a whole number",
    ),
    "threads beyond number": (
        f"analyze s.svs --out o --threads {10**30}",
        f"argument --threads: {10**30} is more than 1,024",
    ),
    "no threads": ("analyze s.svs --out o --threads 0", "argument --threads: 0 is not at least 1"),
}
WRONG_TRAINER = {
    "name with a slash": (
        "fit --data d --out o --name a/b",
        "argument --name: 'a/b' is no name of a model: letters and digits, with . _ - between, 64 "
        "at most",
    ),
    "endless version": (
        f"fit --data d --out o --version {'1' * 65}",
        f"argument --version: '{'1' * 65}' is no version: 1 to 64 characters in one line",
    ),
    "rate in words": (
        "train --data d --out o --learning-rate fast",
        "argument --learning-rate: 'fast' is not a number",
    ),
    "half an epoch": (
        "train --data d --out o --epochs 1.5",
        "argument --epochs: '1.5' is not a whole number",
    ),
    "fold in words": (
        "train --data d --out o --fold one",
        "argument --fold: 'one' is not a whole number",
    ),
}


@pytest.mark.parametrize("text", ["0.25", "0,25", ".25", ",25", "25e-2"])
def test_decimal_point_and_comma_are_one(text: str) -> None:
    assert decimal(text) == probability(text) == 0.25


def test_zero_has_no_sign() -> None:
    assert str(probability("-0.0")) == "0.0"


@pytest.mark.parametrize("how", WRONG)
def test_wrong_number_is_told_without_names_of_ours(
    how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, message = WRONG[how]
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"error: {message}")


@pytest.mark.parametrize("how", WRONG_TRAINER)
def test_wrong_number_is_told_by_the_trainer_alike(
    how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, message = WRONG_TRAINER[how]
    with pytest.raises(SystemExit) as caught:
        trainer_main(command.split())
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"error: {message}")
