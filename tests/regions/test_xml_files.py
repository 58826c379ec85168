"""XML files of ASAP, ImageScope and Hamamatsu are read whole or refused with reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idc_desktop.errors import RegionsError
from idc_desktop.regions.editing import to_shapely
from idc_desktop.regions.shape import Region, shape_of
from tests.support.region_files import read_regions

ASAP = """<?xml version="1.0"?>
<ASAP_Annotations>
 <Annotations>
  <Annotation Name="first" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58">
   <Coordinates>
    <Coordinate Order="1" X="110" Y="20" />
    <Coordinate Order="0" X="10.0" Y="20,5" />
    <Coordinate Order="2" X="110" Y="120" />
   </Coordinates>
  </Annotation>
  <Annotation Name="" Type="Rectangle" PartOfGroup="None" Color="#F4FA58">
   <Coordinates>
    <Coordinate Order="0" X="0" Y="0" /><Coordinate Order="1" X="8" Y="0" />
    <Coordinate Order="2" X="8" Y="9" /><Coordinate Order="3" X="0" Y="9" />
   </Coordinates>
  </Annotation>
 </Annotations>
 <AnnotationGroups>
  <Group Name="Tumor" PartOfGroup="None" Color="#0A0B0C"><Attributes /></Group>
 </AnnotationGroups>
</ASAP_Annotations>
"""


def read_xml(folder: Path, text: str) -> tuple[list[Region], list[str]]:
    (folder / "r.xml").write_text(text, encoding="utf-8")
    return read_regions(folder / "r.xml")


def test_asap_file_is_read(tmp_path: Path) -> None:
    regions, notes = read_xml(tmp_path, ASAP)

    assert notes == []
    assert [(it.name, it.classification, it.shape.roi) for it in regions] == [
        ("first", "Tumor", "Polygon"), ("Region 2", "", "Rectangle"),
    ]  # fmt: skip
    assert regions[0].rgb == (10, 11, 12)
    assert regions[0].shape == shape_of([[[(10, 20.5), (110, 20), (110, 120)]]])


def test_spline_is_taken_as_a_polygon_and_said(tmp_path: Path) -> None:
    regions, notes = read_xml(tmp_path, ASAP.replace('"Polygon"', '"Spline"'))

    assert len(regions) == 2
    assert notes == ["r.xml: 1 spline was taken as a polygon: Annotation 1 'first', line 4."]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("</Annotations>", ""), "not XML (line 21: mismatched tag)"),
        (('X="8"', 'X="eight"'), "Annotation 2, line 11, has no valid coordinates (line 13"),
        (('Y="9"', 'Z="9"'), "Annotation 2, line 11, has no valid coordinates (line 14"),
        (('X="8"', 'X="nan"'), "Annotation 2, line 11, has a coordinate that is not finite"),
        (
            ("ASAP_Annotations>", "svg>"),
            "or Hamamatsu's viewer (line 2: <svg>",
        ),
        (
            ("<ASAP_Annotations>", '<!DOCTYPE a [<!ENTITY b "c">]><ASAP_Annotations>'),
            "document type (line 2)",
        ),
        (("<Annotations>", '<Coordinate Order="0" X="1" Y="1"/><Annotations>'), "line 3: a point"),
        (('version="1.0"', 'version="1.0" encoding="klingon"'), "Save it as UTF-8"),
    ],
)
def test_asap_file_that_is_damaged_is_refused_whole(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    with pytest.raises(RegionsError) as caught:
        read_xml(tmp_path, ASAP.replace(*change))

    assert str(caught.value).startswith("r.xml: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('Type="Rectangle"', 'Type="Dot"'), "Annotation 2, line 11, is a Dot"),
        (('Type="Rectangle"', 'Kind="Dot"'), "Annotation 2, line 11, is without Type"),
        (('X="8"', 'X="0"'), "Annotation 2, line 11, has no area"),
        (
            ('    <Coordinate Order="2" X="110" Y="120" />\n', ""),
            "Annotation 1 'first', line 4, has a ring of 2 points",
        ),
    ],
)
def test_what_is_no_area_in_an_asap_file_is_left_out(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    regions, notes = read_xml(tmp_path, ASAP.replace(*change))

    assert len(regions) == 1
    assert notes == [f"r.xml: 1 entry was left out: {words}."]


def test_long_name_is_cut_and_said(tmp_path: Path) -> None:
    regions, notes = read_xml(tmp_path, ASAP.replace("first", "n" * 1000))

    assert len(regions[0].name) == 300
    (note,) = notes
    assert note.endswith("…', line 4.")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "gbk", "iso-8859-1", "utf-16-le"])
def test_xml_is_read_in_the_encoding_that_it_says(tmp_path: Path, encoding: str) -> None:
    name = "Läsion" if encoding == "iso-8859-1" else "腫瘍"
    text = ASAP.replace('"1.0"?', f'"1.0" encoding="{encoding}"?').replace("first", name)
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    (tmp_path / "r.xml").write_bytes((mark + text).encode(encoding))

    regions, notes = read_regions(tmp_path / "r.xml")

    assert [it.name for it in regions] == [name, "Region 2"]
    assert notes == []


IMAGESCOPE = """<Annotations MicronsPerPixel="0.25">
 <Annotation Id="1" Name="Tumor" LineColor="65280">
  <Attributes><Attribute Name="Description" Value=""/></Attributes>
  <Regions>
   <Region Id="1" Type="0" Text="outer" NegativeROA="0"><Vertices>
    <Vertex X="0" Y="0" Z="0"/><Vertex X="100" Y="0"/><Vertex X="100" Y="100"/>
    <Vertex X="0" Y="100"/></Vertices></Region>
   <Region Id="2" Type="0" Text="" NegativeROA="1"><Vertices>
    <Vertex X="10" Y="10"/><Vertex X="20" Y="10"/><Vertex X="20" Y="20"/></Vertices></Region>
   <Region Id="3" Type="2" Text="" NegativeROA="0"><Vertices>
    <Vertex X="200" Y="200"/><Vertex X="300" Y="250"/></Vertices></Region>
   <Region Id="4" Type="4" Text="" NegativeROA="0"><Vertices>
    <Vertex X="0" Y="0"/><Vertex X="9" Y="9"/></Vertices></Region>
  </Regions>
 </Annotation>
 <Annotation Id="2" Name="" LineColor="255"><Regions>
   <Region Id="1" Type="1" NegativeROA="0"><Vertices>
    <Vertex X="5" Y="5"/><Vertex X="15" Y="5"/><Vertex X="15" Y="9"/><Vertex X="5" Y="9"/>
   </Vertices></Region></Regions></Annotation>
