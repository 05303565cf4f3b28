"""A file of entries: what is written, what another hand did, and what HAProxy is asked to judge."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from core_agent import files
from core_agent.contract.names import Reason
from core_agent.desired import CoreSlots, Mode, Server
from core_agent.host import Host
from core_agent.roll import Burst
from core_agent.roster import Roster
from settings import load

CALM = Burst(level_percent=25, reason=Reason("test"))


@pytest.fixture
def roster(tmp_path: Path) -> Roster:
    """A file with two entries."""
    roster = Roster(tmp_path / "file", mode=0o600)
    roster.write("head\n", {"b": "B\n", "a": "A\n"}, whole=True)
    return roster


def test_entries_stand_in_the_order_of_their_names(roster: Roster) -> None:
    """However they came; one is changed, one added, one taken away, and the rest stays."""
    assert roster.path.read_text() == "head\nA\nB\n"
    assert not roster.write("head\n", {"aa": "AA\n", "b": "b\n"}, whole=False)
    assert roster.path.read_text() == "head\nA\nAA\nb\n"
    assert not roster.write("head\n", {"a": None, "nobody": None}, whole=False)
    assert roster.path.read_text() == "head\nAA\nb\n"


def test_a_file_that_says_so_already_is_not_written(roster: Roster) -> None:
    """Neither by this life of the agent nor by the next."""
    before = files.stamp(roster.path)
    roster.write("head\n", {"b": "B\n"}, whole=False)
    Roster(roster.path, mode=0o600).write("head\n", {"b": "B\n", "a": "A\n"}, whole=True)
    assert files.stamp(roster.path) == before


@pytest.mark.parametrize("whole", [True, False])
def test_another_hand_is_seen_and_put_right(roster: Roster, *, whole: bool) -> None:
    """Whether everything is written or one entry; and it is told once."""
    roster.path.write_text("nonsense")
    assert roster.write("head\n", {"b": "B\n", "a": "A\n"} if whole else {"b": "B\n"}, whole=whole)
    assert roster.path.read_text() == "head\nA\nB\n"
    assert not roster.write("head\n", {}, whole=False)


def test_a_hand_that_comes_while_the_file_is_put_there_is_seen_too(
    roster: Roster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts as ours is the draft, not whatever is at the path when the renaming is over."""
    sync = files.sync_directory

    def meddle(folder: Path) -> None:
        roster.path.write_text("nonsense")
        sync(folder)

    monkeypatch.setattr(files, "sync_directory", meddle)
    roster.write("head\n", {"c": "C\n"}, whole=False)
    monkeypatch.undo()
    assert roster.write("head\n", {}, whole=False)
    assert roster.path.read_text() == "head\nA\nB\nC\n"


def test_haproxy_judges_each_form_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another name and address is no new form; a weight, a mode or a level is."""
    judged: list[Path] = []
    monkeypatch.setattr("core_agent.host.check_haproxy", judged.append)
    host = Host(load(Path("drawbridge.toml")), haproxy_cfg=tmp_path / "haproxy.cfg")
    core = {"no-primary": CoreSlots(slots=50, reserve=0)}
    first = Server(name="i-1", id=1002, address="10.100.0.2", mode=Mode.MAINT, weight=7, maxconn=7)
    forms: tuple[tuple[dict[str, Server], Burst, int], ...] = (
        ({}, CALM, 1),
        ({"i-1": first}, CALM, 2),
        ({"i-2": replace(first, name="i-2", id=1003, address="10.100.0.3")}, CALM, 2),
        ({"i-1": replace(first, mode=Mode.READY)}, CALM, 3),
        ({"i-2": replace(first, name="i-2", weight=8)}, CALM, 4),
        ({}, replace(CALM, level_percent=26), 5),
    )
    for number, (servers, burst, times) in enumerate(forms):
        host.write_servers(servers, burst, core, None if number == 0 else ())
        assert len(judged) == times, (servers, burst)
    assert os.listdir(tmp_path) == ["haproxy.cfg"]  # noqa: PTH208 - the names alone
