"""The codec: what goes out comes back; what else comes in is refused by its field, as a ContractError."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core_agent.contract.codec import (
    COMMANDS,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    REPORTS,
    FailedReply,
    Outcome,
    RefusedReply,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    to_plain,
)
from core_agent.contract.messages import Command, EnrollNode, Seats, SyncFleet
from core_agent.contract.names import GroupName, InstanceId, PublicKey
from core_agent.errors import ContractError
from tests.contract.shapes_of_messages import messages

GOLDEN = Path(__file__).parent / "golden"
KEY = "Cs0Q4XE7Wk9WJ3eE0S+8o5m4cP6p0mX5mI5J2aY0XFE="
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def request(command: str = "SetBurst", body: object = None, **changed: object) -> bytes:
    """Return a request that is right but for what is given."""
    right = {"level_percent": 50, "reason": "test"}
    return json.dumps(
        {"version": 3, "id": "a-1", "command": command, "body": right if body is None else body} | changed
    ).encode()


def sync(**changed: object) -> bytes:
    """Return a request to sync that is right but for what is given."""
    return request("SyncFleet", {"group": "a/b", "generation": 1, "seats": {}} | changed)


def refusal(document: bytes) -> str:
    """Return what the request is refused with."""
    with pytest.raises(ContractError) as caught:
        decode_request(document)
    return str(caught.value)


# --- there and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COMMANDS.values(), ids=COMMANDS)
@relaxed
@given(data=st.data())
def test_every_command_comes_back(kind: type[Command], data: st.DataObject) -> None:
    """Decoding what was encoded gives the same command and the same id."""
    command = data.draw(messages(kind))
    assert decode_request(encode_request(command, request_id="r-1")) == ("r-1", command)


@pytest.mark.parametrize("kind", [*REPORTS.values(), RefusedReply, FailedReply], ids=lambda kind: kind.__name__)
@relaxed
@given(data=st.data())
def test_every_outcome_comes_back(kind: type[Outcome], data: st.DataObject) -> None:
    """Decoding what was encoded gives the same report, refusal or failure."""
    outcome = data.draw(messages(kind))
    assert decode_reply(encode_reply(outcome, request_id="r-1")) == ("r-1", outcome)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_the_documents_of_version_3_stay_as_they_are(path: Path) -> None:
    """Each golden document is read, and written again with the same meaning: an older peer understands it still."""
    document = json.loads(path.read_bytes())
    if "command" in document:
        request_id, command = decode_request(path.read_bytes())
        written = encode_request(command, request_id=request_id)
    else:
        request_id, outcome = decode_reply(path.read_bytes())
        written = encode_reply(outcome, request_id=request_id)
    assert json.loads(written) == document


def test_every_message_has_a_golden_document() -> None:
    """Nobody adds a message to the contract without writing it down."""
    assert {path.stem for path in GOLDEN.glob("*.json")} == {*COMMANDS, *REPORTS, "refused", "failed"}


def test_what_is_not_set_is_not_sent() -> None:
    """An optional field that is None is left out, so a peer without it is not troubled."""
    command = SyncFleet(group=GroupName("eu-north-1/edge"), generation=1, seats=Seats())
    empty: list[str] = []
    seats = {"joining": empty, "serving": empty, "resting": empty, "leaving": empty}
    assert to_plain(command) == {"group": "eu-north-1/edge", "generation": 1, "seats": seats, "gone": []}


def test_the_largest_fleet_fits() -> None:
    """4,000 seats take 22 bytes each, and fit into a request ten times over."""
    seats = Seats(serving=tuple(InstanceId(f"i-{n:017x}") for n in range(4000)))
    document = encode_request(SyncFleet(group=GroupName("a/b"), generation=1, seats=seats), request_id="x")
    assert len(document) < 4000 * 22 + 250 < MAX_REQUEST_BYTES / 10


# --- refused by name ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (request(version=1), r"request.version: wanted 3, found 1"),
        (request(version=True), r"request.version: wanted 3, found True"),
        (request(version=3.0), r"request.version: wanted 3, found 3.0"),
        (request(version="3"), r"request.version: wanted 3, found '3'"),
        (b'{"id": "a"}', r"request.version: wanted 3, found None"),
        (request(id=""), "id: wanted 1 to 64 letters, digits and hyphens, found ''"),
        (request(id=7), "id: wanted 1 to 64 letters, digits and hyphens, found 7"),
        (request(id="a" * 65), "id: wanted 1 to 64"),
        (request(id="a\n"), "id: wanted 1 to 64"),
        (request(command="Reboot"), "request.command: wanted one of SyncFleet, EnrollNode, "),
        (request(command="NodeReport"), "request.command: wanted one of"),
        (request(command=["SetBurst"]), "request.command: wanted one of"),  # type: ignore[arg-type]  # on purpose
        (b'{"version": 3, "id": "a", "body": {}}', "request.command: missing"),
        (b'{"version": 3, "id": "a", "command": "ReadFacts"}', "request.body: missing"),
        (request(sudo=True), "request.sudo: unknown; wanted only body, command, id, version"),
        (request(body=[]), r"SetBurst: wanted named fields, found \[\]"),
        (request(body={"level_percent": 5}), "SetBurst.reason: missing"),
        (
            request(body={"level_percent": 5, "reason": "x", "root": 1}),
            "SetBurst.root: unknown; wanted only by_hand, core_percent",
        ),
        (
            request(body={"level_percent": True, "reason": "x"}),
            "SetBurst.level_percent: wanted a whole number, found True",
        ),
        (
            request(body={"level_percent": 5.0, "reason": "x"}),
            "SetBurst.level_percent: wanted a whole number, found 5.0",
        ),
        (
            request(body={"level_percent": "5", "reason": "x"}),
            "SetBurst.level_percent: wanted a whole number, found '5'",
        ),
        (
            request(body={"level_percent": None, "reason": "x"}),
            "SetBurst.level_percent: wanted a whole number, found N",
        ),
        (
            request(body={"level_percent": 5, "reason": "x", "core_percent": 0}),
            "SetBurst.core_percent: wanted 1 to 100",
        ),
        (
            request("SetCapacity", {"server": "i-1", "slots": 5, "reason": "x"}),
            "SetCapacity.server: wanted a core serv",
        ),
        (
            request("SetCapacity", {"server": "a b", "slots": 5, "reason": "x"}),
            "SetCapacity.server: wanted a core serv",
        ),
        (request("SetCapacity", {"server": "a", "slots": 0, "reason": "x"}), "SetCapacity.slots: wanted 1 to 100000"),
        (request("SetCapacity", {"server": "a", "slots": "5", "reason": "x"}), "SetCapacity.slots: wanted a whole"),
        (request("ReadTelemetry", {"window_s": 301}), "ReadTelemetry.window_s: wanted 1 to 300, found 301"),
        (request("ReadTelemetry", {}), "ReadTelemetry.window_s: missing"),
        (request(body={"level_percent": 101, "reason": "x"}), "SetBurst.level_percent: wanted 0 to 100, found 101"),
        (request(body={"level_percent": -1, "reason": "x"}), "SetBurst.level_percent: wanted 0 to 100, found -1"),
        (request(body={"level_percent": 10**400, "reason": "x"}), "SetBurst.level_percent: wanted 0 to 100, found 100"),
        (request(body={"level_percent": 5, "reason": ["x"]}), "SetBurst.reason: wanted a string, found"),
        (request(body={"level_percent": 5, "reason": "a\nb"}), r"SetBurst.reason: wanted a reason: .* found 'a\\nb'"),
        (request(body={"level_percent": 5, "reason": "\ud800"}), r"SetBurst.reason: wanted a reason: .* '\\ud800'"),
        (sync(seats={"up": ["i-1"]}), "SyncFleet.seats.up: unknown; wanted only joining, leaving, resting, serving"),
        (sync(seats=[]), r"SyncFleet.seats: wanted named fields, found \[\]"),
        (sync(seats={"serving": {}}), r"SyncFleet.seats.serving: wanted a list, found \{\}"),
        (sync(seats={"serving": "i-1"}), "SyncFleet.seats.serving: wanted a list, found 'i-1'"),
        (sync(seats={"serving": ["i-1", 7]}), r"SyncFleet.seats.serving\[1\]: wanted a string, found 7"),
        (sync(seats={"serving": ["i-1", None]}), r"SyncFleet.seats.serving\[1\]: wanted a string, found None"),
        (sync(seats={"serving": ["i-1", ""]}), r"SyncFleet.seats.serving\[1\]: wanted an instance id: .*, found ''"),
        (sync(seats={"leaving": ["i-1", "i-2\ni-3"]}), r"SyncFleet.seats.leaving\[1\]: wanted an .* 'i-2\\ni-3'"),
        (
            sync(seats={"leaving": ["i-1\n"]}),
            r"SyncFleet.seats.leaving\[0\]: wanted an instance id: .*, found 'i-1\\n'",
        ),
        (sync(seats={"serving": ["i-1", "i-2", "i-1"]}), "SyncFleet.seats: wanted one seat for .*, found 2 for i-1"),
        (sync(seats={"joining": ["i-1"], "leaving": ["i-1"]}), "SyncFleet.seats: wanted one seat .*, found 2 for i-1"),
        (sync(generation=2**53 + 1), "SyncFleet.generation: wanted 0 to"),
        (sync(group="b"), "SyncFleet.group: wanted a group as REGION/NA"),
        (sync(gone=["i-1", "; rm"]), r"SyncFleet.gone\[1\]: wanted an instance id"),
        (
            request("EnrollNode", {"instance": "i-1", "public_key": "no"}),
            "EnrollNode.public_key: wanted a WireGuard publ",
        ),
    ],
)
def test_what_is_not_the_contract_is_refused_by_its_field(document: bytes, message: str) -> None:
    """Every refusal names the field, what was wanted and what was found."""
    with pytest.raises(ContractError, match=message):
        decode_request(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "wanted one JSON document"),
        (b"{}{}", "wanted one JSON document, found Extra data at character 2"),
        (b"[]", r"request: wanted a JSON object, found \[\]"),
        (b"null", "request: wanted a JSON object, found None"),
        (b'{"version": NaN}', "wanted finite numbers, found NaN"),
        (b'{"version": -Infinity}', "wanted finite numbers, found -Infinity"),
        (b'{"version": 3, "version": 1}', "wanted each key once"),
        (b'{"version": 3, "body": {"a": 1, "a": 2}}', "wanted each key once"),
        (b'{"version": 3, "id": "\xff"}', "wanted JSON in UTF-8"),
        (b'{"version": 3, "id": "\xed\xa0\x80"}', "wanted JSON in UTF-8"),
        ('{"version": 3}'.encode("utf-16"), "wanted JSON in UTF-8"),
        ('{"version": 3}'.encode("utf-16-le"), "wanted one JSON document"),
        ('{"version": 3}'.encode("utf-32-be"), "wanted one JSON document"),
        (b"\xef\xbb\xbf" + request(), "wanted one JSON document, found Expecting value at character 0"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"version": ' + b"9" * 5000 + b"}", "wanted one JSON document, found Exceeds the limit"),
        (b" " * (MAX_REQUEST_BYTES + 1), f"request: wanted at most {MAX_REQUEST_BYTES} bytes"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_what_is_no_document_is_refused(document: bytes, message: str) -> None:
    """Bytes that are not one strict JSON object in UTF-8, of a bearable size and depth, go no further."""
    with pytest.raises(ContractError, match=message):
        decode_request(document)


def test_a_document_nested_almost_too_deeply_is_refused_like_any_other() -> None:
    """A value that can just be parsed is not too deep to be shown in the error."""
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit() + 10):
        column = b"[" * depth + b"]" * depth
        body = b'{"group":"a/b","generation":1,"seats":{"joining":' + column + b"}}"
        said = refusal(b'{"version":3,"id":"a","command":"SyncFleet","body":' + body + b"}")
        assert "seats.joining[0]: wanted" in said or "nested too deeply" in said


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b'{"version":1,"id":"a","report":"BurstReport","body":{}}', "reply.version: wanted 3, found 1"),
        (b'{"version":3,"id":"a","report":"Nothing","body":{}}', "reply.report: wanted one of FleetReport, "),
        (b'{"version":3,"id":"a","report":"BurstReport"}', "reply.body: missing"),
        (b'{"version":3,"id":"a","body":{}}', "reply.report: missing"),
        (b'{"version":3,"id":"a","refused":{"kind":"no","message":""}}', "refused.kind: wanted one of not_seated, "),
        (b'{"version":3,"id":"a","refused":{"kind":"held","message":""},"body":{}}', "reply.body: unknown"),
        (
            b'{"version":3,"id":"a","failed":{"message":"x","retryable":1}}',
            "failed.retryable: wanted true or false, found 1",
        ),
        (
            b'{"version":3,"id":"a","failed":{"message":"\\ud800","retryable":true}}',
            r"failed.message: wanted a string, ",
        ),
        (b'{"version":3,"id":"a","failed":{},"refused":{}}', "reply.failed: unknown"),
        (b" " * (MAX_REPLY_BYTES + 1), f"reply: wanted at most {MAX_REPLY_BYTES} bytes"),
    ],
    ids=lambda value: value[:60] if isinstance(value, bytes) else "",
)
def test_a_reply_is_read_as_strictly(document: bytes, message: str) -> None:
    """The client refuses what is not the contract, in the same words."""
    with pytest.raises(ContractError, match=message):
        decode_reply(document)


def test_what_is_too_large_is_not_sent() -> None:
    """A document that the other side would refuse for its size is refused where it is made."""
    seats = Seats(serving=tuple(InstanceId(f"i-{n:017x}") for n in range(50_000)))
    with pytest.raises(ContractError, match="request: wanted at most 1048576 bytes"):
        encode_request(SyncFleet(group=GroupName("a/b"), generation=1, seats=seats), request_id="x")
    with pytest.raises(ContractError, match="reply: wanted at most 8388608 bytes"):
        encode_reply(FailedReply(message="x" * (MAX_REPLY_BYTES + 1), retryable=True), request_id="x")


def test_text_that_utf8_cannot_carry_is_not_sent() -> None:
    """Half a surrogate pair, as a file name decoded with surrogateescape has it, is refused where it is made."""
    with pytest.raises(ContractError, match=r"reply: wanted text that UTF-8 can carry, found '\\udcff'"):
        encode_reply(FailedReply(message="reading \udcff", retryable=True), request_id="x")


# --- whatever comes -------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def only_contract_errors(document: bytes) -> None:
    """Decode ``document`` both ways; anything but success or ContractError is a failure."""
    for decode in (decode_request, decode_reply):
        with contextlib.suppress(ContractError):
            decode(document)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_one_way(document: bytes) -> None:
    """No bytes whatever raise anything but ContractError."""
    only_contract_errors(document)


@settings(max_examples=200, deadline=None)
@given(command=st.sampled_from([*COMMANDS, *REPORTS]), body=_JSON, key=st.sampled_from(["command", "report"]))
def test_any_body_is_refused_in_one_way(command: str, body: object, key: str) -> None:
    """A right envelope around any JSON raises nothing but ContractError."""
    only_contract_errors(
        json.dumps({"version": 3, "id": "a", key: command, "body": body}).encode(errors="surrogatepass")
    )


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_is_refused_in_one_way(data: st.DataObject) -> None:
    """A right request with any field replaced by any JSON is the contract still, or a ContractError."""
    kind = data.draw(st.sampled_from(list(COMMANDS.values())))
    plain = to_plain(data.draw(messages(kind)))
    if plain:
        plain[data.draw(st.sampled_from(sorted(plain)))] = data.draw(_JSON)
    document = {"version": 3, "id": "a", "command": kind.__name__, "body": plain}
    only_contract_errors(json.dumps(document).encode())


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_cut_is_refused(data: st.DataObject) -> None:
    """A request cut short anywhere is never taken for another request."""
    kind = data.draw(st.sampled_from(list(COMMANDS.values())))
    whole = encode_request(data.draw(messages(kind)), request_id="a")
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ContractError):
        decode_request(whole[:at])


def test_a_key_that_decodes_is_a_key() -> None:
    """What is decoded has the contract's types, not mere strings."""
    _, command = decode_request(request("EnrollNode", {"instance": "i-1", "public_key": KEY}))
    assert isinstance(command, EnrollNode)
    assert (type(command.instance), type(command.public_key)) == (InstanceId, PublicKey)


def test_messages_are_told_apart_by_name_alone() -> None:
    """The tables of commands and reports hold every member of the two unions."""
    commands = "SyncFleet EnrollNode ActivateNode SetBurst SetCapacity HoldNode ReadFacts ReadTelemetry"
    assert set(COMMANDS) == set(commands.split())
    reports = "FleetReport TunnelReport NodeReport BurstReport CoreServerReport FactsReport TelemetryReport"
    assert set(REPORTS) == set(reports.split())
