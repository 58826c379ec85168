"""The data report: what may spoil a training, on one page that asks nothing of a network."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.conftest import CASES, SmallData, write_case
from trainer.cli import main
from trainer.data.dataset import load_store
from trainer.data.painting import paint_tissue
from trainer.data.preparing import prepare
from trainer.data.survey import near_duplicates, survey_stain


def test_nearly_the_same_pictures_are_found_within_and_across_cases(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    for case in ("a", "b"):
        write_case(tmp_path / "data", case, 12, rng)
    pixels = paint_tissue(rng, 1)[0].astype(int)
    noisy = np.clip(pixels + rng.normal(0, 2, pixels.shape), 0, 255)
    for case, one in (("a", pixels), ("b", noisy)):
        name = f"{case}_idx5_x2001_y1_class1.png"
        Image.fromarray(one.astype(np.uint8)).save(tmp_path / "data" / case / "1" / name)
    prepare(tmp_path / "data", tmp_path / "store")
    store = load_store(tmp_path / "store")

    pairs, left_out = near_duplicates(store)

    places = [(store.index.case[it.first], store.index.x[it.first]) for it in pairs]
    assert places == [("a", 2001)]
    assert (store.index.case[pairs[0].second], store.index.x[pairs[0].second]) == ("b", 2001)
    assert left_out < len(store.index) / 2


def test_case_of_another_stain_stands_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for case in range(8):
        write_case(tmp_path / "data", str(case), 30, rng)
    for path in (tmp_path / "data" / "7").rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 3).save(path)
    prepare(tmp_path / "data", tmp_path / "store")

    assert survey_stain(load_store(tmp_path / "store")).outlying == ["7"]


def test_page_names_cases_and_ids_that_match_nothing_and_asks_no_network(
    small_data: SmallData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = tmp_path / "splits"
    splits.mkdir()
    for part in ("train", "val", "test"):
        text = (small_data.splits / f"official_{part}.txt").read_text()
        (splits / f"official_{part}.txt").write_text(text + ("<b>9&9\n" if part == "val" else ""))
    out = tmp_path / "store"

    command = ["prepare", str(small_data.patches), "--out", str(out), "--report"]
    assert main([*command, "--splits", str(splits), "--counts", str(small_data.counts)]) == 0

    page = (out / "report.html").read_text(encoding="utf-8")
    assert "1 in the split, not in the data: &lt;b&gt;9&amp;9" in page
    assert not re.search(r"https?://|<script|<link|url\(", page)
    assert all(f"<td>{case}</td>" in page for case in CASES)
    assert page.count("data:image/png;base64,") >= 2
    assert f"report: {out / 'report.html'}" in capsys.readouterr().out
