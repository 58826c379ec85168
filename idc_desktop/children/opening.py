"""How a child opens a slide: in bounded time, whatever the file makes of its decoder.

Some formats are small programs. A Sakura slide is a database whose tables may be queries without
end, and a directory of a TIFF costs as much as all that it refers to; nothing stops such an opening
in C but the end of the process.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from idc_desktop.children.serving import Outbox
from idc_desktop.errors import SlideError
from idc_desktop.slides.reader import Slide

_MOST_CPU_S = 12.0  # slides of thousands of files or directories take a few
_LOOK_EVERY_S = 0.25


def open_slide(outbox: Outbox, path: str, mpp_um: float | None = None) -> Slide:
    """Open a slide; where that takes too much time, say so and end this process.

    Time of the processor: a share may be as slow as it is, and a busy machine, too.

    Parameters
    ----------
    path : str
        A slide file, or a folder that holds the files of one DICOM series.
    mpp_um : float, optional
        Resolution given by the user.

    Raises
    ------
    SlideError
        As `Slide` does.
    """
    is_over = threading.Event()
    name, end_at = Path(path).name, time.process_time() + _MOST_CPU_S

    def watch() -> None:
        while not is_over.wait(_LOOK_EVERY_S):
            if time.process_time() >= end_at:
                outbox.give_up(
                    SlideError(
                        f"{name}: After {_MOST_CPU_S:g} s of computing it is still not open. The "
                        "file is damaged, or made to do harm: convert it to a tiled pyramidal TIFF."
                    )
                )

    threading.Thread(target=watch, daemon=True).start()
    try:
        return Slide(Path(path), mpp_um)
    finally:
        is_over.set()
