"""What a ``haproxy.cfg`` of the agent's says of its records: the level, slots that were set, burst servers; pure.

It knows the lines that ``config`` writes, and never guesses at another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from core_agent.contract.names import InstanceId, Reason, ServerName, shown
from core_agent.errors import StateError
from core_agent.roll import Burst, Capacity

# Agents before the core's share wrote none.
_BURST = re.compile(r"# burst level (100|[1-9]?[0-9]) %(?:, core share (100|[1-9][0-9]?) %(, by hand)?)?: (.+)")
_SLOTS = re.compile(r"# slots of (\S+) ([1-9][0-9]{0,5}): (.+)")
_SERVER = re.compile(r"    server (\S+) ([0-9.]+):[0-9]+ id [0-9]+ .*?( disabled)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledServer:
    """A burst server in line ``line`` of the file; HAProxy starts with it ``open`` to requests, or closed."""

    line: int
    name: InstanceId
    address: str
    open: bool


def burst_in(text: str) -> Burst:
    """Return the level that ``text`` says. Raises ``StateError``."""
    line = text.split("\n")[1] if "\n" in text else ""
    found = _BURST.fullmatch(line)
    if found is None:
        raise _misread(2, f"wanted `# burst level N %, core share N %: REASON`, found {shown(line)}")
    try:
        return Burst(
            level_percent=int(found[1]),
            core_percent=int(found[2] or 100),
            by_hand=found[3] is not None,
            reason=Reason(found[4]),
        )
    except ValueError as error:
        raise _misread(2, error) from None


def capacity_in(text: str) -> dict[ServerName, Capacity]:
    """Return the slots that ``text`` says an operator set, by core server. Raises ``StateError``."""
    told: dict[ServerName, Capacity] = {}
    for number, line in enumerate(text.split("\n")[2:], start=3):
        if not line.startswith("# slots of "):
            break
        found = _SLOTS.fullmatch(line)
        if found is None:
            raise _misread(number, f"wanted `# slots of NAME N: REASON`, found {shown(line)}")
        try:
            told[ServerName(found[1])] = Capacity(slots=int(found[2]), reason=Reason(found[3]))
        except ValueError as error:
            raise _misread(number, error) from None
    return told


def servers_in(text: str) -> Iterator[FiledServer]:
    """Yield the servers that are named like nodes. Raises ``StateError`` at the first that the agent did not write."""
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.lstrip().startswith("server i-"):
            continue
        found = _SERVER.fullmatch(line)
        # A line that was cut off no longer says whether it ended in `disabled`.
        if found is None or number == len(lines):
            raise _misread(number, f"wanted `    server INSTANCE ADDRESS:PORT id N …` and its end, found {shown(line)}")
        try:
            name, address = InstanceId(found[1]), str(IPv4Address(found[2]))
        except ValueError as error:
            raise _misread(number, error) from None
        yield FiledServer(line=number, name=name, address=address, open=found[3] is None)


def _misread(line: int, why: object) -> StateError:
    return StateError(f"haproxy.cfg, line {line}: {why}")
