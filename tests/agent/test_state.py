"""The records: durable, whole or refused."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from core_agent.contract.names import ServerName
from core_agent.errors import RecordsLost, StateError
from core_agent.state import State
from tests.agent.core_under_test import Core


def test_everything_survives_a_restart(core: Core) -> None:
    """Nodes in every phase, holds, generations and the level come back as they were."""
    core.join(1, 2, 3)
    core.hold("i-1", "drain")
    core.host.busy("i-2", 1)
    core.sync(i_1="serving", i_2="leaving", i_3="leaving", i_4="joining")
    core.burst(37)
    before = (dict(core.state.nodes), dict(core.state.generations), core.state.burst)
    core.restart()
    assert (dict(core.state.nodes), core.state.generations, core.state.burst) == before


def test_missing_records_are_refused(tmp_path: Path) -> None:
    """An empty start is never made silently."""
    with pytest.raises(StateError, match="no records there"):
        State.open(tmp_path / "state.db")
    assert list(tmp_path.iterdir()) == []


def test_existing_records_are_not_made_anew(core: Core) -> None:
    """`create` is for a new core."""
    with pytest.raises(StateError, match="there are records already"):
        State.create(core.path, core.state.burst)


def test_records_of_a_newer_agent_are_refused(core: Core) -> None:
    """A downgrade does not guess."""
    core.state.close()
    with sqlite3.connect(core.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StateError, match="wanted records of version 2, found 99"):
        State.open(core.path)


def test_records_of_the_agent_before_are_taken_over(core: Core) -> None:
    """Version 1 knew neither the core's share nor slots that were set: all of the slots, and those configured."""
    core.join(1)
    core.burst(30)
    core.state.close()
    with contextlib.closing(sqlite3.connect(core.path)) as connection:
        connection.executescript(
            "DROP TABLE capacity; ALTER TABLE burst DROP COLUMN core_percent; ALTER TABLE burst DROP COLUMN by_hand;"
            "PRAGMA user_version = 1; PRAGMA wal_checkpoint(TRUNCATE)"
        )
    before = core.path.read_bytes()
    core.state = State.open(core.path)
    assert core.phases() == {"i-1": "active"}
    burst = core.state.burst
    assert (burst.level_percent, burst.core_percent, burst.by_hand, core.state.capacity) == (30, 100, False, {})
    core.state.close()
    assert core.path.read_bytes() == before  # who only looks, as an installation does, leaves them to the former agent
    core.restart()
    core.agent.tick()
    assert core.path.read_bytes() == before
    core.capacity(60)
    core.restart()
    assert core.phases() == {"i-1": "active"}
    assert core.state.capacity[ServerName("no-primary")].slots == 60


def test_a_takeover_that_the_disk_refuses_is_none(core: Core) -> None:
    """Records of version 1 stay whole, and are taken over with the next thing that is recorded."""
    core.join(1)
    core.state.close()
    with contextlib.closing(sqlite3.connect(core.path)) as connection:
        connection.executescript(
            "DROP TABLE capacity; ALTER TABLE burst DROP COLUMN core_percent; ALTER TABLE burst DROP COLUMN by_hand;"
            "PRAGMA user_version = 1"
        )
    core.restart()
    execute = core.state._connection.execute
    execute("CREATE TRIGGER full BEFORE INSERT ON burst BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(StateError, match="disk full"):
        core.capacity(60)
    assert execute("PRAGMA user_version").fetchone() == (1,)
    execute("DROP TRIGGER full")
    core.capacity(70)
    core.restart()
    assert core.state.capacity[ServerName("no-primary")].slots == 70


@pytest.mark.parametrize("damage", [b"not a database" * 400, b""])
def test_damaged_records_are_refused(tmp_path: Path, damage: bytes) -> None:
    """Bytes that are no database, and an empty file, are an error and stay as they are."""
    path = tmp_path / "state.db"
    path.write_bytes(damage)
    with pytest.raises(StateError):
        State.open(path)
    assert path.read_bytes() == damage or not damage


def test_records_without_a_level_are_refused(core: Core) -> None:
    """Half of them is as bad as none."""
    core.state.close()
    with sqlite3.connect(core.path) as connection:
        connection.execute("DELETE FROM burst")
    connection.close()
    with pytest.raises(RecordsLost, match="wanted one level, found 0"):
        State.open(core.path)


def test_a_word_that_no_agent_wrote_is_refused(core: Core) -> None:
    """A phase that does not exist is damage, not a traceback."""
    core.join(1)
    core.state.close()
    with sqlite3.connect(core.path) as connection:
        connection.execute("UPDATE nodes SET phase = 'flying'")
    connection.close()
    with pytest.raises(StateError, match="'flying' is not a valid Phase"):
        State.open(core.path)


def test_a_disk_that_refuses_changes_nothing(core: Core) -> None:
    """A failed transaction leaves memory, file and host as they were."""
    core.join(1)
    text = core.host.text()
    core.state._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StateError, match="readonly"):
        core.sync(i_1="leaving")
    assert (core.phases(), core.host.text()) == ({"i-1": "active"}, text)


def test_every_transaction_survives_a_power_cut(core: Core) -> None:
    """SQLite syncs at every commit (2 is FULL): what should be is on the disk before the first effect."""
    assert core.state._connection.execute("PRAGMA synchronous").fetchone() == (2,)
