"""How the load was in the last minutes, as lines and small pictures; it must not know how that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from core_agent.contract.messages import SideReport, TelemetryReport
from operator_view.status import burst, server

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 60


def load(report: TelemetryReport) -> str:
    """Return the lines of ``fab load``."""
    answered = report.core_side.answered + report.edge_side.answered
    rows = [
        ("window", f"{report.covered_s} s, {len(report.samples)} looks"),
        ("core", _levels([one.core_percent for one in report.samples], 100, "%")),
        ("in all", _levels([one.total_percent for one in report.samples if one.total_percent is not None], 100, "%")),
        ("queue", _levels([one.queue_ms for one in report.samples], 1, "ms")),
        ("at home", _side(report.core_side, answered, report.covered_s)),
        ("edge", _side(report.edge_side, answered, report.covered_s)),
        ("refused", f"{report.refused} answered 5xx by HAProxy itself"),
        ("burst", burst(report.burst)),
        *((one.name, server(one)) for one in report.servers),
    ]
    width = max(len(label) for label, _ in rows) + 2
    return "\n".join(f"{label:<{width}}{text}" for label, text in rows)


def _levels(values: Sequence[int], full: int, unit: str) -> str:
    """The values from the oldest to the newest, and their mean and most; ``full`` is a full block at least."""
    if not values:
        return "not told: no core server takes requests, and the edge has room"
    top = max(full, *values)
    blocks = "".join(_BLOCKS[min(7, 8 * value // top)] for value in values[-_WIDTH:])
    return f"{blocks}  mean {sum(values) / len(values):.0f} {unit}, most {max(values)} {unit}"


def _side(side: SideReport, answered: int, seconds: int) -> str:
    share = f"{side.answered / answered:.1%}" if answered else "0 %"
    return f"{side.answered} answers, {side.answered / max(1, seconds):.0f}/s, {share}; {side.failed} of them 5xx"
