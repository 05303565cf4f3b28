"""What a look at the group saw and did, for a person; it must not look itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core_agent.contract.messages import FleetReport
from operator_view.nodes import nodes

if TYPE_CHECKING:
    from lambdas.look import Look


def synced(seen: Look) -> str:
    """Return the lines of ``fab sync``, the nodes in motion last."""
    return "\n".join(_lines(seen))


def emptied(report: FleetReport) -> str:
    """Return the lines of ``fab sync --group``: what is still to go, phase by phase."""
    if not report.applied:
        return f"{report.group}: not applied, a later look was there before: generation {report.generation}"
    told = f"{report.group}: AWS has no such group; emptied at generation {report.generation}"
    return f"{told}\n{nodes(report.nodes)}" if report.nodes else f"{told}, no node was left to drain"


def _lines(seen: Look) -> Iterator[str]:
    yield f"{len(seen.seats)} seats at generation {seen.generation}" + ("" if seen.applied else ", not applied: older")
    for instance, hook in seen.completed:
        yield f"{instance}: {hook} hook completed"
    for instance in seen.leaving:
        yield f"{instance}: AWS waits for it to be drained"
    for instance in seen.kept:
        yield f"{instance}: has no seat, and AWS does not disown it: kept; --override lets it go"
    for instance in seen.elsewhere:
        yield f"{instance}: another group still holds it on the core: left out until that group lets it go"
    if seen.nodes:
        yield nodes(seen.nodes)
