"""The page on metrics lists every one there is, as it is, and its alerts speak of no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.agent.conftest import core
from tests.agent.core_under_test import Core
from tests.agent.exposition_text import Family, parse

__all__ = ["core"]

PAGE = Path("docs/metrics.md").read_text()
ALERTS = PAGE.partition("## Alerts")[2]


@pytest.fixture
def told(core: Core) -> dict[str, Family]:
    """Everything that an agent with one node tells."""
    core.join(1)
    core.agent.tick()
    return parse(core.agent.metrics.render())


def test_every_metric_is_listed_with_its_type_and_labels(told: dict[str, Family]) -> None:
    """The table is what is told, no more and no less."""
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| (.*?) \|", PAGE, re.MULTILINE)
    listed = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(listed) == len(rows)
    assert listed == {
        name: (family.kind, {label for _, labels in family.samples for label, _ in labels} - {"le"})
        for name, family in told.items()
    }


def test_alerts_speak_of_what_there_is(told: dict[str, Family]) -> None:
    """Each metric in an expression is told, and so is each value of a label that it picks."""
    named = set(re.findall(r"\b(?:drawbridge|process)_[a-z_]+", ALERTS))
    assert named <= told.keys()
    for name, label, values in re.findall(r'(drawbridge_[a-z_]+)\{(\w+)=~?"([^"]+)"\}', ALERTS):
        there = {value for _, labels in told[name].samples for key, value in labels if key == label}
        assert set(values.split("|")) <= there, name
