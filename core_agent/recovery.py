"""Recovers lost records: has them rebuilt, and puts them in the place of the lost ones, whole or not at all.

What was there is kept beside them, never deleted. A crash in between leaves no records, and they are rebuilt again. It
knows the places of the files, and nothing of what is in them.
"""

from __future__ import annotations

import itertools
import logging
import os
from ipaddress import IPv4Network
from pathlib import Path

from core_agent import files, paths
from core_agent.errors import FileFailed, RecordFailed, RecordsLost, StateError
from core_agent.rebuild import Records, rebuild
from core_agent.roll import Changes
from core_agent.state import State

log = logging.getLogger("drawbridge")

# SQLite's file, its log and the log's index: three names that belong together (sqlite.org/wal.html).
_ENDS = ("", "-wal", "-shm")


def open_or_rebuild(network: IPv4Network, *, now: float) -> State:
    """Open the agent's records, as the agent's user; lost ones are rebuilt first, at ``now`` in Unix seconds.

    Raises ``StateError`` when that is not possible, and ``FileFailed``; nothing was touched then.
    """
    try:
        return State.open(paths.STATE)
    except RecordsLost as lost:
        wg_conf, haproxy_cfg = files.read(paths.WG_CONF), files.read(paths.HAPROXY_CFG)
        records = recover(lost, wg_conf=wg_conf, haproxy_cfg=haproxy_cfg, network=network, now=now)
        if records is None:
            raise StateError(f"{lost}; run `agent.pyz install` once") from None
        finished = paths.STATE.with_name(f".{paths.STATE.name}.new")
        draft(finished, records)
        kept = replace(paths.STATE, finished)
        log.critical("%s; rebuilt from %s and %s: %s", lost, paths.WG_CONF, paths.HAPROXY_CFG, records)
        if kept is not None:
            log.critical("what was left of the former records is kept as %s", kept)
        return State.open(paths.STATE)


def recover(lost: RecordsLost, *, wg_conf: str, haproxy_cfg: str, network: IPv4Network, now: float) -> Records | None:
    """Return the records that the texts of the two files tell of, or None when no agent wrote of any node.

    ``now`` in Unix seconds. Raises ``StateError`` with all that is wrong and the ways out.
    """
    try:
        return rebuild(wg_conf, haproxy_cfg, network=network, now=now)
    except StateError as error:
        raise StateError(
            f"{lost}; rebuilding them from {paths.WG_CONF} and {paths.HAPROXY_CFG}: {error}; nothing was touched. "
            f"Restore {paths.STATE}, or mend the file; or, to begin with nobody, take every node out of both files: "
            "the machines enroll again by themselves"
        ) from None


def draft(path: Path, records: Records) -> None:
    """Write ``records`` to a file at ``path``, which nobody reads yet. Raises ``StateError`` and ``FileFailed``."""
    try:
        for leftover in _family(path):
            leftover.unlink()  # of a draft that a crash cut short
    except OSError as error:
        raise FileFailed(f"replacing {path}: {error.strerror}") from None
    state = State.create(path, records.burst)
    try:
        with state.transaction():
            state.record(Changes(nodes=tuple(records.nodes.values())))
            for generation in records.generations.items():
                state.record(Changes(generation=generation))
            for capacity in records.capacity.items():
                state.record(Changes(capacity=capacity))
    finally:
        state.close()
    if _family(path) != [path]:
        raise RecordFailed(f"writing {path}: wanted all of it in one file, found that SQLite left a log")


def replace(path: Path, finished: Path) -> Path | None:
    """Move the file ``finished`` to ``path``; return the name beside it that what was there is kept by, if anything.

    Raises ``FileFailed``.
    """
    try:
        kept = _set_aside(path)
        files.sync_directory(path.parent)
        finished.replace(path)
        files.sync_directory(path.parent)
    except OSError as error:
        raise FileFailed(f"replacing {path}: {error.strerror}") from None
    return kept


def _set_aside(path: Path) -> Path | None:
    there = _family(path)
    if not there:
        return None
    for number in itertools.count():
        kept = path.with_name(f"{path.name}.damaged{f'.{number}' if number else ''}")
        if not _family(kept):
            break
    # The records before their log: without it they could be taken for whole ones, of an earlier day. And a log that
    # stayed would be taken for that of the new ones.
    for one in there:
        one.rename(f"{kept}{one.name.removeprefix(path.name)}")
    return kept


def _family(path: Path) -> list[Path]:
    return [one for end in _ENDS if os.path.lexists(one := path.with_name(f"{path.name}{end}"))]
