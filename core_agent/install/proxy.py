"""``haproxy.cfg`` before the agent's first turn: what the agent itself would write from settings and records.

A reload alone changes the core's own servers, so the file must be right before HAProxy is told to read it again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from core_agent import paths
from core_agent.haproxy import config
from core_agent.host import Host
from core_agent.install import operator_file, ownership, records
from settings import Settings


def check(loaded: Settings) -> None:
    """Let HAProxy judge the file that these settings make, alone and with the operator's own.

    Raises ``CommandFailed`` with its words, and ``StateError``.
    """
    with tempfile.TemporaryDirectory(prefix="drawbridge-") as folder:
        draft = Path(folder) / paths.HAPROXY_CFG.name
        wanted = records.desired(loaded)
        draft.write_text(config.render(loaded, wanted.burst, wanted.core, wanted.servers.values()))
        operator_file.judge_beside(draft)


def write(loaded: Settings) -> None:
    """Make the file say these settings and the records; one that is not the agent's is kept beside it.

    Raises ``CommandFailed`` when HAProxy refuses it, and then leaves the former one.
    """
    former = ownership.read(paths.HAPROXY_CFG)
    if former and not former.startswith(config.OURS):
        print(f"  keeping the former file as {ownership.keep(paths.HAPROXY_CFG)}")
    wanted = records.desired(loaded)
    for name, slots in wanted.overridden.items():
        if name in wanted.core:
            print(
                f"  {name} keeps the {slots} slots that an operator set: `fab capacity {name} configured WHY` ends that"
            )
        else:
            print(f"  {name} would have the {slots} slots that an operator set, if it came back to the settings")
    Host(loaded, haproxy_cfg=paths.HAPROXY_CFG).write_servers(wanted.servers, wanted.burst, wanted.core)
    ownership.give(paths.HAPROXY_CFG, 0o644)
