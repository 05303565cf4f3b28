"""JSON to message and back, strictly; it knows dataclasses and nothing of any particular message's meaning.

One document per request and per reply::

    {"version": 3, "id": "…", "command": "EnrollNode", "body": {…}}
    {"version": 3, "id": "…", "report": "TunnelReport", "body": {…}}
    {"version": 3, "id": "…", "refused": {"kind": "not_seated", "message": "…"}}
    {"version": 3, "id": "…", "failed": {"message": "…", "retryable": true}}

Rule 1: what is not asked for is refused: unknown fields, other types (``true`` is no integer), NaN, doubled keys.
Rule 2: every refusal is a ``ContractError`` naming the field, what was wanted and what was found.
Rule 3: ``decode(encode(message)) == message``.
"""

from __future__ import annotations

import json
import re
import typing
from dataclasses import dataclass

from core_agent.contract.messages import Command, Report
from core_agent.contract.names import shown
from core_agent.contract.plain import plain
from core_agent.contract.shapes import build, refuse_unknown
from core_agent.errors import ContractError, RefusalKind

VERSION = 3  # 1 sent the seats one by one; 2 knew neither the core's share and slots nor telemetry
MAX_REQUEST_BYTES = 1 << 20  # 4,000 seats need 87 KiB
MAX_REPLY_BYTES = 8 << 20  # the facts of 4,000 nodes need about 1 MiB
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)

COMMANDS: dict[str, type[Command]] = {kind.__name__: kind for kind in typing.get_args(Command)}
REPORTS: dict[str, type[Report]] = {kind.__name__: kind for kind in typing.get_args(Report)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedReply:
    """The agent understood and will not; sending the same again will not help."""

    kind: RefusalKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedReply:
    """The agent could not: the document was broken (not retryable) or something on the core failed."""

    message: str
    retryable: bool


Outcome = Report | RefusedReply | FailedReply


def encode_request(command: Command, *, request_id: str) -> bytes:
    """Return ``command`` as one JSON document; raises ``ContractError`` when it is too large to be accepted."""
    document = {"version": VERSION, "id": request_id, "command": type(command).__name__, "body": plain(command)}
    return _dump(document, MAX_REQUEST_BYTES, "request")


def decode_request(document: bytes) -> tuple[str, Command]:
    """Return the request's id and its command, or raise ``ContractError``."""
    fields = _envelope(document, MAX_REQUEST_BYTES, "request")
    request_id = _request_id(fields)
    refuse_unknown(fields, {"version", "id", "command", "body"}, "request")
    name = _member(fields, "command", "request")
    if not isinstance(name, str) or (kind := COMMANDS.get(name)) is None:
        raise ContractError(f"request.command: wanted one of {', '.join(COMMANDS)}, found {shown(name)}")
    return request_id, build(kind, _member(fields, "body", "request"), name)


def encode_reply(outcome: Outcome, *, request_id: str) -> bytes:
    """Return a report, a refusal or a failure as one JSON document."""
    document: dict[str, object] = {"version": VERSION, "id": request_id}
    match outcome:
        case RefusedReply():
            document["refused"] = plain(outcome)
        case FailedReply():
            document["failed"] = plain(outcome)
        case _:
            document |= {"report": type(outcome).__name__, "body": plain(outcome)}
    return _dump(document, MAX_REPLY_BYTES, "reply")


def decode_reply(document: bytes) -> tuple[str, Outcome]:
    """Return the id that is answered and what came back, or raise ``ContractError``."""
    fields = _envelope(document, MAX_REPLY_BYTES, "reply")
    request_id = _request_id(fields)
    if "refused" in fields:
        refuse_unknown(fields, {"version", "id", "refused"}, "reply")
        return request_id, build(RefusedReply, fields["refused"], "refused")
    if "failed" in fields:
        refuse_unknown(fields, {"version", "id", "failed"}, "reply")
        return request_id, build(FailedReply, fields["failed"], "failed")
    refuse_unknown(fields, {"version", "id", "report", "body"}, "reply")
    name = _member(fields, "report", "reply")
    if not isinstance(name, str) or (kind := REPORTS.get(name)) is None:
        raise ContractError(f"reply.report: wanted one of {', '.join(REPORTS)}, found {shown(name)}")
    return request_id, build(kind, _member(fields, "body", "reply"), name)


def to_plain(message: Command | Report) -> dict[str, object]:
    """Return a message as JSON-ready data, for a person's ``--json``."""
    return plain(message)


# --- envelope -------------------------------------------------------------------------------------------------------


def _dump(document: dict[str, object], limit: int, what: str) -> bytes:
    try:
        data = _JSON.encode(document).encode()
    except UnicodeEncodeError as error:
        found = shown(error.object[error.start : error.end])
        raise ContractError(f"{what}: wanted text that UTF-8 can carry, found {found}") from None
    if len(data) > limit:
        raise ContractError(f"{what}: wanted at most {limit} bytes, found {len(data)}")
    return data


def _envelope(document: bytes, limit: int, what: str) -> dict[str, object]:
    if len(document) > limit:
        raise ContractError(f"{what}: wanted at most {limit} bytes, found more")
    try:
        # Decoded here, because json.loads would guess UTF-16 and UTF-32 and let surrogates pass.
        fields = _STRICT.decode(document.decode())
    except UnicodeDecodeError as error:
        raise ContractError(f"{what}: wanted JSON in UTF-8, found a byte that is not ({error.reason})") from None
    except json.JSONDecodeError as error:
        raise ContractError(f"{what}: wanted one JSON document, found {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ContractError(f"{what}: wanted one JSON document, found one nested too deeply") from None
    except ValueError as error:
        raise ContractError(f"{what}: wanted one JSON document, found {error}") from None
    if not isinstance(fields, dict):
        raise ContractError(f"{what}: wanted a JSON object, found {shown(fields)}")
    version = fields.get("version")
    if type(version) is not int or version != VERSION:
        raise ContractError(f"{what}.version: wanted {VERSION}, found {shown(version)}")
    return fields


def _no_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ContractError(f"document: wanted each key once, found one twice among {shown([k for k, _ in pairs])}")
    return fields


def _no_constant(word: str) -> object:
    raise ContractError(f"document: wanted finite numbers, found {word}")


_STRICT = json.JSONDecoder(object_pairs_hook=_no_doubles, parse_constant=_no_constant)


def _request_id(fields: dict[str, object]) -> str:
    request_id = fields.get("id")
    if not isinstance(request_id, str) or _ID.fullmatch(request_id) is None:
        raise ContractError(f"id: wanted 1 to 64 letters, digits and hyphens, found {shown(request_id)}")
    return request_id


def _member(fields: dict[str, object], name: str, where: str) -> object:
    if name not in fields:
        raise ContractError(f"{where}.{name}: missing")
    return fields[name]
