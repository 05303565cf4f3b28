"""The ``enroll`` function: a node asks for its tunnel and says when it is ready; it must not believe who it says it is.

| asked | answered |
| --- | --- |
| ``POST /enroll`` ``{"public_key": …}`` | 200 and a ``TunnelReport`` |
| ``POST /ready`` ``{}`` | 200 ``{"phase": "active"}``, or 202 ``{"phase": …, "waiting_for": …}``: ask again |
| anything else | ``{"error": …, "retryable": …}`` and 400, 403, 404, 405, 409, 413, 500 or 503 |

A 409 carries a ``kind`` too; ``unknown_node`` and ``not_enrolled`` at ``/ready`` mean: enroll again, then ask again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from core_agent.contract.codec import to_plain
from core_agent.contract.messages import ActivateNode, EnrollNode, Hold, Lifecycle, NodeReport, Phase, TunnelReport
from core_agent.contract.names import InstanceId
from core_agent.errors import ContractError, DrawbridgeError, RefusalKind, Refused
from lambdas import environment
from lambdas.clock import now_ms
from lambdas.cloud import Cloud, Membership
from lambdas.core import Core, WarmCore, ask
from lambdas.environment import Place
from lambdas.errors import Forbidden, RequestRefused
from lambdas.events.request import Enroll, Ready, parse
from lambdas.look import Cloud as LookCloud
from lambdas.look import look
from lambdas.states import NOT_YET_HELD, lifecycle, released

logger = Logger()

_RETRY_AFTER_S = 5
# The first two heal by time, the others when the node enrolls again before it asks again.
_ASK_AGAIN = frozenset(
    {
        RefusalKind.NOT_SEATED,
        RefusalKind.ADDRESSES_EXHAUSTED,
        RefusalKind.UNKNOWN_NODE,
        RefusalKind.NOT_ENROLLED,
    }
)

Answer = dict[str, Any]


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> Answer:  # noqa: ARG001  # Powertools'
    """Answer one request of the function URL."""
    warm = _warm()
    return Desk(warm.place, cloud=warm.cloud, core=warm.core, now_ms=now_ms).answer(event)


class EnrollCloud(LookCloud, Protocol):
    """What this function asks of AWS; ``lambdas.cloud.Cloud`` says what it means."""

    def membership(self, instance: InstanceId) -> Membership | None:
        """Return the group that the instance belongs to."""
        ...


class Desk:
    """Where nodes report. Everything it grants was first confirmed by IAM (who) and by the group (whether)."""

    def __init__(self, place: Place, *, cloud: EnrollCloud, core: Core, now_ms: Callable[[], int]) -> None:
        self._place = place
        self._cloud = cloud
        self._core = core
        self._now_ms = now_ms

    def answer(self, event: Mapping[str, Any]) -> Answer:
        """Return the response for ``event``; raises nothing but bugs."""
        try:
            request = parse(event, account=self._place.account, role=self._place.node_role)
        except RequestRefused as error:
            return _error(error.status, error)
        except ContractError as error:
            return _error(400, error)
        try:
            return self._granted(request)
        except RequestRefused as error:
            return _error(error.status, error)
        except Refused as error:
            return _error(409, error, retryable=error.kind in _ASK_AGAIN, kind=error.kind)
        except DrawbridgeError as error:
            return _error(503 if error.retryable else 500, error)

    def _granted(self, request: Enroll | Ready) -> Answer:
        member = self._member(request.instance)
        if lifecycle(member.state) is Lifecycle.LEAVING:
            doing = f"admitting {request.instance}"
            raise Refused(RefusalKind.LEAVING, f"{doing}: wanted an instance that stays, found it {member.state}")
        match request:
            case Enroll():
                return self._enroll(request)
            case Ready():
                return self._ready(request, member)

    def _member(self, instance: InstanceId) -> Membership:
        member = self._cloud.membership(instance)
        if member is None or member.group != self._place.group.name:
            found = "in no group" if member is None else f"in {member.group}"
            raise Forbidden(f"admitting {instance}: wanted a member of {self._place.group.name}, found it {found}")
        return member

    def _enroll(self, request: Enroll) -> Answer:
        command = EnrollNode(instance=request.instance, public_key=request.public_key)
        try:
            tunnel = ask(self._core, command, TunnelReport)
        except Refused as error:
            if error.kind is not RefusalKind.NOT_SEATED:
                raise
            # The node was faster than its own lifecycle event: see to the seat, then ask once more.
            seen = look(self._place.group, cloud=self._cloud, core=self._core, now_ms=self._now_ms)
            for failure in seen.failed:
                logger.warning("something was left undone", extra={"reason": str(failure)})
            tunnel = ask(self._core, command, TunnelReport)
        logger.info("enrolled", extra={"instance": request.instance, "public_key": request.public_key})
        return _response(200, to_plain(tunnel))

    def _ready(self, request: Ready, member: Membership) -> Answer:
        node = ask(self._core, ActivateNode(instance=request.instance), NodeReport)
        if member.state in NOT_YET_HELD:
            return _waiting(node, "lifecycle hook")
        group = self._place.group
        for hook in released(member.state, node.phase, node.connections):
            self._cloud.complete(group=group.name, hook=group.hook_name(hook), instance=request.instance)
        if node.phase is Phase.ACTIVE and lifecycle(member.state) is not Lifecycle.RESTING:
            logger.info("ready", extra={"instance": request.instance, "state": member.state})
            return _response(200, {"phase": node.phase})
        return _waiting(node, _waits_for(node, lifecycle(member.state)))


def _waits_for(node: NodeReport, standing: Lifecycle) -> str:
    """Say in words what keeps ``node`` from being active."""
    if node.hold is not Hold.NONE:
        return "operator's hold"
    if standing is Lifecycle.RESTING:
        return "group to put it in service"
    if node.handshake_age_s is None:
        return "handshake"
    if "OK" not in node.check:
        return "health check"
    return "core to open it"


def _waiting(node: NodeReport, waiting_for: str) -> Answer:
    logger.info("not ready", extra={"instance": node.instance, "phase": node.phase, "waiting_for": waiting_for})
    return _response(202, {"phase": node.phase, "waiting_for": waiting_for})


def _error(status: int, error: DrawbridgeError, *, retryable: bool | None = None, **more: str) -> Answer:
    logger.warning("refused", extra={"status": status, "error": type(error).__name__, "reason": str(error)})
    # What failed on our side of the door is for our log, not for whoever knocks.
    text = str(error) if status < 500 else f"the other side could not carry it out ({type(error).__name__})"
    again = error.retryable if retryable is None else retryable
    return _response(status, {"error": text, "retryable": again, **more})


def _response(status: int, body: Mapping[str, object]) -> Answer:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    if status == 503:
        headers["Retry-After"] = str(_RETRY_AFTER_S)
    if status == 405:
        headers["Allow"] = "POST"
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Warm:
    """What one container keeps from invocation to invocation."""

    place: Place
    cloud: Cloud
    core: WarmCore


@cache
def _warm() -> _Warm:
    place = environment.place(os.environ)
    cloud = Cloud(region=place.region)
    return _Warm(place=place, cloud=cloud, core=WarmCore(place.core, cloud.private_key))
