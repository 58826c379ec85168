"""Fixtures for all tests: a private data folder, the tiny model and slide, the shared data."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# Some thousand child processes would each compile the program anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from tests.support.models import TinyModel, write_tiny_model
from tests.support.processes import child_processes
from tests.support.scenes import Scene, write_tiny_slide

_IN_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4_000_000_000
_GRACE_S = 10.0


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Put the tests' files into memory where there is room for them.

    Whatever the program keeps it has the disk confirm, some ten times a test, and there are disks
    that take a second for it.
    """
    if config.option.basetemp or not os.access(_IN_MEMORY, os.W_OK):
        return
    if shutil.disk_usage(_IN_MEMORY).free < _ROOM_BYTES:
        return
    folder = tempfile.mkdtemp(prefix="idc-desktop-tests-", dir=_IN_MEMORY)
    config.option.basetemp = f"{folder}/files"
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves threads or child processes behind: they would be of the next one."""
    threads, children = set(threading.enumerate()), child_processes()
    yield
    until = time.monotonic() + _GRACE_S
    while (left := _left(threads, children)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not left, f"left behind: {', '.join(left)}"


def _left(threads: set[threading.Thread], children: set[int]) -> list[str]:
    # What Qt's pool runs is not listed as a thread of Python's: the tests of the window look at it.
    new = [
        thread.name
        for thread in set(threading.enumerate()) - threads
        if thread.is_alive() and not isinstance(thread, threading._DummyThread)
    ]
    return [f"thread {name}" for name in new] + [
        f"process {pid}" for pid in child_processes() - children
    ]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder for the application that does not exist yet."""
    return tmp_path / "data"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """A valid model whose answers can be computed."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def tiny_slide(tmp_path_factory: pytest.TempPathFactory, tiny_model: TinyModel) -> Scene:
    """A slide of 7 x 5 cells whose patches are known."""
    return write_tiny_slide(tmp_path_factory.mktemp("slide") / "tiny.tiff", tiny_model)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of slides and patches for development, which is never part of the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("IDC_TEST_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no development data: set IDC_TEST_DATA, or put them at {beside}")
    return folder
