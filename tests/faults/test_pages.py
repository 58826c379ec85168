"""What the pages on faults and security say is so."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
FAULTS = (*range(1, 22), *range(30, 42), *range(50, 65))


def test_each_fault_has_a_line_and_each_test_named_there_exists() -> None:
    page = (TESTS / "faults" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", page)
    assert len(named) > 2 * len(FAULTS)
    there = {
        (file, node.name)
        for file in {file for file, _ in named}
        for node in ast.walk(ast.parse((TESTS / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }

    assert [int(it) for it in re.findall(r"^\| T(\d\d) ", page, re.MULTILINE)] == list(FAULTS)
    assert set(named) - there == set()


def test_security_page_names_modules_and_versions_that_are_so() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promises = page.split("## What is promised")[1].split("## Native parts")[0]
    rows = [line.split("|") for line in promises.splitlines() if line.startswith("| ")]
    modules = [it for row in rows[1:] for it in re.findall(r"`([\w/.]+)`", row[-2])]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert len(modules) > 20
    for module in modules:
        assert (
            (ROOT / module).is_file()
            or any((ROOT / "idc_desktop").rglob(f"{module}.py"))
            or (ROOT / "idc_desktop" / module / "__init__.py").is_file()
        ), module
    for package, version in {
        "openslide-bin": "4.0.1",
        "onnxruntime": "1.29",
        "pillow": "12.3",
        "PySide6-Essentials": "6.11",
        "shapely": "2.0",
    }.items():
        wanted = [it for it in project["dependencies"] if re.match(rf"{package}(-gpu)?>=", it)]
        assert wanted
        assert all(f">={version}" in it for it in wanted)
        assert f"| {version}" in page, package
