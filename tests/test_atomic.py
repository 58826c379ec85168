"""Files that are written whole or not at all, alone or several together."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from idc_desktop.storage import atomic
from idc_desktop.storage.atomic import FileGroup, replacing
from tests.test_export import REPOSITORY

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such thing")

NAMES = ("a.csv", "b.csv", "further/c.csv")

OTHER_PROCESS = """
import sys, time
from pathlib import Path
from idc_desktop.storage import atomic
how, folder, *names = sys.argv[1:]
folder = Path(folder)
if how == "lock file":
    atomic._open_folder = None  # what a system says that cannot lock a folder
    def refuse(folder): raise OSError(95, "Operation not supported")
    atomic._open_folder = refuse
if how == "group":
    for _ in range(5):
        with atomic.FileGroup(folder) as group:
            for name in names[1:]:
                with group.open(name) as file:
                    file.write(names[0].encode() * 1000)
if how in ("hold", "lock file"):
    with atomic.locked(folder) as is_locked:
        print(is_locked, flush=True)
        time.sleep(60)
if how == "write":
    with atomic.replacing(folder / "a.csv") as file:
        file.write(b"half")
        file.flush()
        print("writing", flush=True)
        time.sleep(60)
"""


@contextmanager
def other_process(how: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Do something in another process; yield it and the first line that it says."""
    command = [sys.executable, "-c", OTHER_PROCESS, how, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_group(folder: Path, text: bytes, patience_s: float = 10) -> None:
    with FileGroup(folder, patience_s) as group:
        for name in NAMES:
            with group.open(name) as file:
                file.write(text)


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, number: int = errno.EPERM) -> None:
    """Let the rename to a name fail, as that to an immutable file does."""
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(target).name == name:
            raise OSError(number, os.strerror(number), str(source), None, str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)


def fail_to_sync(
    monkeypatch: pytest.MonkeyPatch, is_meant: Callable[[int], bool], number: int
) -> None:
    """Let the fsync of what is meant (by its ``st_mode``) fail."""
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if is_meant(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)


def refuse_to_open_folders(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic, "_open_folder", refuse)


def dead_name(digit: int) -> str:
    """Return the name of a file that a process has left."""
    return f".idc-desktop-{str(digit) * 16}.tmp"


def test_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert files_of(tmp_path) == {"a.csv": b"new"}


