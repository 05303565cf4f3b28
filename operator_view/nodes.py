"""The nodes as a table whose columns line up; it must not know which nodes are worth showing."""

from __future__ import annotations

from collections.abc import Iterable

from core_agent.contract.messages import Hold, NodeReport

_NOTHING = "-"
_HEADINGS = (
    "INSTANCE",
    "PHASE",
    "WAITED",
    "LIFECYCLE",
    "HOLD",
    "ADDRESS",
    "HANDSHAKE",
    "SERVER",
    "CHECK",
    "WEIGHT",
    "CONNS",
)
_NUMBERS = frozenset({"WAITED", "HANDSHAKE", "WEIGHT", "CONNS"})


def nodes(reports: Iterable[NodeReport]) -> str:
    """Return a heading and one line per node, sorted by instance; numbers to the right."""
    rows = [_HEADINGS, *(_row(report) for report in sorted(reports, key=lambda report: report.instance))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join(_line(row, widths) for row in rows)


def duration(seconds: int) -> str:
    """Return ``seconds`` in the unit that a person would choose: ``45s``, ``3m``, ``2h``, ``5d``."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _row(node: NodeReport) -> tuple[str, ...]:
    return (
        node.instance,
        node.phase,
        duration(node.waited_s),
        node.lifecycle,
        _NOTHING if node.hold is Hold.NONE else node.hold,
        node.address or _NOTHING,
        _NOTHING if node.handshake_age_s is None else duration(node.handshake_age_s),
        node.server,
        node.check or _NOTHING,
        str(node.weight),
        str(node.connections),
    )


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = (
        f"{cell:>{width}}" if heading in _NUMBERS else f"{cell:<{width}}"
        for heading, cell, width in zip(_HEADINGS, row, widths, strict=True)
    )
    return "  ".join(cells).rstrip()
