"""The one error tree of Drawbridge; it knows wording and whether a retry can help, and nothing of who catches.

    DrawbridgeError                    retryable: can the same message succeed later, unchanged?
    ├── SettingsError            no    drawbridge.toml says something that cannot be
    ├── InstallError             no    this machine is not ready to be a core (core_agent.install)
    ├── ContractError            no    a document that breaks the contract; names the field
    ├── Refused                  no    the agent understood and will not; carries a machine-readable kind
    ├── CoreUnreachable          yes   no connection, no channel, or an answer cut short
    ├── HostKeyMismatch          no    the core showed another host key than the pinned one
    ├── AuthenticationFailed     no    the core does not take our private key, or it is no usable key
    ├── AgentFailed              ?     the agent tried and could not; says itself whether a retry can help
    ├── CommandFailed            yes   a program on the core exited non-zero; carries the result
    ├── RuntimeApiError          yes   HAProxy's runtime API answered something else than success
    ├── UnreadableFacts          yes   a program printed something that its manual does not promise
    ├── FileFailed               yes   a file on the core could not be read or written
    └── StateError               no    the agent's own records are missing, damaged or from a newer agent
        ├── RecordsLost          no    they are missing or damaged, so that nothing in them can be used any more
        └── RecordFailed         yes   a change could not be made durable; nothing was done about it

Wording: what was being done, then what was wanted and what was found:
``adding peer 10.100.0.7/32: wg exited 1: Unable to modify interface: No such device``.
"""

from __future__ import annotations

from enum import StrEnum


class DrawbridgeError(Exception):
    """The root. ``retryable`` is the one bit that the consumer of a queue needs."""

    retryable: bool = False


class SettingsError(DrawbridgeError):
    """``drawbridge.toml`` says something that cannot be; the message names the key."""


class ContractError(DrawbridgeError):
    """A document broke the contract; the message names the field, what was wanted and what was found."""


class RefusalKind(StrEnum):
    """Why the agent will not do what it was asked; stable words that a handler may branch on."""

    NOT_SEATED = "not_seated"
    UNKNOWN_NODE = "unknown_node"
    NOT_ENROLLED = "not_enrolled"
    LEAVING = "leaving"
    KEY_CONFLICT = "key_conflict"
    KEY_TAKEN = "key_taken"
    ADDRESSES_EXHAUSTED = "addresses_exhausted"
    FUTURE_GENERATION = "future_generation"
    HELD = "held"
    UNKNOWN_SERVER = "unknown_server"


class Refused(DrawbridgeError):
    """The agent understood the command and refuses it; nothing was changed."""

    def __init__(self, kind: RefusalKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class CoreUnreachable(DrawbridgeError):
    """The core did not answer: no connection, no channel, or a reply cut short. Every command may be sent again."""

    retryable = True


class HostKeyMismatch(DrawbridgeError):
    """The core showed another host key than the pinned one: a rebuilt core, or somebody in between."""


class AuthenticationFailed(DrawbridgeError):
    """The core does not take our private key, or what should be one cannot be used as one."""


class AgentFailed(DrawbridgeError):
    """The agent answered that it could not carry the command out; ``retryable`` is its own word."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class CommandFailed(DrawbridgeError):
    """A program exited non-zero; carries the argv without secrets, the exit code and the last ten lines it printed."""

    retryable = True

    def __init__(self, doing: str, program: str, exit_code: int, output: str) -> None:
        self.exit_code = exit_code
        self.tail = "\n".join(output.strip().splitlines()[-10:])
        super().__init__(f"{doing}: {program} exited {exit_code}: {self.tail or 'no output'}")


class RuntimeApiError(DrawbridgeError):
    """HAProxy's runtime API answered something else than success; carries the line sent and the answer."""

    retryable = True

    def __init__(self, doing: str, line: str, answer: str) -> None:
        self.line, self.answer = line, answer
        super().__init__(f"{doing}: HAProxy answered {answer.strip() or 'nothing'!r} to {line!r}")


class UnreadableFacts(DrawbridgeError):
    """A program printed something that its manual does not promise; it is never taken for an empty answer."""

    retryable = True


class FileFailed(DrawbridgeError):
    """A file on the core could not be read or written; the former one is still there."""

    retryable = True


class StateError(DrawbridgeError):
    """The agent's own records are missing, damaged or written by a newer agent; nothing on the core was touched."""


class RecordsLost(StateError):
    """The records are missing or damaged. Only then may others be rebuilt in their place (``core_agent.recovery``)."""


class RecordFailed(StateError):
    """A change could not be made durable, for example on a full disk; nothing is done about it until it is."""

    retryable = True
