"""What a ``wg0.conf`` says of the agent's records: every peer below the mark; pure.

It knows the lines that ``conf`` writes, and never guesses at another one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import groupby
from typing import Any

from core_agent.contract.messages import Hold
from core_agent.contract.names import GroupName, InstanceId, PublicKey, shown
from core_agent.errors import StateError
from core_agent.wireguard.conf import MARK

# The lines of a section in their order, each as an error names it; what they hold is checked by its type.
_SECTION: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "`# node INSTANCE of REGION/GROUP`",
        re.compile(r"# node (?P<instance>\S+) of (?P<group>[^\s,]+)(?:, held (?P<hold>\S+))?"),
    ),
    ("`[Peer]`", re.compile(r"\[Peer\]")),
    ("`PublicKey = KEY`", re.compile(r"PublicKey = (?P<public_key>\S+)")),
    ("`AllowedIPs = ADDRESS/32`", re.compile(r"AllowedIPs = (?P<address>\S+)/32")),
    ("`Endpoint = HOST:PORT` or an empty line", re.compile(r"(?:Endpoint = \S+)?")),
)
_AFTER = ("an empty line", re.compile(""))
_TYPES: dict[str, Callable[[str], str]] = {
    "instance": InstanceId,
    "group": GroupName,
    "hold": Hold,
    "public_key": PublicKey,
    "address": lambda text: str(IPv4Address(text)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledPeer:
    """A node whose section begins in line ``line`` of the file."""

    line: int
    instance: InstanceId
    group: GroupName
    hold: Hold
    public_key: PublicKey
    address: str


def peers_in(text: str) -> Iterator[FiledPeer]:
    """Yield the agent's peers. Raises ``StateError`` at the first line below the mark that the agent did not write."""
    above, _, below = text.partition(MARK)
    numbered = enumerate(below.split("\n"), start=above.count("\n") + 1)
    for written, lines in groupby(numbered, key=lambda pair: pair[1] != ""):
        if written:
            yield _peer(tuple(lines))


def _peer(section: Sequence[tuple[int, str]]) -> FiledPeer:
    first = section[0][0]
    lines = [line for _, line in section] + [""] * (len(_SECTION) - len(section))
    shapes = [*_SECTION, *[_AFTER] * (len(section) - len(_SECTION))]
    found: dict[str, Any] = {"hold": Hold.NONE}
    for number, (line, (wanted, shape)) in enumerate(zip(lines, shapes, strict=True), start=first):
        words = shape.fullmatch(line)
        if words is None:  # what follows the sign could be somebody's secret
            raise _misread(number, f"wanted {wanted}, found {shown(line.partition('=')[0])}")
        try:
            found |= {name: _TYPES[name](word) for name, word in words.groupdict().items() if word is not None}
        except ValueError as error:
            raise _misread(number, error) from None
    return FiledPeer(line=first, **found)


def _misread(line: int, why: object) -> StateError:
    return StateError(f"wg0.conf, line {line}: {why}")
