"""Starting on a machine that has lost something: rebuilt, or refused in words and nothing touched."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

import settings
from core_agent import files, paths
from core_agent.contract.names import Reason
from core_agent.desired import CoreSlots
from core_agent.errors import CommandFailed, FileFailed, RecordFailed, StateError
from core_agent.files import replace
from core_agent.haproxy import config
from core_agent.host import Host
from core_agent.recovery import open_or_rebuild
from core_agent.roll import Burst, Changes
from core_agent.state import State
from tests.agent.core_under_test import START
from tests.agent.written_files import SETTINGS, two_nodes

CALM = Burst(level_percent=25, reason=Reason("test"))
CONF = "[Interface]\nPrivateKey = x\n"


class CutError(Exception):
    """The crash that a test asked for."""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose files lie in a folder; it has a tunnel and no records."""
    monkeypatch.setattr(paths, "STATE", tmp_path / "state.db")
    monkeypatch.setattr(paths, "WG_CONF", tmp_path / "wg0.conf")
    monkeypatch.setattr(paths, "HAPROXY_CFG", tmp_path / "haproxy.cfg")
    (tmp_path / "wg0.conf").write_text(CONF)
    return tmp_path


@pytest.fixture
def core_with_nodes(machine: Path) -> Path:
    """The machine with i-1 and i-2 in both files; their records are still to be lost."""
    for name, text in zip(("wg0.conf", "haproxy.cfg"), two_nodes(), strict=True):
        (machine / name).write_text(text)
    return machine


def start() -> dict[str, str]:
    """Open the records as `serve` does; return instance → phase."""
    state = open_or_rebuild(SETTINGS.tunnel.network, now=START)
    phases: dict[str, str] = {node.instance: node.phase.value for node in state.nodes.values()}
    state.close()
    return phases


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of the folder, but for the empty log and the index that SQLite makes to read by."""
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return {name: content for name, content in found.items() if content and not name.endswith("-shm")}


BOTH = {"i-1": "active", "i-2": "active"}


def test_missing_records_are_rebuilt(core_with_nodes: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Both nodes are there again, the files are as they were, the log says it loudly; the next start is as any."""
    before = contents(core_with_nodes)
    assert start() == BOTH
    after = contents(core_with_nodes)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"state.db"}
    (said,) = (record for record in caplog.records if record.levelname == "CRITICAL")
    assert re.search(
        r"no records there; rebuilt from .*wg0\.conf and .*haproxy\.cfg: 2 nodes of eu-north-1/", said.getMessage()
    )
    caplog.clear()
    assert (start(), caplog.records) == (BOTH, [])


