"""What one look at the group tells CloudWatch; it must not know which alarm listens.

Namespace and the one dimension, ``service``, are Powertools' own (``POWERTOOLS_METRICS_NAMESPACE``,
``POWERTOOLS_SERVICE_NAME``).
"""

from __future__ import annotations

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from lambdas.look import Look


def measure(look: Look, metrics: Metrics) -> None:
    """Add the look's metrics; the caller's ``log_metrics`` writes them out."""
    metrics.add_metric("LifecycleActionsCompleted", MetricUnit.Count, len(look.completed))
    metrics.add_metric("NodesKept", MetricUnit.Count, len(look.kept))
    metrics.add_metric("LeftUndone", MetricUnit.Count, len(look.failed))
