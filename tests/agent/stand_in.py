"""An agent that only answers, and a server's process around it; it must not know how its commands arrive.

The reason of a ``SetBurst`` says what to do: ``bug`` raises what no tree knows, ``slow`` takes a while, ``wait`` waits
until ``go``.
"""

from __future__ import annotations

import grp
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from core_agent.agent import Agent
from core_agent.contract.messages import BurstReport, Command, Report, SetBurst
from core_agent.contract.names import Reason
from core_agent.errors import DrawbridgeError, RefusalKind, Refused
from core_agent.server import Server, listen

SLOW_S = 1.0


class StandIn:
    """Reports each level back, refuses everything else, and remembers the commands of each turn."""

    def __init__(self) -> None:
        self.turns: list[Sequence[Command]] = []
        self.go = threading.Event()

    def tick(self) -> bool:
        """Nothing is ever in motion."""
        return False

    def carry_out_all(self, commands: Sequence[Command]) -> list[Report | DrawbridgeError]:
        """Return an outcome for each command."""
        self.turns.append(commands)
        return [self._outcome(command) for command in commands]

    def _outcome(self, command: Command) -> Report | DrawbridgeError:
        if not isinstance(command, SetBurst):
            return Refused(RefusalKind.UNKNOWN_NODE, "nobody is here")
        match command.reason:
            case "bug":
                raise ZeroDivisionError("a bug")
            case "slow":
                time.sleep(SLOW_S)
            case "wait":
                assert self.go.wait(30)
        return BurstReport(
            level_percent=command.level_percent,
            core_percent=command.core_percent,
            by_hand=command.by_hand,
            reason=command.reason,
        )


def burst(level_percent: int, reason: str = "test") -> SetBurst:
    """Return a command that is reported back."""
    return SetBurst(level_percent=level_percent, reason=Reason(reason))


def serve(path: Path) -> None:
    """Serve on ``path`` until SIGTERM, as the agent's process does."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    Server(cast("Agent", StandIn()), listen(path, group=grp.getgrgid(os.getgid()).gr_name)).run()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
