"""The words that drawbridge.toml may hold, each a type that refuses what it is not; no table is known here."""

from __future__ import annotations

import base64
import binascii
import re
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Self

from core_agent.contract.names import Name, shown
from core_agent.contract.shapes import Range

# The blob of each type: its name, for ECDSA its curve's, and the point, each after four bytes of length.
_HOST_KEY_BYTES = {
    "ssh-ed25519": 51,
    "ecdsa-sha2-nistp256": 104,
    "ecdsa-sha2-nistp384": 136,
    "ecdsa-sha2-nistp521": 172,
}


class Label(Name):
    """A name that becomes part of HAProxy's configuration and of AWS's physical names."""

    __slots__ = ()
    shape = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)
    wanted = "a name: 1 to 32 lower-case letters, digits and hyphens, a letter first"


class Host(Name):
    """An IPv4 address or a DNS name: labels of at most 63 characters, the last not a number (RFC 1123, 2.1)."""

    __slots__ = ()
    shape = re.compile(
        r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
        re.ASCII,
    )
    wanted = "an IPv4 address or a host name"

    def __new__(cls, text: str) -> Self:
        """Refuse also what looks like an address and is none, such as 10.0.0.300."""
        host = super().__new__(cls, text)
        if host.rpartition(".")[2].isdecimal() and host.address is None:
            msg = f"wanted {cls.wanted}, found {shown(text)}"
            raise ValueError(msg)
        return host

    @property
    def address(self) -> IPv4Address | None:
        """The address, when it is one and no name."""
        try:
            return IPv4Address(self)
        except ValueError:
            return None


class HostKey(Name):
    """An SSH host key, ``ssh-ed25519 AAAA…``: a ``.pub`` file's line, whose comment is dropped."""

    __slots__ = ()
    shape = re.compile(r"(?:ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]{40,}={0,2}", re.ASCII)
    wanted = (
        "the line in /etc/ssh/ssh_host_ed25519_key.pub: `ssh-ed25519 AAAA…`, or one that begins with ecdsa-sha2-nistp"
    )

    def __new__(cls, text: str) -> Self:
        """Refuse also a key cut short and one of another type than it says (RFC 4253, 6.6: the blob begins with it)."""
        key = super().__new__(cls, " ".join(text.split()[:2]))
        kind, encoded = key.split()
        try:
            blob = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            blob = b""
        if not blob.startswith(len(kind).to_bytes(4, "big") + kind.encode()) or len(blob) < _HOST_KEY_BYTES[kind]:
            msg = f"wanted {cls.wanted}; found one that is damaged or cut short: {shown(text)}"
            raise ValueError(msg)
        return key


class ParameterName(Name):
    """The name of an SSM parameter."""

    __slots__ = ()
    shape = re.compile(r"(?:/[A-Za-z0-9_.-]+){1,15}", re.ASCII)
    wanted = "a parameter name such as /drawbridge/ssh-key"


class TopicArn(Name):
    """An SNS topic by its full name."""

    __slots__ = ()
    shape = re.compile(r"arn:aws:sns:[a-z0-9-]{1,32}:\d{12}:[A-Za-z0-9_-]{1,256}", re.ASCII)
    wanted = "an SNS topic such as arn:aws:sns:eu-north-1:123456789012:on-call"

    @property
    def region(self) -> str:
        """Where the topic is."""
        return self.split(":")[3]


class DeviceName(Name):
    """A block device as a machine image names it."""

    __slots__ = ()
    shape = re.compile(r"/dev/[a-z0-9]{1,30}", re.ASCII)
    wanted = "a device such as /dev/xvda"


class UserName(Name):
    """A Debian system user."""

    __slots__ = ()
    shape = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
    wanted = "a user name"


class Bind(Name):
    """Where HAProxy listens: ``ADDRESS:PORT`` or ``:PORT``."""

    __slots__ = ()
    shape = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3})?:\d{1,5}", re.ASCII)
    wanted = "ADDRESS:PORT or :PORT"

    def __new__(cls, text: str) -> Self:
        """Refuse also addresses and ports out of range."""
        bind = super().__new__(cls, text)
        address, _, port = bind.partition(":")
        try:
            IPv4Address(address or "0.0.0.0")  # noqa: S104  read, not bound
            fits = 1 <= int(port) <= 65535
        except ValueError:
            fits = False
        if not fits:
            msg = f"wanted {cls.wanted}, found {shown(text)}"
            raise ValueError(msg)
        return bind


class UrlPath(Name):
    """A path that HAProxy asks for."""

    __slots__ = ()
    shape = re.compile(r"/[A-Za-z0-9._~/-]{0,200}", re.ASCII)
    wanted = "a path that begins with / and has no spaces or quotes"


class Account(Name):
    """An AWS account."""

    __slots__ = ()
    shape = re.compile(r"\d{12}", re.ASCII)
    wanted = "an AWS account: 12 digits"


class Zone(Name):
    """An AWS availability zone."""

    __slots__ = ()
    shape = re.compile(r"[a-z]{2}-[a-z]+-\d[a-z]", re.ASCII)
    wanted = "an availability zone such as eu-north-1a"


class InstanceType(Name):
    """An EC2 instance type."""

    __slots__ = ()
    shape = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+", re.ASCII)
    wanted = "an instance type such as t4g.small"


class ImageReference(Name):
    """A container image."""

    __slots__ = ()
    shape = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}", re.ASCII)
    wanted = "a container image such as registry.example/app@sha256:…"


class Word(Name):
    """One word of a command; it reaches a shell script, quoted."""

    __slots__ = ()
    shape = re.compile(r"[^\x00-\x1f\x7f]{1,500}")
    wanted = "one word of a command, printable"


class Region(StrEnum):
    """Where the edge may be: in the European Economic Area; London (eu-west-2) and Zurich (eu-central-2) are not.

    Spain (eu-south-2) is left out: AWS lists it among the regions without function URLs.
    """

    FRANKFURT = "eu-central-1"
    STOCKHOLM = "eu-north-1"
    MILAN = "eu-south-1"
    IRELAND = "eu-west-1"
    PARIS = "eu-west-3"


class Architecture(StrEnum):
    """Of the functions' processors."""

    ARM64 = "arm64"
    X86_64 = "x86_64"


class Runtime(StrEnum):
    """Lambda's Python runtimes that the code supports."""

    PYTHON_3_11 = "python3.11"
    PYTHON_3_12 = "python3.12"
    PYTHON_3_13 = "python3.13"
    PYTHON_3_14 = "python3.14"


Port = Annotated[int, Range(1, 65535)]


class Day(StrEnum):
    """A day of the week."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


class Clock(Name):
    """A time of day, ``HH:MM``, from 00:00 to 23:59."""

    __slots__ = ()
    shape = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
    wanted = "a time of day as HH:MM, from 00:00 to 23:59"


class TimeZone(Name):
    """A time zone's name in the IANA database; whether it is there is asked where it is used."""

    __slots__ = ()
    shape = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
    wanted = "a time zone's name, such as Europe/Oslo"


class FilePath(Name):
    """An absolute path on the core, of a file or a folder."""

    __slots__ = ()
    shape = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._+@-]{1,255}){1,20}", re.ASCII)
    wanted = "an absolute path of letters, digits and ._+@-, without . and .. as parts"


class CookieName(Name):
    """A cookie's name: part of the tokens of RFC 6265, 4.1.1, that mean nothing special to HAProxy."""

    __slots__ = ()
    shape = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
    wanted = "a cookie's name: 1 to 64 letters, digits, underscores and hyphens"
