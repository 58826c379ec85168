"""A child that a hostile file took over: its parent neither waits for it nor believes it."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import pytest

from idc_desktop.commands.cli import main
from idc_desktop.errors import GarbledMessageError
from idc_desktop.processes import supervisor
from idc_desktop.processes.child import Child
from idc_desktop.processes.decoder_messages import ViewJob
from idc_desktop.processes.supervisor import Job
from tests.support.lying_process import MODULE, VARIABLE, Lie
from tests.support.processes import is_alive
from tests.support.scenes import Scene

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


@pytest.mark.parametrize(
    "lie",
    [
        Lie(head="{"),
        Lie(head='{"event": "shutdown"}'),
        Lie(head='{"event": "plan"}'),  # of another job
        Lie(claimed=0xFFFFFFFF),
        Lie(change={"slide.identity": "../../"}),
    ],
    ids=["no JSON", "unknown", "of another job", "payload without end", "wrong value"],
)
def test_garbled_message_ends_a_child_that_may_be_silent_for_ever(
    monkeypatch: pytest.MonkeyPatch, tiny_slide: Scene, lie: Lie
) -> None:
    monkeypatch.setenv(VARIABLE, lie.variable())
    began = time.monotonic()

    with Child(MODULE, ViewJob(str(tiny_slide.path), None, str(tiny_slide.path.parent))) as child:
        with pytest.raises(GarbledMessageError, match="makes no sense") as caught:
            list(child.events(wait_forever=True))
        pid = child.pid

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    assert not is_alive(pid)
    assert time.monotonic() - began < 15


def test_garbled_message_is_a_defect_of_the_command(
    monkeypatch: pytest.MonkeyPatch,
    tiny_slide: Scene,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path))
    monkeypatch.setenv(VARIABLE, Lie(head="{", module="idc_desktop.children.engine").variable())
    monkeypatch.setattr(supervisor, "Job", functools.partial(Job, module=MODULE))

    assert main(["info", str(tiny_slide.path)]) == 1

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "makes no sense" in said
