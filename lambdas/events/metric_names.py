"""What the house calls its metrics on CloudWatch: who publishes and who watches share it; it must not know a value.

Each is published under the one dimension ``SERVICE``, the physical name of the function that does.
"""

from __future__ import annotations

NAMESPACE = "Drawbridge"
SERVICE = "service"

# By the telemetry function; those of the first four have one value for each sample of the core's.
CORE_SATURATION = "CoreSaturation"  # percent
TOTAL_SATURATION = "TotalSaturation"  # percent
QUEUE_TIME = "QueueTime"  # milliseconds
QUEUE_LENGTH = "QueueLength"
CORE_REQUESTS = "CoreRequests"
EDGE_REQUESTS = "EdgeRequests"
EDGE_SHARE = "EdgeShare"  # percent of the answered
SERVER_ERRORS = "ServerErrors"
REFUSED = "Refused"
NODES_SEATED = "NodesSeated"
NODES_ENROLLED = "NodesEnrolled"
NODES_ACTIVE = "NodesActive"
NODES_DRAINING = "NodesDraining"
HANDSHAKE_AGE = "HandshakeAge"  # seconds
STALE_PEERS = "StalePeers"
BURST_LEVEL = "BurstLevel"  # percent
CORE_SHARE = "CoreShare"  # percent
CORE_SLOTS = "CoreSlots"
CORE_SERVERS_UP = "CoreServersUp"
CORE_UNREACHABLE = "CoreUnreachable"  # 1 for each time that the core did not answer, 0 for each that it did
