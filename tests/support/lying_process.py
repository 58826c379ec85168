"""A decoder or engine that a hostile slide took over: what it says is spoilt on its way out.

Run as ``python -m tests.support.lying_process`` in place of the real one. The environment variable
`VARIABLE` holds a `Lie` as JSON.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import IO, Any

VARIABLE = "IDC_TEST_LIE"
MODULE = "tests.support.lying_process"


@dataclass(frozen=True)
class Lie:
    """What is said in the place of the first event of a name.

    Attributes
    ----------
    event : str
        Name of the event that is spoilt.
    change : dict
        Path of a field, with dots -> its new value.
    head : str
        Stands for the whole message; may be no JSON.
    payload : int
        Raw bytes that follow; those of the event itself if negative.
    claimed : int
        Raw bytes that are said to follow; as many as do if negative.
    times : int
        How often it is said.
    module : str
        The process that says it.
    """

    event: str = "slide"
    change: dict[str, Any] = field(default_factory=dict)
    head: str = ""
    payload: int = -1
    claimed: int = -1
    times: int = 1
    module: str = "idc_desktop.children.decoder"

    def variable(self) -> str:
        """Return the value of the environment variable."""
        return json.dumps(asdict(self))

    def spoilt(self, head: bytes, payload: bytes) -> bytes:
        """Return the bytes of the lie."""
        said = json.loads(head)
        for path, value in self.change.items():
            *way, name = path.split(".")
            place = said
            for step in way:
                place = place[int(step)] if isinstance(place, list) else place[step]
            place[int(name) if isinstance(place, list) else name] = value
        head = self.head.encode("latin-1") if self.head else json.dumps(said).encode()
        if self.payload >= 0:
            payload = bytes(self.payload)
        claimed = len(payload) if self.claimed < 0 else self.claimed
        return (struct.pack("<II", len(head), claimed) + head + payload) * self.times


def main() -> None:
    """Run the process with the lie built in."""
    from idc_desktop.processes import wire

    lie = Lie(**json.loads(os.environ[VARIABLE]))
    honest = wire.send
    told = []

    def send(stream: IO[bytes], head: bytes, payload: bytes = b"") -> None:
        if json.loads(head).get("event") != lie.event or told:
            honest(stream, head, payload)
            return
        told.append(True)
        stream.write(lie.spoilt(head, payload))
        stream.flush()

    wire.send = send
    import_module(lie.module).main()


if __name__ == "__main__":
    main()
