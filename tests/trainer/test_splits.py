from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.conftest import SmallData
from trainer.errors import DataError
from trainer.splits import read_official_split, with_unlisted


def test_unlisted_cases_join_training_only(small_data: SmallData) -> None:
    split = read_official_split(small_data.splits)
    more = with_unlisted(split, frozenset({"101", "201", "301", "901"}))
    assert more.train == split.train | {"901"}
    assert (more.validation, more.test) == (split.validation, split.test)
    assert more.name != split.name


@pytest.mark.parametrize(("one", "other"), [("train", "val"), ("train", "test"), ("val", "test")])
def test_case_in_two_parts_is_refused(
    small_data: SmallData, tmp_path: Path, one: str, other: str
) -> None:
    for path in small_data.splits.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shared = (tmp_path / f"official_{one}.txt").read_text(encoding="utf-8").split()[0]
    with (tmp_path / f"official_{other}.txt").open("a", encoding="utf-8") as file:
        file.write(f"{shared}\n")
    with pytest.raises(DataError, match=shared):
        read_official_split(tmp_path)


def test_missing_or_empty_file_is_refused(small_data: SmallData, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="official_train"):
        read_official_split(tmp_path)
    (tmp_path / "official_train.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="names no case"):
        read_official_split(tmp_path)
