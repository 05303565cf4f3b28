"""The agent's records as the installer makes and reads them; it never changes whole ones, and lost ones are rebuilt."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from core_agent import paths, recovery
from core_agent.contract.names import Reason
from core_agent.desired import Desired
from core_agent.errors import RecordsLost
from core_agent.install import ownership
from core_agent.rebuild import Records
from core_agent.roll import Burst, Roll
from core_agent.state import State
from settings import Settings

_MODE = 0o600


def check(loaded: Settings) -> None:
    """Raise ``StateError`` unless there are whole records, or such as can be made without losing a node."""
    _find(loaded)


def make(loaded: Settings) -> None:
    """Make records unless there are whole ones, and give them to the agent's user in any case.

    Where the agent's files tell of lost ones they are rebuilt, otherwise they are empty. Raises ``StateError``.
    """
    found = _find(loaded)
    if isinstance(found, Records):
        # SQLite follows links, so the file is made where only root can enter, and on the same disk, to be renamed.
        with tempfile.TemporaryDirectory(prefix=".drawbridge-", dir=paths.STATE.parent.parent) as folder:
            draft = Path(folder) / paths.STATE.name
            recovery.draft(draft, found)
            ownership.give(draft, _MODE)
            kept = recovery.replace(paths.STATE, draft)
        if found.nodes:
            print(f"  rebuilt from {paths.WG_CONF} and {paths.HAPROXY_CFG}: {found}")
        if kept is not None:
            print(f"  keeping what was left of the former records as {kept}")
    for path in sorted(paths.STATE.parent.glob(f"{paths.STATE.name}*")):
        ownership.give(path, _MODE)


def desired(loaded: Settings) -> Desired:
    """Return what the records demand; the calm level and nobody before the first install. Raises ``StateError``."""
    found = _find(loaded)
    return Desired(loaded, found.nodes.values(), found.burst, found.capacity)


def _find(loaded: Settings) -> State | Records:
    """Return the whole records, closed, or those that have to be made. Raises ``StateError``."""
    if os.path.lexists(paths.STATE):
        ownership.check(paths.STATE)
    try:
        state = State.open(paths.STATE)
    except RecordsLost as lost:
        wg_conf, haproxy_cfg = ownership.read(paths.WG_CONF), ownership.read(paths.HAPROXY_CFG)
        network = loaded.tunnel.network
        records = recovery.recover(lost, wg_conf=wg_conf, haproxy_cfg=haproxy_cfg, network=network, now=time.time())
        return records or Records(nodes=Roll(), generations={}, burst=calm(loaded))
    state.close()
    return state


def calm(loaded: Settings) -> Burst:
    """Return the level that new records begin with."""
    return Burst(level_percent=loaded.burst.calm_percent, reason=Reason("installed"))
