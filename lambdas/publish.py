"""What one report of the core's telemetry tells CloudWatch; it must not know which alarm listens, nor guess anything.

What was not seen is left out, never sent as a zero: no sample, no saturation; nothing answered, no share of it.
Namespace and the one dimension, ``service``, are Powertools' own (``POWERTOOLS_METRICS_NAMESPACE``,
``POWERTOOLS_SERVICE_NAME``); so is the limit of 100 values of a metric in one document, beyond which it begins another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricResolution, MetricUnit

from core_agent.contract.messages import TelemetryReport
from lambdas.events import metric_names as name

Value = tuple[str, MetricUnit, float]


def publish(report: TelemetryReport, metrics: Metrics, *, resolution: MetricResolution) -> None:
    """Add the report's metrics; the caller writes them out."""
    _add(values(report), metrics, resolution)


def publish_unreachable(metrics: Metrics, *, resolution: MetricResolution) -> None:
    """Add the one thing that is known when the core did not answer; the caller writes it out."""
    _add([(name.CORE_UNREACHABLE, MetricUnit.Count, 1)], metrics, resolution)


def values(report: TelemetryReport) -> Iterator[Value]:
    """Yield name, unit and value of everything that the report tells, one for each sample where it has samples."""
    yield name.CORE_UNREACHABLE, MetricUnit.Count, 0
    for sample in report.samples:
        yield name.CORE_SATURATION, MetricUnit.Percent, sample.core_percent
        if sample.total_percent is not None:
            yield name.TOTAL_SATURATION, MetricUnit.Percent, sample.total_percent
        yield name.QUEUE_TIME, MetricUnit.Milliseconds, sample.queue_ms
        yield name.QUEUE_LENGTH, MetricUnit.Count, sample.queue
    if report.covered_s:
        yield from _requests(report)
    yield name.NODES_SEATED, MetricUnit.Count, report.nodes.seated
    yield name.NODES_ENROLLED, MetricUnit.Count, report.nodes.enrolled
    yield name.NODES_ACTIVE, MetricUnit.Count, report.nodes.active
    yield name.NODES_DRAINING, MetricUnit.Count, report.nodes.draining
    if report.handshake_age_s is not None:
        yield name.HANDSHAKE_AGE, MetricUnit.Seconds, report.handshake_age_s
    yield name.STALE_PEERS, MetricUnit.Count, report.stale_peers
    yield name.BURST_LEVEL, MetricUnit.Percent, report.burst.level_percent
    yield name.CORE_SHARE, MetricUnit.Percent, report.burst.core_percent
    yield name.CORE_SLOTS, MetricUnit.Count, sum(server.slots for server in report.servers if server.takes)
    yield name.CORE_SERVERS_UP, MetricUnit.Count, sum(server.takes for server in report.servers)


def _requests(report: TelemetryReport) -> Iterator[Value]:
    core, edge = report.core_side, report.edge_side
    yield name.CORE_REQUESTS, MetricUnit.Count, core.answered
    yield name.EDGE_REQUESTS, MetricUnit.Count, edge.answered
    if core.answered + edge.answered:
        share = 100 * edge.answered / (core.answered + edge.answered)
        yield name.EDGE_SHARE, MetricUnit.Percent, round(share, 1)
    yield name.SERVER_ERRORS, MetricUnit.Count, core.failed + edge.failed
    yield name.REFUSED, MetricUnit.Count, report.refused


def _add(found: Iterable[Value], metrics: Metrics, resolution: MetricResolution) -> None:
    for metric, unit, value in found:
        metrics.add_metric(metric, unit, value, resolution=resolution)
