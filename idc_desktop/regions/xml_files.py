"""Annotations in XML: which program wrote a file is told by its first element."""

from __future__ import annotations

import codecs
import re
import xml.parsers.expat
from collections.abc import Callable
from typing import NoReturn

from idc_desktop.errors import RegionsError
from idc_desktop.regions.asap import AsapReader
from idc_desktop.regions.found import ElementReader, FoundFile, quoted
from idc_desktop.regions.hamamatsu import HamamatsuReader
from idc_desktop.regions.imagescope import ImageScopeReader

_READERS: dict[str, Callable[[], ElementReader]] = {
    "ASAP_Annotations": AsapReader,
    "Annotations": ImageScopeReader,
    "annotations": HamamatsuReader,
}
_MOST_TEXT_CHARS = 1 << 12
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
    readers: list[ElementReader] = []
    texts: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not readers:
            readers.append(_reader_of(tag, parser.CurrentLineNumber))
        texts.clear()
        readers[0].start(tag, attributes, parser.CurrentLineNumber)

    def end(tag: str) -> None:
        readers[0].end(tag, "".join(texts)[:_MOST_TEXT_CHARS].strip())
        texts.clear()

    def text(part: str) -> None:
        if len(texts) < _MOST_TEXT_CHARS:  # parts come in lines, none of them endless
            texts.append(part[:_MOST_TEXT_CHARS])

    def refuse_type(*_: object) -> NoReturn:
        # An entity can unfold without end, or name another file.
        line = parser.CurrentLineNumber
        raise RegionsError(f"It has a document type (line {line}), which no annotations need.")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse_type
    try:
        parser.Parse(_utf8(data), True)
    except xml.parsers.expat.ExpatError as error:
        reason = f"line {error.lineno}: {xml.parsers.expat.ErrorString(error.code)}"
        raise RegionsError(
            f"This is not XML ({reason}). Export the regions again as GeoJSON or XML."
        ) from error
    return readers[0].file()


def _reader_of(tag: str, line: int) -> ElementReader:
    if tag in _READERS:
        return _READERS[tag]()
    raise RegionsError(
        "This is no file of ASAP, ImageScope or Hamamatsu's viewer "
        f"(line {line}: <{quoted(tag)[1:-1]}>). Save the annotations as GeoJSON, for instance "
        "with QuPath."
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
