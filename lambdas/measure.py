"""What one look at the group tells CloudWatch; it must not know which alarm listens.

Namespace and the one dimension, ``service``, are Powertools' own (``POWERTOOLS_METRICS_NAMESPACE``,
``POWERTOOLS_SERVICE_NAME``).
"""

from __future__ import annotations

from collections import Counter

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from core_agent.contract.messages import LoadReport, Phase
from lambdas.look import Look

SATURATION = "CoreSaturation"
_PHASES = {
    Phase.SEATED: "NodesSeated",
    Phase.ENROLLED: "NodesEnrolled",
    Phase.ACTIVE: "NodesActive",
    Phase.DRAINING: "NodesDraining",
}


def measure(look: Look, metrics: Metrics) -> None:
    """Add the look's metrics; the caller's ``log_metrics`` writes them out."""
    metrics.add_metric(SATURATION, MetricUnit.Percent, saturation_percent(look.load))
    metrics.add_metric("LifecycleActionsCompleted", MetricUnit.Count, len(look.completed))
    metrics.add_metric("NodesKept", MetricUnit.Count, len(look.kept))
    metrics.add_metric("LeftUndone", MetricUnit.Count, len(look.failed))
    standing = nodes_by_phase(look)
    for phase, name in _PHASES.items():
        metrics.add_metric(name, MetricUnit.Count, standing[phase])


def saturation_percent(load: LoadReport) -> float:
    """Return busy and queued requests as a percentage of the slots of the core's servers that are up.

    100 when none is up: then the core carries nothing, and the edge should carry all it can.
    """
    slots = sum(server.slots for server in load.servers if server.up)
    if slots == 0:
        return 100.0
    demand = load.queue + sum(server.busy + server.queue for server in load.servers if server.up)
    return round(100 * demand / slots, 1)


def nodes_by_phase(look: Look) -> Counter[Phase]:
    """Return how many nodes stand in each phase; a serving seat that the report leaves out is active."""
    listed = {node.instance for node in look.nodes}
    quiet = sum(instance not in listed for instance in look.seats.serving)
    return Counter(node.phase for node in look.nodes) + Counter({Phase.ACTIVE: quiet})