def test_damaged_records_are_rebuilt_and_kept(core_with_nodes: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each time under a name of their own, with SQLite's log, whose name alone ties it to the records."""
    for number, name in enumerate(("state.db.damaged", "state.db.damaged.1", "state.db.damaged.2")):
        damage, log = b"not a database" * number * 100, b"its log %d" % number
        (core_with_nodes / "state.db").write_bytes(damage)
        (core_with_nodes / "state.db-wal").write_bytes(log)
        assert start() == BOTH
        assert (core_with_nodes / name).read_bytes() == damage
        assert (core_with_nodes / f"{name}-wal").read_bytes() == log
        assert not (core_with_nodes / "state.db-wal").exists()
        assert f"kept as {core_with_nodes / name}" in caplog.text


def test_the_log_of_lost_records_is_not_played_into_new_ones(core_with_nodes: Path) -> None:
    """SQLite would take any log of that name for the new file's own."""
    state = State.create(core_with_nodes / "state.db", CALM)
    for level in range(100):
        state.commit(Changes(burst=Burst(level_percent=level, reason=Reason("before the loss"))))
    log = (core_with_nodes / "state.db-wal").read_bytes()
    state.close()
    (core_with_nodes / "state.db").unlink()
    (core_with_nodes / "state.db-wal").write_bytes(log)
    assert start() == BOTH
    assert (core_with_nodes / "state.db.damaged-wal").read_bytes() == log


def test_a_crash_while_rebuilding_is_healed_by_the_next_start(
    core_with_nodes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut before each step: no half records are ever taken for whole ones, and what was damaged is still there."""
    damage, log = _damaged_by_its_log(core_with_nodes / "state.db")
    cuts = 0
    while True:
        for path in core_with_nodes.glob("*state.db*"):
            path.unlink()
        (core_with_nodes / "state.db").write_bytes(damage)
        (core_with_nodes / "state.db-wal").write_bytes(log)
        (core_with_nodes / ".state.db.new-wal").write_bytes(b"what an earlier crash left")
        with monkeypatch.context() as patched:
            _cut(patched, after=cuts)
            try:
                start()
            except CutError:
                cuts += 1
            else:
                break
        assert start() == BOTH, f"cut before step {cuts}"
        assert {damage, log} <= set(contents(core_with_nodes).values()), f"cut before step {cuts}"
    assert cuts == 8  # the draft, its commit, three names aside, a sync, the name in place, a sync


def _damaged_by_its_log(path: Path) -> tuple[bytes, bytes]:
    """Return a file and its log that are no records together; alone, the file would be those of an earlier day."""
    State.create(path, CALM).close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO groups VALUES ('no group', 1)")
        connection.commit()
        return path.read_bytes(), path.with_name(f"{path.name}-wal").read_bytes()


def _cut(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Let the process die before step ``after`` of those that change a name or make something durable."""
    left = iter(range(after))

    def dying(do: Callable[..., object]) -> Callable[..., object]:
        def step(*given: object, **named: object) -> object:
            if next(left, None) is None:
                raise CutError
            return do(*given, **named)

        return step

    for place, name in ((Path, "rename"), (Path, "replace"), (files, "sync_directory"), (State, "_write")):
        monkeypatch.setattr(place, name, dying(getattr(place, name)))
    monkeypatch.setattr(State, "create", dying(State.create))


def test_records_of_a_newer_agent_are_not_replaced(core_with_nodes: Path) -> None:
    """They are whole: a downgrade is refused, with the way out, and nothing is touched."""
    State.create(core_with_nodes / "state.db", CALM).close()
    with contextlib.closing(sqlite3.connect(core_with_nodes / "state.db")) as connection:
        connection.execute("PRAGMA user_version = 3")
    before = contents(core_with_nodes)
    with pytest.raises(StateError, match="wanted records of version 2, found 3; install the newer agent again"):
        start()
    assert contents(core_with_nodes) == before


def test_records_that_the_machine_does_not_give_out_are_not_replaced(core_with_nodes: Path) -> None:
    """A name that cannot be opened says nothing about what is in it."""
    (core_with_nodes / "state.db").mkdir()
    (core_with_nodes / "state.db" / "something").touch()
    with pytest.raises(StateError, match=r"state\.db: (unable to open database file|disk I/O error)$"):
        start()
    assert {path.name for path in core_with_nodes.iterdir()} == {"wg0.conf", "haproxy.cfg", "state.db"}


@pytest.mark.parametrize("damage", [None, b"not a database" * 400])
def test_files_that_contradict_each_other_stop_the_start(core_with_nodes: Path, damage: bytes | None) -> None:
    """With the loss, the line and the ways out in one error, and not a byte changed."""
    if damage is not None:
        (core_with_nodes / "state.db").write_bytes(damage)
    (core_with_nodes / "wg0.conf").write_text(two_nodes()[0].partition("\n# node i-2")[0])
    before = contents(core_with_nodes)
    with pytest.raises(StateError) as caught:
        start()
    assert re.search(
        r"state\.db: .*; rebuilding them from .*wg0\.conf and .*: haproxy\.cfg, line \d+: wanted a peer of i-2 .*; "
        r"nothing was touched\. Restore .*state\.db, or mend the file; or, to begin with nobody, take every node out",
        str(caught.value),
    )
    assert contents(core_with_nodes) == before


def test_a_full_disk_leaves_what_there_is(core_with_nodes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rebuilt records do not fit: an error that says so, no record replaced, and the next start tries again."""
    (core_with_nodes / "state.db").write_bytes(b"not a database" * 400)
    before = contents(core_with_nodes)

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(State, "_write", full)
        with pytest.raises(RecordFailed, match="disk is full") as caught:
            start()
    assert caught.value.retryable
    assert contents(core_with_nodes).items() >= before.items()
    assert start() == BOTH


def test_records_that_are_not_all_in_one_file_take_no_place(
    core_with_nodes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite may keep a part in its log, on a full disk for example; moving the file alone would lose that part."""
    monkeypatch.setattr(State, "close", lambda _: None)
    with pytest.raises(RecordFailed, match="wanted all of it in one file"):
        start()
    assert not (core_with_nodes / "state.db").exists()


def test_a_core_that_was_never_installed_says_so(machine: Path) -> None:
    """Nothing to lose, and still no silent beginning."""
    with pytest.raises(StateError, match=r"run `agent\.pyz install` once"):
        start()
    assert [path.name for path in machine.iterdir()] == ["wg0.conf"]


def test_a_configuration_that_haproxy_refuses_is_never_written(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The running file stays, the error has HAProxy's own words."""
    cfg = machine / "haproxy.cfg"
    cfg.write_text("what runs\n")
    monkeypatch.setattr(config, "head", lambda *_: "nonsense\n")
    host = Host(settings.load(Path("drawbridge.toml")), wg_conf=machine / "wg0.conf", haproxy_cfg=cfg)
    with pytest.raises(CommandFailed, match="unknown keyword 'nonsense'"):
        host.write_servers({}, CALM, {"no-primary": CoreSlots(slots=50, reserve=0)})
    assert cfg.read_text() == "what runs\n"


def test_a_file_in_another_encoding_is_replaced_not_feared(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Latin-1 byte in haproxy.cfg: the file is simply not what it should be; in wg0.conf the operator keeps it."""
    monkeypatch.setattr("core_agent.host.check_haproxy", lambda _: None)
    (machine / "haproxy.cfg").write_bytes(b"# caf\xe9\n")
    (machine / "wg0.conf").write_bytes(b"# caf\xe9\n[Interface]\nPrivateKey = x\n")
    host = Host(
        settings.load(Path("drawbridge.toml")), wg_conf=machine / "wg0.conf", haproxy_cfg=machine / "haproxy.cfg"
    )
    host.write_servers({}, CALM, {"no-primary": CoreSlots(slots=50, reserve=0)})
    host.write_peers({}, {})
    assert b"caf" not in (machine / "haproxy.cfg").read_bytes()
    assert (machine / "wg0.conf").read_bytes().startswith(b"# caf\xe9\n[Interface]")


def test_a_full_disk_is_an_error_of_the_tree(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be tried again, the former file is there, and no draft is left."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FileFailed, match="No space left on device") as caught:
        replace(machine / "wg0.conf", "new", mode=0o600)
    assert caught.value.retryable
    assert (machine / "wg0.conf").read_text() == CONF
    assert [path.name for path in machine.iterdir()] == ["wg0.conf"]
