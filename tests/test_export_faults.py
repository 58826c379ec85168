"""What goes wrong while files are written: the old ones stay whole, and nothing looks complete."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from idc_desktop.commands.batch import FORMAT_NAMES
from idc_desktop.errors import ExportError, OutputError
from idc_desktop.export.content import Analysis
from idc_desktop.export.folder import write_folder
from idc_desktop.export.verify import verify_folder
from tests.support.models import TinyModel
from tests.test_dicom import CANARY, dicom_analysis, dicom_slide
from tests.test_export import REPOSITORY, analysis, region
from tests.test_formats import files_of

WRITER = """
import itertools, os, resource, sys
from pathlib import Path
from idc_desktop.errors import OutputError
from idc_desktop.export.folder import write_folder
from tests.test_export_faults import Job, region
folder, model, slide, how, limit, *formats = sys.argv[1:]
job, folder = Job(Path(model), Path(slide), tuple(formats)), Path(folder)
old, new = job.analysis(0), job.analysis(1)
if how == "loop":
    print("ready", flush=True)
    for number in itertools.count():
        write_folder(folder, (old, new)[number % 2], [region("r")], job.formats)
if how == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit),) * 2)
if how == "locked":
    # Once before, so that the other user, who may not read libraries, need not load any.
    write_folder(folder.parent / "before", new, [region("r")], job.formats)
    os.chdir(folder)
    folder = Path()
    os.setuid(65534)
try:
    write_folder(folder, new, [region("r")], job.formats)
except OutputError as error:
    print(error)
"""


@dataclass(frozen=True)
class Job:
    """What is written: with some formats, from a slide that is DICOM where they need that."""

    model: Path
    slide: Path
    formats: tuple[str, ...]

    def analysis(self, seed: int) -> Analysis:
        if "dicom" in self.formats:
            return dicom_analysis(self.model, self.slide, seed=seed)
        return analysis(self.model, seed=seed)

    def write(self, folder: Path, seed: int) -> dict[str, str]:
        """Write the files; return their names and hashes."""
        write_folder(folder, self.analysis(seed), [region("r")], self.formats)
        return files_of(folder)

    def start(self, folder: Path, how: str, limit: int = 0) -> subprocess.Popen[str]:
        """Write in another process, in a way that fails."""
        return subprocess.Popen(
            [
                *(sys.executable, "-c", WRITER, folder, self.model, self.slide),
                *(how, str(limit), *self.formats),
            ],
            stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
        )  # fmt: skip


@pytest.fixture(params=["six files", "every format", "dicom"])
def job(request: pytest.FixtureRequest, tiny_model: TinyModel, tmp_path: Path) -> Job:
    others = tuple(name for name in FORMAT_NAMES if name != "dicom")
    formats = {"six files": (), "every format": others, "dicom": ("dicom",)}[request.param]
    slide = tmp_path / "slide"
    slide.mkdir()
    if formats == ("dicom",):
        pytest.importorskip("highdicom")
        slide = dicom_slide(slide, CANARY)
    return Job(tiny_model.path, slide, formats)


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("limit", [0, 3_000, 10_000, 100_000])
def test_full_disk_leaves_the_old_files_and_nothing_else(
    job: Job, tmp_path: Path, limit: int
) -> None:
    folder = tmp_path / "export"
    old = job.write(folder, 0)
    assert (folder / "overlay.png").stat().st_size > limit

    with job.start(folder, "full", limit) as process:
        said, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "cannot be written" in said
    assert files_of(folder) == old
    verify_folder(folder)


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can change the user"
)
def test_folder_without_permission_keeps_its_files(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    old = job.write(folder, 0)
    folder.chmod(0o555)

    with tempfile.TemporaryDirectory() as readable:  # by the other user; tmp_path is not
        Path(readable).chmod(0o755)
        if job.slide.is_file():
            job = replace(job, slide=Path(shutil.copy(job.slide, readable)))
        with job.start(folder, "locked") as process:
            said, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "cannot be written (Permission denied)" in said
    assert files_of(folder) == old


def test_kill_at_any_moment_leaves_whole_files_and_verify_tells(job: Job, tmp_path: Path) -> None:
    folder, versions = tmp_path / "export", []
    for seed in (0, 1):
        started = time.monotonic()
        versions.append(job.write(tmp_path / str(seed) / folder.name, seed))
        took = time.monotonic() - started
    choice = random.Random(8)
    for _ in range(6):
        with job.start(folder, "loop") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(choice.uniform(0.0, max(0.4, 2 * took)))
            process.kill()
        # A file under its own name is whole; what else is there is plainly temporary.
        whole = {name: digest for name, digest in files_of(folder).items() if name in versions[0]}
        for name, digest in whole.items():
            assert digest in (versions[0][name], versions[1][name]), name
        if whole in versions:
            verify_folder(folder)
        else:
            with pytest.raises(ExportError):
                verify_folder(folder)

    assert job.write(folder, 1) == versions[1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs chattr")
def test_file_that_cannot_be_replaced_is_named_and_the_others_are_back(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    job = Job(tiny_model.path, tmp_path, ())
    folder = tmp_path / "export"
    old = job.write(folder, 0)
    fixed = folder / "overlay.png"
    if subprocess.run(["chattr", "+i", fixed], capture_output=True, check=False).returncode:
        pytest.skip("no file can be made immutable here")
    try:
        with pytest.raises(OutputError) as caught:
            job.write(folder, 1)
    finally:
        subprocess.run(["chattr", "-i", fixed], check=True)
    assert str(caught.value).startswith(
        "export/overlay.png: The results cannot be written (Operation not permitted). Check the "
        "permissions, or choose another folder; the analysis"
    )
    assert files_of(folder) == old
    verify_folder(folder)


def test_parallel_exports_leave_a_folder_that_is_intact(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    job = Job(tiny_model.path, tmp_path, ())
    versions = [job.write(tmp_path / str(seed) / "export", seed) for seed in (0, 1)]
    processes = [job.start(tmp_path / "export", "loop") for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for _ in range(20):
        time.sleep(0.05)
        if (tmp_path / "export" / "provenance.json").exists():
            verify_folder(tmp_path / "export")
    for process in processes:
        with process:
            assert process.poll() is None  # none has failed
            process.kill()
    assert job.write(tmp_path / "export", 1) == versions[1]
