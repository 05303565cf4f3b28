"""The Fabric side: commands to one core, its reports back, many over one kept channel; it knows nothing of SSH's ways.

Fabric opens the connection; requests travel over a channel of their own, because ``Connection.run(in_stream=…)`` moves
one byte per 10 ms. Every command may be sent twice (``connection``, rule 2), which the contract allows.
"""

from __future__ import annotations

import json
import typing
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from core_agent.client.connection import Connection
from core_agent.client.keys import load_private_key, pinned
from core_agent.contract.codec import FailedReply, RefusedReply, decode_reply, encode_request
from core_agent.contract.messages import (
    ActivateNode,
    BurstReport,
    Command,
    CoreServerReport,
    EnrollNode,
    FactsReport,
    FleetReport,
    HoldNode,
    NodeReport,
    ReadFacts,
    ReadTelemetry,
    Report,
    SetBurst,
    SetCapacity,
    SyncFleet,
    TelemetryReport,
    TunnelReport,
)
from core_agent.contract.names import shown
from core_agent.errors import AgentFailed, ContractError, CoreUnreachable, DrawbridgeError, Refused

__all__ = ["ANSWERS", "CoreClient", "load_private_key"]

ANSWERS: dict[type[Command], type[Report]] = {
    SyncFleet: FleetReport,
    EnrollNode: TunnelReport,
    ActivateNode: NodeReport,
    HoldNode: NodeReport,
    SetBurst: BurstReport,
    SetCapacity: CoreServerReport,
    ReadFacts: FactsReport,
    ReadTelemetry: TelemetryReport,
}


class CoreClient:
    """Sends commands to one core and returns its reports. For one thread at a time; ``close()`` may come from any.

    ``host_key`` is the pinned key as ``ssh-ed25519 AAAA…``; ``private_key`` is the OpenSSH text itself (``str``) or a
    file that holds it (``Path``). Nothing is dialled before the first request. Raises ``SettingsError`` for a host key
    and ``AuthenticationFailed`` for a private key that cannot be used, without showing the latter. ``where`` is
    ``HOST:PORT``, for messages. ``reply_timeout_s`` is from the call to the last report, dialling included.
    """

    def __init__(
        self,
        host: str,
        port: int,
        user: str,
        host_key: str,
        private_key: str | Path,
        *,
        connect_timeout_s: float = 5,
        reply_timeout_s: float = 20,
    ) -> None:
        keys = (pinned(host_key), load_private_key(private_key))
        self._connection = Connection(host, port, user, *keys, timeout_s=connect_timeout_s)
        self._reply_timeout_s = reply_timeout_s
        self.where = self._connection.where

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @typing.overload
    def request(self, command: SyncFleet) -> FleetReport: ...
    @typing.overload
    def request(self, command: EnrollNode) -> TunnelReport: ...
    @typing.overload
    def request(self, command: ActivateNode | HoldNode) -> NodeReport: ...
    @typing.overload
    def request(self, command: SetBurst) -> BurstReport: ...
    @typing.overload
    def request(self, command: SetCapacity) -> CoreServerReport: ...
    @typing.overload
    def request(self, command: ReadFacts) -> FactsReport: ...
    @typing.overload
    def request(self, command: ReadTelemetry) -> TelemetryReport: ...
    @typing.overload
    def request(self, command: Command) -> Report: ...

    def request(self, command: Command) -> Report:
        """Send ``command`` and return its report.

        Raises ``Refused`` or ``AgentFailed`` when the agent says so; ``CoreUnreachable``, ``HostKeyMismatch`` or
        ``AuthenticationFailed`` when it was not reached; ``ContractError`` when it answered something else.
        """
        (outcome,) = self.request_all((command,))
        if isinstance(outcome, DrawbridgeError):
            raise outcome
        return outcome

    def request_all(self, commands: Sequence[Command]) -> list[Report | DrawbridgeError]:
        """Send ``commands`` without waiting for one before the next, and return what came of each, in their order.

        ``Refused`` and ``AgentFailed`` stand in the list; everything else is raised as by ``request``, and then any of
        the commands may have been carried out.
        """
        if not commands:
            return []
        ids = [str(uuid.uuid4()) for _ in commands]
        documents = [encode_request(command, request_id=name) for command, name in zip(commands, ids, strict=True)]
        replies = self._connection.exchange(documents, within_s=self._reply_timeout_s)
        try:
            return [
                self._outcome(reply, name, ANSWERS[type(command)])
                for reply, name, command in zip(replies, ids, commands, strict=True)
            ]
        except DrawbridgeError:
            self._connection.close_channel()
            raise

    def close(self) -> None:
        """Hang up; the next request dials again."""
        self._connection.close()

    def _outcome(self, reply: bytes, request_id: str, wanted: type[Report]) -> Report | Refused | AgentFailed:
        try:
            answered_id, outcome = decode_reply(reply)
        except ContractError:
            if _is_json(reply):
                raise
            raise CoreUnreachable(
                f"asking {self.where}: wanted one JSON document, found {shown(reply[:80])} ({len(reply)} bytes): "
                "cut short, or not from the agent"
            ) from None
        if answered_id != request_id:
            told = f": {outcome.message}" if isinstance(outcome, RefusedReply | FailedReply) else ""
            raise ContractError(f"reply.id: wanted {request_id}, found {answered_id}{told}")
        match outcome:
            case RefusedReply():
                return Refused(outcome.kind, outcome.message)
            case FailedReply():
                return AgentFailed(outcome.message, retryable=outcome.retryable)
            case _ if not isinstance(outcome, wanted):
                raise ContractError(f"reply.report: wanted {wanted.__name__}, found {type(outcome).__name__}")
        return outcome


def _is_json(document: bytes) -> bool:
    try:
        json.loads(document.decode())
    except (ValueError, RecursionError):
        return False
    return True
