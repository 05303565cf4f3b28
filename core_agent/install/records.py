"""The agent's records as the installer makes and reads them; it never changes one that exists."""

from __future__ import annotations

import tempfile
from pathlib import Path

from core_agent import paths
from core_agent.contract.names import Reason
from core_agent.desired import Desired
from core_agent.install import ownership
from core_agent.roll import Burst
from core_agent.state import State
from settings import Settings

_MODE = 0o600


def make(loaded: Settings) -> None:
    """Make empty records unless there are some, whole or not at all, and give them to the agent's user in any case."""
    if not paths.STATE.exists():
        # SQLite follows links, so the file is made where only root can enter, and on the same disk, to be renamed.
        with tempfile.TemporaryDirectory(prefix=".drawbridge-", dir=paths.STATE.parent.parent) as folder:
            draft = Path(folder) / paths.STATE.name
            State.create(draft, calm(loaded)).close()
            ownership.give(draft, _MODE)
            draft.replace(paths.STATE)
    for path in sorted(paths.STATE.parent.glob(f"{paths.STATE.name}*")):
        ownership.give(path, _MODE)


def desired(loaded: Settings) -> Desired:
    """Return what the records demand; the calm level and nobody before the first install. Raises ``StateError``."""
    if not paths.STATE.exists():
        return Desired(loaded, (), calm(loaded))
    ownership.check(paths.STATE)
    state = State.open(paths.STATE)
    state.close()
    return Desired(loaded, state.nodes.values(), state.burst)


def calm(loaded: Settings) -> Burst:
    """Return the level that new records begin with."""
    return Burst(level_percent=loaded.burst.calm_percent, reason=Reason("installed"))
