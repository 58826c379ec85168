"""Annotations in XML: which program wrote a file is told by its first element."""

from __future__ import annotations

import codecs
import re
import xml.parsers.expat
from collections.abc import Callable
from typing import NoReturn, Protocol

from idc_desktop.errors import RegionsError
from idc_desktop.regions.asap import AsapReader
from idc_desktop.regions.found import FoundFile, quoted
from idc_desktop.regions.imagescope import ImageScopeReader


class Reader(Protocol):
    """Collects the annotations of one kind of file."""

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        """Take an element that begins."""

    def file(self) -> FoundFile:
        """Return what was found, once the whole file was read."""


_READERS: dict[str, Callable[[], Reader]] = {
    "ASAP_Annotations": AsapReader,
    "Annotations": ImageScopeReader,
}
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")


def is_xml(data: bytes) -> bool:
    """Whether a file can only be XML."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[:64].decode(encoding, "ignore").lstrip().startswith("<")
    return data[:64].lstrip().startswith(b"<")


def parse(data: bytes) -> FoundFile:
    """Take an XML file apart.

    Raises
    ------
    RegionsError
        It is no XML, of a program that is not known here, or a coordinate is no number.
    """
    parser = xml.parsers.expat.ParserCreate("utf-8")
    readers: list[Reader] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not readers:
            readers.append(_reader_of(tag, parser.CurrentLineNumber))
        readers[0].start(tag, attributes, parser.CurrentLineNumber)

    def refuse_type(*_: object) -> NoReturn:
        # An entity can unfold without end, or name another file.
        line = parser.CurrentLineNumber
        raise RegionsError(f"It has a document type (line {line}), which no annotations need.")

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse_type
    try:
        parser.Parse(_utf8(data), True)
    except xml.parsers.expat.ExpatError as error:
        reason = f"line {error.lineno}: {xml.parsers.expat.ErrorString(error.code)}"
        raise RegionsError(f"This is not XML ({reason}).") from error
    return readers[0].file()


def _reader_of(tag: str, line: int) -> Reader:
    if tag in _READERS:
        return _READERS[tag]()
    if tag == "annotations":
        raise RegionsError(
            "This is a file of Hamamatsu's viewer (NDPA), whose coordinates are nanometres from "
            "the middle of the glass. Import it in QuPath and export the annotations as GeoJSON."
        )
    raise RegionsError(
        f"This is neither a file of ASAP nor of ImageScope (line {line}: <{quoted(tag)[1:-1]}>). "
        "Save the annotations as GeoJSON, for instance with QuPath."
    )


def _utf8(data: bytes) -> bytes:
    """Return the text as UTF-8, whatever encoding it has by its mark or its declaration."""
    encoding = next((it for mark, it in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if encoding is None:
        declared = _DECLARED.match(data)
        encoding = declared[1].decode("ascii") if declared else "utf-8"
    try:
        return data.decode(encoding).encode("utf-8")
    except (LookupError, UnicodeError) as error:
        raise RegionsError(
            f"Its text cannot be read as {encoding}, which it should be. Save it as UTF-8."
        ) from error
