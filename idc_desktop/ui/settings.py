"""What the window remembers, as a small file that may be lost or damaged without harm."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from idc_desktop.store import data_folder

_MAX_RECENT = 10


@dataclass
class Settings:
    """The user's choices; every field has a default."""

    recent: list[str] = field(default_factory=list)
    opacity: float = 0.5
    smooth_map: bool = False
    model: str = "baseline"
    geometry: str = ""
    export_folder: str = ""

    @classmethod
    def load(cls) -> Settings:
        """Read the settings; a damaged file is kept aside and the defaults are used."""
        path = _path()
        settings = cls()
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            for it in fields(cls):
                value = values.get(it.name, getattr(settings, it.name))
                if type(value) is not type(getattr(settings, it.name)):
                    raise TypeError(it.name)
                setattr(settings, it.name, value)
            settings.recent = [str(it) for it in settings.recent]
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError):
            number = 1
            while (aside := path.with_name(f"settings.corrupt-{number}.json")).exists():
                number += 1
            try:
                path.rename(aside)
            except OSError:
                return cls()
            return cls()
        return settings

    def save(self) -> None:
        """Write the settings; a failure is no reason to disturb the user."""
        path = _path()
        temporary = path.with_suffix(".tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)

    def add_recent(self, path: Path) -> None:
        """Put a slide at the head of the recent ones."""
        name = str(path.absolute())
        self.recent = [name, *(it for it in self.recent if it != name)][:_MAX_RECENT]


def _path() -> Path:
    return data_folder() / "settings.json"