def test_failure_keeps_what_was_there_and_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space") as caught, replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)
    with pytest.raises(KeyboardInterrupt), replacing(path):
        raise KeyboardInterrupt
    assert files_of(tmp_path) == {"a.csv": b"old"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
def test_full_disk_is_seen_when_the_last_bytes_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = atomic._create

    def full(path: Path, mode: int) -> object:
        file = create(path, mode)
        os.dup2(os.open("/dev/full", os.O_RDWR), file.fileno())
        return file

    monkeypatch.setattr(atomic, "_create", full)
    with pytest.raises(OSError, match="No space") as caught, replacing(tmp_path / "a.csv") as file:
        file.write(b"fits in the buffer")
    assert caught.value.filename == str(tmp_path / "a.csv")
    assert files_of(tmp_path) == {}


@posix
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_group(tmp_path, b"x")
        with replacing(tmp_path / "private", 0o600):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600


@posix
def test_link_is_replaced_and_what_it_leads_to_is_untouched(tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_bytes(b"precious")
    folder.mkdir()
    # The second: a name that was used for temporary files before.
    for name in ("a.csv", ".a.csv.tmp", ".b.csv.tmp"):
        (folder / name).symlink_to(victim)
    write_group(folder, b"new")
    with replacing(folder / "a.csv") as file:
        file.write(b"newer")
    assert victim.read_bytes() == b"precious"
    assert (folder / "a.csv").read_bytes() == b"newer"
    assert not (folder / "a.csv").is_symlink()


@posix
def test_temporary_name_that_somebody_has_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda size: "0" * 16)
    (tmp_path / f".idc-desktop-{'0' * 16}.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError), replacing(tmp_path / "a.csv"):
        pass
    assert victim.read_bytes() == b"precious"


@posix
@pytest.mark.parametrize("leads", [False, True])
def test_pipes_and_devices_are_not_replaced(tmp_path: Path, leads: bool) -> None:
    place = tmp_path / "pipe"
    os.mkfifo(place)
    if leads:
        place = tmp_path / "link"
        place.symlink_to(tmp_path / "pipe")
    with pytest.raises(FileExistsError), replacing(place):
        pass
    with pytest.raises(IsADirectoryError), replacing(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", place.name}


def test_one_file_may_be_written_twice_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with replacing(path) as one:
        one.write(b"one")
        with replacing(path) as other:
            other.write(b"other")
        assert path.read_bytes() == b"other"
    assert files_of(tmp_path) == {"a.csv": b"one"}


@pytest.mark.parametrize("links", [True, False])
def test_failed_rename_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    (tmp_path / "of others").write_bytes(b"others'")
    (tmp_path / "a.csv").write_bytes(b"old")
    before = files_of(tmp_path)
    inode = (tmp_path / "a.csv").stat().st_ino
    fail_at(monkeypatch, "c.csv")  # the last one; two are replaced by then
    if not links:
        monkeypatch.setattr(os, "link", lambda *_, **__: Path("no links here").stat())

    with pytest.raises(PermissionError) as caught:
        write_group(tmp_path, b"new")

    assert caught.value.filename == str(tmp_path / "further" / "c.csv")
    assert files_of(tmp_path) == before
    assert not (tmp_path / "further").exists()
    assert not links or (tmp_path / "a.csv").stat().st_ino == inode


def test_interruption_between_two_renames_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_group(tmp_path, b"old")
    before = files_of(tmp_path)
    replace = os.replace

    def interrupted(source: Path, target: Path) -> None:
        replace(source, target)
        if Path(target).name == "b.csv" and Path(target).read_bytes() == b"new":
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_group(tmp_path, b"new")
    assert files_of(tmp_path) == before


def test_file_that_another_has_put_there_since_is_not_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(monkeypatch, "b.csv")
    sound = atomic._put_back

    def others(temporary: object, kept: Path | None) -> None:
        (tmp_path / "theirs").write_bytes(b"theirs")
        (tmp_path / "theirs").rename(tmp_path / "a.csv")
        sound(temporary, kept)

    monkeypatch.setattr(atomic, "_put_back", others)
    with pytest.raises(PermissionError):
        write_group(tmp_path, b"new")
    assert files_of(tmp_path) == {"a.csv": b"theirs"}


def test_former_file_is_never_removed_where_it_cannot_be_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_group(tmp_path, b"old")
    replace, calls = os.replace, []

    def failing(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > 1:
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="Input/output"):
        write_group(tmp_path, b"new")
    assert sorted(files_of(tmp_path).values()) == [b"new", b"old", b"old", b"old"]


@posix
def test_immutable_file_is_named_and_the_others_are_back(tmp_path: Path) -> None:
    write_group(tmp_path, b"old")
    fixed = tmp_path / "b.csv"
    if subprocess.run(["chattr", "+i", fixed], capture_output=True, check=False).returncode:
        pytest.skip("no file can be made immutable here")
    try:
        with pytest.raises(PermissionError) as caught:
            write_group(tmp_path, b"new")
    finally:
        subprocess.run(["chattr", "-i", fixed], check=True)
    assert caught.value.filename == str(fixed)
    assert files_of(tmp_path) == dict.fromkeys(NAMES, b"old")


@posix
@pytest.mark.parametrize(
    "name", ["EINVAL", "ENOTSUP", "ENOSYS", "EBADF", "ENOTTY", "EISDIR", "EACCES"]
)
def test_file_system_without_sync_of_folders_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fail_to_sync(monkeypatch, stat.S_ISDIR, getattr(errno, name))
    write_group(tmp_path, b"new")
    with replacing(tmp_path / "a.csv") as file:
        file.write(b"newer")
    assert files_of(tmp_path) == {**dict.fromkeys(NAMES, b"new"), "a.csv": b"newer"}


@posix
def test_disk_that_fails_in_the_sync_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_group(tmp_path, b"old")
    for is_meant in (stat.S_ISDIR, stat.S_ISREG):
        with monkeypatch.context() as patch:
            fail_to_sync(patch, is_meant, errno.EIO)
            with pytest.raises(OSError, match="Input/output"):
                write_group(tmp_path, b"new")
        assert files_of(tmp_path) == dict.fromkeys(NAMES, b"old")


def test_folder_that_may_be_written_but_not_read_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_open_folders(monkeypatch, errno.EACCES)
    write_group(tmp_path, b"new")
    assert files_of(tmp_path) == dict.fromkeys(NAMES, b"new")


def test_leftovers_of_the_dead_go_and_everything_else_stays(tmp_path: Path) -> None:
    others = (".idc-desktop-notes.tmp", f"idc-desktop-{'0' * 16}.tmp", ".a.csv.tmp")
    for name in others:
        (tmp_path / name).write_bytes(b"others'")
    (tmp_path / dead_name(3)).mkdir()
    (tmp_path / "further").mkdir()
    with other_process("write", tmp_path) as (living, said):
        assert said == "writing"
        during = files_of(tmp_path).keys()
        for path in (tmp_path / dead_name(1), tmp_path / "further" / dead_name(2)):
            path.write_bytes(b"half")
        write_group(tmp_path, b"new")
        # What the living process writes is still there; only it has that name.
        assert files_of(tmp_path).keys() == {*during, *NAMES}
        assert len(during) == len(others) + 1
        living.kill()
        living.wait()
    with replacing(tmp_path / "a.csv"):
        pass
    assert files_of(tmp_path).keys() == {*NAMES, *others}
    assert (tmp_path / dead_name(3)).is_dir()


@pytest.mark.parametrize("how", ["hold", "lock file"])
def test_lock_of_another_process_is_waited_for_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "lock file":
        refuse_to_open_folders(monkeypatch, errno.ENOTSUP)
    folder = tmp_path / "results"
    write_group(folder, b"old")
    (folder / dead_name(1)).write_bytes(b"may be a former file that it keeps")
    with other_process(how, folder) as (holder, said):
        assert said == "True"
        with pytest.raises(BlockingIOError, match="another process writes here") as caught:
            write_group(folder, b"new", patience_s=0.1)
        assert caught.value.filename == str(folder)
        assert files_of(folder).keys() == {*NAMES, dead_name(1)}
        holder.kill()  # and with it goes its lock
        holder.wait()
        write_group(folder, b"new")
    assert files_of(folder) == dict.fromkeys(NAMES, b"new")


def test_folder_is_written_where_no_lock_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "try_lock", lambda descriptor: None)
    (tmp_path / dead_name(1)).write_bytes(b"of a process that may be alive")
    write_group(tmp_path, b"new")
    assert files_of(tmp_path).keys() == {*NAMES, dead_name(1)}


def test_parallel_processes_leave_the_files_of_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER_PROCESS, "group", str(tmp_path / "results")]
    processes = [
        subprocess.Popen([*command, str(number), *NAMES], cwd=REPOSITORY) for number in range(8)
    ]
    assert [process.wait() for process in processes] == [0] * 8
    found = files_of(tmp_path / "results")
    assert found.keys() == set(NAMES)
    assert len(set(found.values())) == 1
