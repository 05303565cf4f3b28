"""The table of every event that is understood; it must not know what any of them leads to."""

from __future__ import annotations

from collections.abc import Callable

from core_agent.contract.names import shown
from lambdas.errors import ForeignEvent
from lambdas.events import again, alarm, envelope, fields, interruption, lifecycle, peak, rebalance, sweep
from lambdas.events.again import LookAgain
from lambdas.events.alarm import AlarmChange
from lambdas.events.envelope import Ignored, Metadata
from lambdas.events.fields import Fields
from lambdas.events.interruption import SpotInterruption
from lambdas.events.lifecycle import LifecycleAction
from lambdas.events.peak import PeakChange
from lambdas.events.rebalance import RebalanceRecommendation
from lambdas.events.sweep import Sweep

Event = LifecycleAction | SpotInterruption | RebalanceRecommendation | AlarmChange | PeakChange | Sweep | LookAgain

_PARSERS: dict[tuple[str, str], Callable[[Metadata, Fields], Event]] = {
    (lifecycle.SOURCE, lifecycle.LAUNCH): lifecycle.parse,
    (lifecycle.SOURCE, lifecycle.TERMINATE): lifecycle.parse,
    (interruption.SOURCE, interruption.DETAIL_TYPE): interruption.parse,
    (rebalance.SOURCE, rebalance.DETAIL_TYPE): rebalance.parse,
    (alarm.SOURCE, alarm.DETAIL_TYPE): alarm.parse,
    (peak.SOURCE, peak.DETAIL_TYPE): peak.parse,
    (sweep.SOURCE, sweep.DETAIL_TYPE): sweep.parse,
    (again.SOURCE, again.DETAIL_TYPE): again.parse,
}


def parse(text: str | bytes, *, account: str, region: str) -> Event | Ignored:
    """Return the event in a message's body, or why there is nothing in it to act on.

    Raises ``ContractError`` naming the field when an event of a known kind is malformed, ``ForeignEvent`` when it
    belongs to another account or region than ours.
    """
    event = fields.document(text, "event")
    if event.get("Event") == envelope.TEST_NOTIFICATION:
        found = envelope.notification_metadata(event)
        _refuse_foreign(found, account, region)
        return Ignored(reason="Auto Scaling tests whether its notifications arrive", metadata=found)
    found = envelope.metadata(event)
    _refuse_foreign(found, account, region)
    parser = _PARSERS.get((found.source, found.detail_type))
    if parser is None:
        return Ignored(reason=f"no parser for {shown(found.detail_type)} from {shown(found.source)}", metadata=found)
    return parser(found, fields.member(event, "detail", "event"))


def _refuse_foreign(found: Metadata, account: str, region: str) -> None:
    if (found.account, found.region) != (account, region):
        raise ForeignEvent(
            f"reading {shown(found.detail_type)}: wanted one of account {account} in {region}, "
            f"found {shown(found.account)} in {shown(found.region)}"
        )
