"""Options of a command from a TOML file, and those of a run written into its folder."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from idc_desktop.errors import UsageError
from idc_desktop.plain_files import read_text
from trainer.errors import named
from trainer.files import replacing

FILE = "settings.toml"
"""Its name in the folder of a run."""

_NOT_KEPT = ("settings", "dry_run", "help", "out")


def add_settings_file(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that take long."""
    parser.add_argument(
        "--settings",
        metavar="FILE",
        type=Path,
        help="TOML file with any of these options, without the dashes; those given here go before",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be trained on what, and how long it takes; train nothing",
    )


def parse(
    parser: argparse.ArgumentParser,
    verbs: Mapping[str, argparse.ArgumentParser],
    argv: Sequence[str],
) -> argparse.Namespace:
    """Parse a command line whose verb may take options from a file.

    Raises
    ------
    UsageError
        The file cannot be read, or holds what is no option of the verb, or no value of it.
    """
    verb = verbs.get(argv[0]) if argv else None
    if verb is not None and any("--settings" in it.option_strings for it in _options(verb)):
        ahead = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        ahead.add_argument("--settings", type=Path)
        path = ahead.parse_known_args(argv[1:])[0].settings
        if path is not None:
            _apply(verb, path)
    arguments = parser.parse_args(argv)
    arguments.known = {it.dest for it in _options(verb)} if verb is not None else set()
    return arguments


def keep(arguments: argparse.Namespace) -> None:
    """Write the options of a run, but for ``--out``, into its folder, if there is one."""
    if not arguments.out.is_dir():
        return
    lines = [f"{name.replace('_', '-')} = {_toml(it)}" for name, it in _given(arguments).items()]
    with replacing(arguments.out / FILE) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _options(verb: argparse.ArgumentParser) -> list[argparse.Action]:
    return verb._actions  # noqa: SLF001 - argparse tells them nowhere else


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        {"base": "from"}.get(name, name): value
        for name, value in sorted(vars(arguments).items())
        if name not in _NOT_KEPT and value is not None and value is not False and value != ()
        if name in arguments.known
    }


def _apply(verb: argparse.ArgumentParser, path: Path) -> None:
    try:
        said = tomllib.loads(read_text(path, "utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: This is no TOML file ({error}).") from error
    options = {
        option.removeprefix("--"): action
        for action in _options(verb)
        for option in action.option_strings
        if option.startswith("--") and not option.startswith("--no-")
    }
    wanted = {name.replace("_", "-"): value for name, value in said.items()}
    if unknown := wanted.keys() - options.keys() | (wanted.keys() & {"help", "settings"}):
        raise UsageError(f"{path}: There is no option {named(unknown)} of this command.")
    for name, value in wanted.items():
        action = options[name]
        verb.set_defaults(**{action.dest: _value(path, name, action, value)})
        action.required = False


def _value(path: Path, name: str, action: argparse.Action, value: object) -> object:
    """Return a value as the option itself would have it."""
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        if not isinstance(value, bool):
            raise UsageError(f"{path}: {name} is true or false, not {value!r}.")
        return value
    many = value if isinstance(value, list) else [value]
    if isinstance(value, dict) or (len(many) != 1 and action.nargs not in ("+", "*")):
        raise UsageError(f"{path}: {name} is one value, not {value!r}.")
    found = [_one(path, name, action, it) for it in many]
    return found if action.nargs in ("+", "*") else found[0]


def _one(path: Path, name: str, action: argparse.Action, value: object) -> object:
    if isinstance(value, bool | dict | list):
        raise UsageError(f"{path}: {name} cannot be {value!r}.")
    kind = action.type if callable(action.type) else str
    try:
        found: object = kind(str(value))
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise UsageError(f"{path}: {name}: {error}.") from error
    if action.choices is not None and found not in action.choices:
        choices = ", ".join(map(str, action.choices))
        raise UsageError(f"{path}: {name} must be one of: {choices}.")
    return found


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    text = str(value.resolve()) if isinstance(value, Path) else str(value)
    return json.dumps(text, ensure_ascii=True)
