"""What a command would change, told from the core's facts before it is sent; it must not send anything."""

from __future__ import annotations

from core_agent.contract.messages import FactsReport, HoldNode, NodeReport, SetBurst, SyncFleet
from core_agent.errors import RefusalKind, Refused

UNCHANGED = "nothing would change"


def of_burst(command: SetBurst, facts: FactsReport) -> str:
    """Return what setting the level would change."""
    now = facts.burst
    if (now.level_percent, now.reason) == (command.level_percent, command.reason):
        return f"burst level: {now.level_percent} % already, for that reason: {UNCHANGED}"
    return f"burst level: {now.level_percent} % ({now.reason}) → {command.level_percent} % ({command.reason})"


def of_hold(command: HoldNode, facts: FactsReport) -> str:
    """Return what holding the node would change; raises ``Refused`` for a node that the core does not know."""
    node = _known(facts).get(command.instance)
    if node is None:
        raise Refused(RefusalKind.UNKNOWN_NODE, f"{command.instance}: {facts.core} knows no such node")
    where = f"{node.phase}, {node.connections} connections"
    if node.hold is command.hold:
        return f"{command.instance} ({where}): hold {node.hold} already: {UNCHANGED}"
    return f"{command.instance} ({where}): hold {node.hold} → {command.hold} ({command.reason})"


def of_sync(command: SyncFleet, facts: FactsReport) -> str:
    """Return, a line each, what the seats would change; AWS is not asked here about nodes that have none."""
    known = {name: node for name, node in _known(facts).items() if node.group == command.group}
    seated = dict(command.seats)
    fate = "leaves" if command.override else "stays, unless AWS, asked about it by its id, disowns it"
    lines = [
        *(f"{name}: new → {said}" for name, said in seated.items() if name not in known),
        *(
            f"{name}: {known[name].lifecycle} → {said}"
            for name, said in seated.items()
            if name in known and known[name].lifecycle is not said
        ),
        *(f"{name}: {node.phase}, not in the group → {fate}" for name, node in known.items() if name not in seated),
    ]
    return "\n".join(sorted(lines)) or f"{len(seated)} seats, as the core has them: {UNCHANGED}"


def _known(facts: FactsReport) -> dict[str, NodeReport]:
    return {node.instance: node for node in facts.nodes}
