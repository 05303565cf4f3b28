"""The picture: an SVG that says what the record says, whatever the record."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from demo.hosts.errors import HostError
from demo.picture import draw
from demo.record import Event, Look, Record, Second

SVG = "{http://www.w3.org/2000/svg}"
RECORD = Record(
    capacity=100.0,
    seconds=tuple(Second(at=float(t), sent=50 + t, core=50, edge=t, failed=t == 7) for t in range(1, 31)),
    looks=tuple(
        Look(at=float(t), busy=9, slots=10, queue=t % 3, level_percent=25 if t < 9 else 100, nodes=t // 10, desired=3)
        for t in range(30)
    ),
    events=(
        Event(at=5.0, text="load climbs"),
        Event(at=9.0, text="alarm slots-short"),
        Event(at=20.4, text="<home> &"),
    ),
)


def texts(svg: str) -> list[str]:
    """Every piece of text in the picture."""
    root = ET.fromstring(svg)  # noqa: S314 -- our own
    return [text for element in root.iter(f"{SVG}text") if (text := "".join(element.itertext()))]


def test_the_record_survives_its_file() -> None:
    """What is dumped is loaded as it was; anything else is refused in one line."""
    assert Record.load(RECORD.dump()) == RECORD
    for text in ("", "{}", '{"capacity": 1, "seconds": [{"at": 1}], "looks": [], "events": []}'):
        with pytest.raises(HostError, match=r"^reading a record: wanted what dump\(\) wrote, found"):
            Record.load(text)


def test_the_picture_fits_the_readme() -> None:
    """It is 800 pixels wide, has a ground of its own for light and dark pages, and stays small."""
    svg = draw(RECORD)
    root = ET.fromstring(svg)  # noqa: S314 -- our own
    assert root.get("viewBox") == "0 0 576 460.8"  # points of 1/72 inch, drawn at 100 pixels an inch: 800 × 640
    assert 'style="fill: #fbfbf8"' in svg
    assert len(svg) < 150_000


def test_the_picture_says_every_event_and_the_counts() -> None:
    """Events are numbered, timed and worded; requests and failures are added up in the title."""
    found = texts(draw(RECORD))
    assert "requests per second, by who answered: of these 1,965 sent, 1 failed" in found
    said = [re.sub(r"\s+", " ", text).strip() for text in found]
    assert {"1 · 5 s · load climbs", "2 · 9 s · alarm slots-short", "3 · 20 s · <home> &"} <= set(said)
    assert {"1", "2", "3"} <= set(found)


def test_the_same_record_is_the_same_picture() -> None:
    """No date and no random name: a picture changes only when its record does."""
    assert draw(RECORD) == draw(RECORD)
    assert draw(RECORD) != draw(replace(RECORD, capacity=90.0))


def test_a_quiet_record_is_drawn_too() -> None:
    """No events, no load, no nodes: flat lines, no error."""
    still = Look(at=0.0, busy=0, slots=10, queue=0, level_percent=0, nodes=0, desired=0)
    quiet = Record(
        capacity=100.0, seconds=(Second(at=1.0, sent=0, core=0, edge=0, failed=0),), looks=(still,), events=()
    )
    assert "0 sent, 0 failed" in draw(quiet)


@pytest.mark.parametrize("missing", ["seconds", "looks"])
def test_a_record_of_nothing_is_refused(missing: str) -> None:
    """A run without load or without looks has no picture, and it is said."""
    with pytest.raises(HostError, match="drawing the run: wanted a record of some length"):
        draw(replace(RECORD, **{missing: ()}))  # type: ignore[arg-type]  # either field
