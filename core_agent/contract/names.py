"""The words that may cross the contract, each a type that refuses what it is not; it must not know any message.

Every type here ends up in a HAProxy runtime command, a ``wg`` argv or a log line, so each admits only characters that
mean nothing special to any of them. Raising ``ValueError`` with "wanted …, found …" is their whole interface.
"""

from __future__ import annotations

import functools
import re
import reprlib
import typing
from collections.abc import Sequence
from itertools import repeat
from typing import ClassVar, Self


class Name(str):
    """A string of one known shape; constructing it is the check. Shown values are cut, so an error stays readable."""

    __slots__ = ()
    shape: ClassVar[re.Pattern[str]]
    wanted: ClassVar[str]

    def __new__(cls, text: str) -> Self:
        """Return ``text`` as this type, or raise ``ValueError`` saying what was wanted and found."""
        if not isinstance(text, str) or cls.shape.fullmatch(text) is None:
            msg = f"wanted {cls.wanted}, found {cls.found(text)}"
            raise ValueError(msg)
        return super().__new__(cls, text)

    @classmethod
    def found(cls, text: object) -> str:
        """Return what the refusal of ``text`` says of it."""
        return shown(text)

    @classmethod
    def column(cls, texts: Sequence[object]) -> tuple[Self, ...] | None:
        """Return all of ``texts`` as this type, or None when one of them is not of it.

        Thousands cost a third of what they cost one by one: they are matched as one text, a line each.
        """
        if not texts:
            return ()
        try:
            lines = "\n".join(typing.cast("Sequence[str]", texts))
        except TypeError:  # one is no text at all
            return None
        # No shape admits a line break; one inside a text would make two lines of it.
        if lines.count("\n") != len(texts) - 1 or _lines_of(cls.shape).fullmatch(lines) is None:
            return None
        return tuple(map(str.__new__, repeat(cls), texts))


@functools.cache
def _lines_of(shape: re.Pattern[str]) -> re.Pattern[str]:
    line = f"(?:{shape.pattern})"
    return re.compile(rf"{line}(?:\n{line})*", shape.flags)


class InstanceId(Name):
    """One machine of the edge, for example ``i-0abc1234def567890``. Also the HAProxy server's name."""

    __slots__ = ()
    # The prefix keeps nodes apart from the core's own servers, whose names may not begin so.
    shape = re.compile(r"i-(?!-)[a-z0-9-]{1,61}(?<!-)", re.ASCII)
    wanted = "an instance id: i- and 1 to 61 lower-case letters, digits and hyphens"


class GroupName(Name):
    """One Auto Scaling group in one region, ``REGION/NAME``; generations are counted per group."""

    __slots__ = ()
    shape = re.compile(r"[a-z0-9-]{1,32}/[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
    wanted = "a group as REGION/NAME: letters, digits, dots, underscores and hyphens"


class ServerName(Name):
    """One of the core's own application servers, as ``drawbridge.toml`` and HAProxy call it."""

    __slots__ = ()
    shape = re.compile(r"(?!i-)[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)
    wanted = "a core server's name: 1 to 32 lower-case letters, digits and hyphens, a letter first, not i-"


class Reason(Name):
    """Why a person or an alarm asked for something: one printable line, kept in the log."""

    __slots__ = ()
    shape = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,200}")
    wanted = "a reason: 1 to 200 printable characters on one line"


class PublicKey(Name):
    """A WireGuard public key: 32 bytes as canonical base64 (44 characters), as ``wg pubkey`` prints it."""

    __slots__ = ()
    # 43 characters carry 258 bits: the two that 32 bytes leave over must be zero.
    shape = re.compile(r"(?!A{43}=)[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=", re.ASCII)
    wanted = "a WireGuard public key: 44 characters of base64, as `wg pubkey` prints"

    @classmethod
    def found(cls, text: object) -> str:
        """Tell apart what looks like a key: another spelling, and the zeros that WireGuard takes for 'no key'."""
        if not isinstance(text, str) or _KEY_LIKE.fullmatch(text) is None:
            return shown(text)
        return "the key of all zeros" if text == f"{'A' * 43}=" else "a spelling of it that is not canonical"


_KEY_LIKE = re.compile(r"[A-Za-z0-9+/]{43}=", re.ASCII)

# Cut in depth as well as in length: the repr of a document nested almost too deeply to parse would not survive.
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 3
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 80


def shown(value: object) -> str:
    """Return ``value`` as an error may show it: its ``repr``, at most 80 characters."""
    text = _BRIEF.repr(value)
    return text if len(text) <= 80 else f"{text[:78]} …"
