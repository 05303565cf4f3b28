"""The agent's records in SQLite: what should be, durable before anything is done about it; no rule lives here.

Everything is kept in memory too, so reading costs nothing; a transaction that the disk refuses (``synchronous = FULL``:
one that it took survives a power cut) is undone in both.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from core_agent.contract.messages import Hold, Lifecycle, Phase
from core_agent.contract.names import GroupName, InstanceId, PublicKey, Reason, ServerName
from core_agent.errors import RecordFailed, RecordsLost, StateError
from core_agent.roll import Burst, Capacity, Changes, Node, Roll

SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE nodes (
    instance TEXT PRIMARY KEY, grp TEXT NOT NULL, lifecycle TEXT NOT NULL, since REAL NOT NULL, phase TEXT NOT NULL,
    hold TEXT NOT NULL, address TEXT UNIQUE, public_key TEXT UNIQUE, wants_ready INTEGER NOT NULL,
    removing INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE groups (name TEXT PRIMARY KEY, generation INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE burst (one INTEGER PRIMARY KEY CHECK (one = 1), level_percent INTEGER NOT NULL, reason TEXT NOT NULL)
    STRICT;
"""
# From the version before: what it did not know has the value that it acted by.
_UPGRADE = (
    "ALTER TABLE burst ADD COLUMN core_percent INTEGER NOT NULL DEFAULT 100",
    "ALTER TABLE burst ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE capacity (server TEXT PRIMARY KEY, slots INTEGER NOT NULL, reason TEXT NOT NULL) STRICT",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_UPDATE = """
UPDATE nodes SET grp = ?, lifecycle = ?, since = ?, phase = ?, hold = ?, wants_ready = ?, removing = ?
    WHERE instance = ?
"""


class State:
    """The open records. ``nodes``, ``generations``, ``burst`` and ``capacity`` are written by ``record`` alone.

    Records of the version before are read as they are, and become this version's with the first thing that is recorded:
    whoever only looks leaves them to the agent that runs on them.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._opened = _identity(path)
        self._changed: set[InstanceId] = set()
        self._renewed: set[InstanceId] = set()
        self._others = False  # whether a generation, the level or slots were recorded in this transaction
        self._version = SCHEMA_VERSION
        self.nodes = Roll()
        self.generations: dict[GroupName, int] = {}
        self.burst = Burst(level_percent=0, reason=Reason("unset"))
        self.capacity: dict[ServerName, Capacity] = {}

    @classmethod
    def create(cls, path: Path, burst: Burst) -> Self:
        """Make new, empty records at ``path``, which must not exist. Raises ``StateError``."""
        if path.exists():
            raise StateError(f"creating {path}: there are records already")
        try:
            with contextlib.closing(_connect(path, "rwc")) as connection:
                _configure(connection)
                connection.executescript(f"BEGIN; {_SCHEMA} {';'.join(_UPGRADE)};")
                connection.execute("INSERT INTO burst VALUES (1, ?, ?, ?, ?)", _burst_row(burst))
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise RecordFailed(f"creating {path}: {error}") from None
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the records at ``path``.

        Raises ``RecordsLost`` when they are missing or damaged, and ``StateError`` when they are a newer agent's, or
        when the machine does not let them be read, which says nothing about them.
        """
        if not path.exists() or path.stat().st_size == 0:  # SQLite would take the log beside an empty file away
            raise RecordsLost(f"opening {path}: no records there")
        try:
            # By a connection that writes nothing: another one would take a log away that it cannot read.
            with contextlib.closing(_connect(path, "ro")) as reading:
                _examine(reading, path)
                state = cls(reading, path)
                state._load()
            connection = _connect(path, "rw")
            _configure(connection)
            state = cls(connection, path)
            state._load()
        except sqlite3.Error as error:
            if _tells_of_damage(error):
                raise RecordsLost(f"opening {path}: the records are damaged: {error}") from None
            raise StateError(f"opening {path}: {error}") from None
        return state

    def _load(self) -> None:
        execute = self._connection.execute
        rows = execute(
            "SELECT instance, grp, lifecycle, since, phase, hold, address, public_key, wants_ready, removing FROM nodes"
        )
        (self._version,) = execute("PRAGMA user_version").fetchone()
        if self._version == SCHEMA_VERSION:
            levels = execute("SELECT level_percent, reason, core_percent, by_hand FROM burst").fetchall()
            capacities = execute("SELECT server, slots, reason FROM capacity").fetchall()
        else:
            levels, capacities = execute("SELECT level_percent, reason, 100, 0 FROM burst").fetchall(), []
        if len(levels) != 1:
            raise RecordsLost(f"opening {self._path}: the records are damaged: wanted one level, found {len(levels)}")
        try:
            self.nodes = Roll(_node(row) for row in rows)
            groups = execute("SELECT name, generation FROM groups")
            self.generations = {GroupName(name): generation for name, generation in groups}
            level_percent, reason, core_percent, by_hand = levels[0]
            self.burst = Burst(
                level_percent=level_percent, reason=Reason(reason), core_percent=core_percent, by_hand=bool(by_hand)
            )
            self.capacity = {
                ServerName(name): Capacity(slots=slots, reason=Reason(reason)) for name, slots, reason in capacities
            }
        except ValueError as error:
            raise RecordsLost(f"opening {self._path}: the records are damaged: {error}") from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything that is recorded inside durable at the end, or nothing of it.

        Raises ``RecordFailed`` when the disk refuses; the records are then as they were before.
        """
        try:
            yield
            if self._changed or self._renewed or self._others:
                self._write()
        except sqlite3.Error as error:
            self._undo()
            raise RecordFailed(f"writing {self._path}: {error}") from None
        except BaseException:
            self._undo()
            raise

    def record(self, changes: Changes) -> None:
        """Take ``changes`` over, inside a ``transaction``."""
        for instance in changes.forgotten:
            self.nodes.forget(instance)
            self._renewed.add(instance)
        for node in changes.nodes:
            former = self.nodes.get(node.instance)
            same = former is not None and former.address == node.address and former.public_key == node.public_key
            (self._changed if same else self._renewed).add(node.instance)
            self.nodes.put(node)
        if changes.generation is not None:
            self.generations[changes.generation[0]] = changes.generation[1]
            self._others = True
        if changes.burst is not None:
            self.burst = changes.burst
            self._others = True
        if changes.capacity is not None:
            name, capacity = changes.capacity
            self.capacity.pop(name, None)
            if capacity is not None:
                self.capacity[name] = capacity
            self._others = True

    def check(self) -> None:
        """Raise ``RecordsLost`` unless the open file is still the one at its path."""
        try:
            found: tuple[int, int] | None = _identity(self._path)
        except OSError:
            found = None
        if found != self._opened:
            raise RecordsLost(f"keeping {self._path}: the records were taken away while the agent ran")

    def commit(self, changes: Changes) -> None:
        """Make ``changes`` durable, in a transaction of their own. Raises ``RecordFailed``."""
        with self.transaction():
            self.record(changes)

    def _write(self) -> None:
        """Write what has been recorded since the transaction began, with few statements however much it is."""
        execute, many = self._connection.execute, self._connection.executemany
        execute("BEGIN IMMEDIATE")
        if self._version < SCHEMA_VERSION:
            for statement in _UPGRADE:
                execute(statement)
        # Only what has another key or address touches the table's indices, which cost most of a write.
        many("DELETE FROM nodes WHERE instance = ?", [(instance,) for instance in self._renewed])
        many("INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._rows(self._renewed))
        many(_UPDATE, [(*row[1:6], *row[8:], row[0]) for row in self._rows(self._changed - self._renewed)])
        if self._others:
            many("INSERT OR REPLACE INTO groups VALUES (?, ?)", list(self.generations.items()))
            execute("INSERT OR REPLACE INTO burst VALUES (1, ?, ?, ?, ?)", _burst_row(self.burst))
            execute("DELETE FROM capacity")
            capacities = [(name, one.slots, one.reason) for name, one in self.capacity.items()]
            many("INSERT INTO capacity VALUES (?, ?, ?)", capacities)
        execute("COMMIT")
        self._version = SCHEMA_VERSION
        self._changed, self._renewed, self._others = set(), set(), False

    def _rows(self, instances: Iterable[InstanceId]) -> list[tuple[object, ...]]:
        return [_row(node) for instance in instances if (node := self.nodes.get(instance)) is not None]

    def _undo(self) -> None:
        self._changed, self._renewed, self._others = set(), set(), False
        if self._connection.in_transaction:
            self._connection.rollback()
        self._load()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # One lock in the agent guards every use, so the connection may cross its threads.
    name = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(name, uri=True, check_same_thread=False, isolation_level=None)


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _examine(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ``StateError`` for a newer agent's records, and ``RecordsLost`` for damaged ones."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    wanted = f"wanted records of version {SCHEMA_VERSION}, found {version}"
    if version > SCHEMA_VERSION:
        raise StateError(f"opening {path}: {wanted}; install the newer agent again")
    if version < 1:  # there never was an older one
        raise RecordsLost(f"opening {path}: the records are damaged: {wanted}")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise RecordsLost(f"opening {path}: the records are damaged: {verdict}")


def _tells_of_damage(error: sqlite3.Error) -> bool:
    """Whether it is about the content: no permission, a full disk or a failed read say nothing of that."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:  # Python's own, of a text that is no UTF-8
        return True
    # The lowest byte is the kind (sqlite.org/rescode.html); ERROR is a table or a column that is not there.
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def _burst_row(burst: Burst) -> tuple[object, ...]:
    return burst.level_percent, burst.reason, burst.core_percent, int(burst.by_hand)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _row(node: Node) -> tuple[object, ...]:
    return (
        node.instance,
        node.group,
        node.lifecycle.value,
        node.since,
        node.phase.value,
        node.hold.value,
        node.address,
        node.public_key,
        int(node.wants_ready),
        int(node.removing),
    )


def _node(row: tuple[str, str, str, float, str, str, str | None, str | None, int, int]) -> Node:
    return Node(
        instance=InstanceId(row[0]),
        group=GroupName(row[1]),
        lifecycle=Lifecycle(row[2]),
        since=row[3],
        phase=Phase(row[4]),
        hold=Hold(row[5]),
        address=row[6],
        public_key=PublicKey(row[7]) if row[7] else None,
        wants_ready=bool(row[8]),
        removing=bool(row[9]),
    )
