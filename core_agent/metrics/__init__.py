"""What the agent counts and sees, as numbers that Prometheus reads; it knows no socket, no clock and no way to act."""

from core_agent.metrics.counts import Metrics
from core_agent.metrics.summary import Snapshot, snapshot

__all__ = ["Metrics", "Snapshot", "snapshot"]