</Annotations>
"""


def test_imagescope_file_is_read(tmp_path: Path) -> None:
    """Layers are classes, negative regions are holes, colours have blue first."""
    regions, notes = read_xml(tmp_path, IMAGESCOPE)

    assert [(it.name, it.classification, it.shape.roi, it.rgb) for it in regions] == [
        ("outer", "Tumor", "Polygon", (0, 255, 0)),
        ("Region 3", "Tumor", "Ellipse", (0, 255, 0)),
        ("Region 5", "", "Rectangle", (255, 0, 0)),
    ]
    assert to_shapely(regions[0].shape).area == 10_000 - 50
    assert regions[1].shape.bounds == pytest.approx((200, 200, 300, 250), abs=0.01)
    assert notes == ["r.xml: 1 entry was left out: Region 4, line 12, is a ruler."]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('X="100" Y="0"', 'X="a" Y="0"'), "Region 1 'outer', line 5, has no valid coordinates"),
        (("<Annotations ", "<Annotations><Vertex/></Annotations><Annotations "), "a point of no"),
    ],
)
def test_imagescope_file_that_is_damaged_is_refused(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    with pytest.raises(RegionsError, match=words):
        read_xml(tmp_path, IMAGESCOPE.replace(*change))


def test_hole_of_nothing_is_told(tmp_path: Path) -> None:
    _, notes = read_xml(tmp_path, IMAGESCOPE.replace('X="10" Y="10"', 'X="900" Y="900"').replace(
        '<Vertex X="20" Y="10"/><Vertex X="20" Y="20"/>',
        '<Vertex X="920" Y="910"/><Vertex X="920" Y="920"/>',
    ))  # fmt: skip

    assert "2 entries were left out" in notes[0]


HAMAMATSU = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
 <ndpviewstate id="1"><title>Tumor</title><x>1</x><y>2</y><lens>5</lens>
  <annotation type="freehand" displayname="AnnotateFreehand" color="#ff0010"><closed>1</closed>
   <pointlist><point><x>-2000</x><y>-1000</y></point><point><x>2000</x><y>-1000</y></point>
   <point><x>2000</x><y>1000</y></point></pointlist></annotation></ndpviewstate>
 <ndpviewstate id="2"><title/>
  <annotation type="circle" color="x"><x>0</x><y>5000</y><radius>1000</radius></annotation>
 </ndpviewstate>
 <ndpviewstate id="3"><title>Edge</title><annotation type="freehand"><closed>0</closed>
  <pointlist><point><x>0</x><y>0</y></point></pointlist></annotation></ndpviewstate>
 <ndpviewstate id="4"><annotation type="pin"><x>0</x><y>0</y></annotation></ndpviewstate>
</annotations>"""


def test_areas_of_hamamatsus_viewer_are_taken_in_its_own_unit(tmp_path: Path) -> None:
    (tumor, circle), notes = read_xml(tmp_path, HAMAMATSU)

    assert (tumor.name, tumor.classification, tumor.color) == ("Tumor", "", (255, 0, 16))
    assert tumor.shape.bounds == (-2000, -1000, 2000, 1000)
    assert tumor.shape.area_px == 4000 * 2000 / 2
    assert (circle.name, circle.shape.roi) == ("Region 2", "Ellipse")
    assert circle.shape.bounds == pytest.approx((-1000, 4000, 1000, 6000), abs=2)
    assert "2 entries were left out, the first: Annotation 3, line 10, is an open line." in notes[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<x>-2000</x>", "<x>west</x>", "line 5: could not convert"),
        ("<radius>1000</radius>", "", "not enough values"),
        ("<radius>1000</radius>", "<radius>-1</radius>", "a radius of -1"),
        ("<radius>1000</radius>", "<radius>nan</radius>", "a radius of nan"),
        ("<x>-2000</x>", "", "cannot reshape"),
    ],
)
def test_damaged_file_of_hamamatsus_viewer_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(RegionsError, match=said):
        read_xml(tmp_path, HAMAMATSU.replace(old, new))


def test_empty_asap_file_holds_no_regions(tmp_path: Path) -> None:
    with pytest.raises(RegionsError, match="holds no areas"):
        read_xml(tmp_path, "<ASAP_Annotations/>")


@given(data=st.binary(max_size=100), cut=st.integers(0, len(ASAP)))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_xml_is_read_or_refused_and_nothing_else(
    tmp_path: Path, data: bytes, cut: int
) -> None:
    raw = ASAP.encode()
    (tmp_path / "r.xml").write_bytes(raw[:cut] + data + raw[cut:])
    try:
        regions, _ = read_regions(tmp_path / "r.xml")
    except RegionsError as error:
        assert str(error).startswith("r.xml: ")  # noqa: PT017 - both outcomes are fine
    else:
        assert regions
