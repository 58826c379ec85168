"""Pictures of data and results, and what they are made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.conftest import SmallData

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")
from trainer.cli import main
from trainer.data.case_layout import THUMBNAIL, lay_out
from trainer.data.dataset import PatchStore, load_store
from trainer.data.preparing import prepare
from trainer.data.shifts import MILD, STRONG
from trainer.errors import DataError
from trainer.release.embedding import hidden_features, plane
from trainer.release.onnx_file import load_file, run_session
from trainer.training.figures import draw_distribution, draw_map

MODEL = Path(__file__).resolve().parents[2] / "resources" / "models" / "baseline.onnx"


@pytest.fixture(scope="module")
def folder(small_data: SmallData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    assert main(["prepare", str(small_data.patches), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def store(folder: Path) -> PatchStore:
    return load_store(folder)


def _opens(path: Path) -> None:
    with Image.open(path) as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_prepare_shows_samples_and_classes(folder: Path) -> None:
    for name in ("samples", "class_distribution"):
        _opens(folder / "figures" / f"{name}.png")


def test_evaluate_draws_all_figures(
    folder: Path, small_data: SmallData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(folder), "--splits", str(small_data.splits)]
    options += ["--counts", str(small_data.counts), "--part", "test"]
    command = ["evaluate", str(MODEL), *options, "--out", str(tmp_path), "--maps", "301"]
    assert main(command) == 0
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == {"confusion", "reliability", "tsne", "map_301"}
    for name in names:
        _opens(tmp_path / f"{name}.png")
    assert main([*command[:-1], "101"]) == 3
    assert "101" in capsys.readouterr().err


def test_shifts_are_scored_beside_the_patches_as_they_are(
    folder: Path, small_data: SmallData, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(folder), "--splits", str(small_data.splits), "--part", "test"]
    command = ["evaluate", str(MODEL), *options, "--shifts"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shifts = found["shifts"]
    assert set(shifts["figures"]) == {"as they are", *MILD, *STRONG}
    same = shifts["figures"]["as they are"]
    assert same == {name: one["value"] for name, one in found["weighted"].items()}
    assert len({one["brier"] for one in shifts["figures"].values()}) == len(shifts["figures"])
    strong = [shifts["figures"][name]["auc"] for name in STRONG]
    assert shifts["worst_strong"]["auc"][1] == min(strong)
    assert shifts["mean_strong"]["auc"] == pytest.approx(np.mean(strong))
    assert main(command) == 0
    told = f"light -12 %{shifts['figures']['light -12 %']['auc']:>28.4f}"
    assert told in capsys.readouterr().out


def test_leaky_split_stamps_what_evaluate_prints(
    folder: Path, small_data: SmallData, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(folder), "--splits", str(small_data.splits)]
    options += ["--counts", str(small_data.counts), "--split", "random-patch"]
    for part, stamped in (("test", True), ("unseen", False)):
        assert main(["evaluate", str(MODEL), *options, "--part", part]) == 0
        assert ("LEAKY" in capsys.readouterr().out) is stamped
    with pytest.raises(SystemExit):
        main(["evaluate", str(MODEL), *options, "--imbalance", "oversample", "--smote", "training"])
    assert main(["evaluate", str(MODEL), *options[:-1], "official", "--part", "unseen"]) == 3


def test_map_puts_each_patch_in_its_cell(store: PatchStore) -> None:
    probability = np.random.default_rng(0).random(len(store.index))
    found = lay_out(store, probability, "302")
    assert found.label.shape == found.probability.shape == (2, 10)
    for which in np.flatnonzero(store.index.case == "302"):
        row, col = (store.index.y[which] - 1) // 50, (store.index.x[which] - 1) // 50
        assert found.label[row, col] == store.index.label[which]
        assert found.probability[row, col] == probability[which]
        cell = found.thumbnail[row * THUMBNAIL :, col * THUMBNAIL :][:THUMBNAIL, :THUMBNAIL]
        patch = store.read(np.array([which]))[0].astype(float)
        assert cell.mean() == pytest.approx(patch.mean(), abs=1)
    with pytest.raises(DataError, match="999"):
        lay_out(store, probability, "999")


def test_map_of_a_complete_case_is_the_label_picture(shared_data: Path, tmp_path: Path) -> None:
    case = "8867"
    patches = shared_data / "data" / "IDC_regular_ps50_idx5" / case
    picture = shared_data / "data" / "idc_slides" / f"{case}_labels.png"
    if not patches.is_dir() or not picture.is_file():
        pytest.skip(f"no patches at {patches}, or no labels at {picture}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / case).symlink_to(patches)
    prepare(tmp_path / "data", tmp_path / "store")
    real = load_store(tmp_path / "store")
    found = lay_out(real, np.zeros(len(real.index)), case)
    with Image.open(picture) as image:
        expected = np.asarray(image)
    rows, cols = found.label.shape
    shown = np.array([0, 127, 255], np.uint8)[found.label + 1]
    # The edge patches of another size are in the picture only.
    inside = expected[:rows, :cols]
    known = found.label >= 0
    assert np.array_equal(shown[known], inside[known])
    assert (inside[~known] > 0).sum() + (expected > 0).sum() - (inside > 0).sum() < 40
    draw_map(found, 0.5, tmp_path / "map.png")
    _opens(tmp_path / "map.png")


def test_hidden_features_give_the_logit(store: PatchStore) -> None:
    onnx = pytest.importorskip("onnx")
    content = MODEL.read_bytes()
    features = hidden_features(content, store)
    assert features.shape == (len(store.index), 64)
    tensors = {
        one.name: onnx.numpy_helper.to_array(one)
        for one in onnx.load_from_string(content).graph.initializer
    }
    [dense] = [one for one in tensors.values() if one.shape == (64, 1)]
    _, logit = run_session(load_file(MODEL), store.read(np.arange(len(store.index))))
    difference = logit - (features @ dense.astype(np.float32))[:, 0]
    assert np.ptp(difference) < 1e-3
    points = plane(features[::4])
    assert points.shape == (len(features[::4]), 2)
    assert np.isfinite(points).all()


def test_distribution_is_drawn_for_either_rare_class(tmp_path: Path) -> None:
    draw_distribution((10, 4), (10, 10), tmp_path / "one.png")
    draw_distribution((4, 10), (10, 10), tmp_path / "other.png")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "other.png").read_bytes()
