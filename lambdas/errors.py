"""What can go wrong between the Lambdas and AWS, on the tree of ``core_agent.errors``; it must not know boto3.

DrawbridgeError                    retryable: can the same message succeed later, unchanged?
├── VariableError            no    the function's environment lacks a variable or holds a broken one
├── ForeignEvent             no    an event of another account, region, alarm, metric or peak
├── GroupMissing             no    AWS knows no group of that name; never the same as an empty group
├── AlarmMissing             no    AWS knows no alarm of that name; never the same as one that does not ring
├── GroupExists              no    AWS still has the group that was to be emptied because it is lost
├── GroupUnknown             no    the core has never heard of the group that was to be emptied
├── WrongAccount             no    the credentials are for another account than drawbridge.toml's
├── UnknownState             yes   a lifecycle state that this version does not know: it may pass, or a new one knows
├── CloudBusy                yes   AWS throttled, failed or could not be reached
├── CloudRefused             no    AWS understood and refuses: a missing permission, a parameter it does not accept
└── RequestRefused           no    a request to the function URL; carries the HTTP status
    ├── Forbidden            403   the caller is no instance of ours
    ├── PathUnknown          404
    ├── MethodRefused        405
    └── BodyTooLarge         413
"""

from __future__ import annotations

from typing import ClassVar

from core_agent.errors import DrawbridgeError


class VariableError(DrawbridgeError):
    """The function's environment lacks a variable or holds a broken one; the message names it."""


class ForeignEvent(DrawbridgeError):
    """An event of another account, region, alarm, metric or peak than the ones that are ours."""


class GroupMissing(DrawbridgeError):
    """AWS knows no group of that name. Never taken for an empty one: that would remove every node."""


class AlarmMissing(DrawbridgeError):
    """AWS knows no alarm of that name. Never taken for a quiet one: that would read as no load."""


class GroupExists(DrawbridgeError):
    """AWS still has the group that an operator took for lost; its nodes leave as the group says."""


class GroupUnknown(DrawbridgeError):
    """The core has never heard of a group of that name; the message says which ones it knows."""


class WrongAccount(DrawbridgeError):
    """The credentials are for another account than the settings' own, where nothing of ours is."""


class UnknownState(DrawbridgeError):
    """AWS reported a lifecycle state that this version does not know; nothing is guessed from it."""

    retryable = True


class CloudBusy(DrawbridgeError):
    """AWS throttled, failed or could not be reached; says what was being done and AWS's code."""

    retryable = True


class CloudRefused(DrawbridgeError):
    """AWS understood and refuses; says what was being done and AWS's code."""


class RequestRefused(DrawbridgeError):
    """A request to the function URL that is not carried out."""

    status: ClassVar[int] = 400


class Forbidden(RequestRefused):
    """The caller is not an instance of our role, or not of our group."""

    status = 403


class PathUnknown(RequestRefused):
    """The function URL has no such path."""

    status = 404


class MethodRefused(RequestRefused):
    """The path exists and takes another method."""

    status = 405


class BodyTooLarge(RequestRefused):
    """More bytes than any honest request needs."""

    status = 413
