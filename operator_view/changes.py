"""What a command would change, told from the core's facts before it is sent; it must not send anything."""

from __future__ import annotations

from core_agent.contract.messages import FactsReport, HoldNode, NodeReport, SetBurst, SetCapacity, SyncFleet
from core_agent.errors import RefusalKind, Refused

UNCHANGED = "nothing would change"


def of_burst(command: SetBurst, facts: FactsReport) -> str:
    """Return what setting the level would change."""
    now = facts.burst
    before, after = _level(now.level_percent, now.core_percent), _level(command.level_percent, command.core_percent)
    if (before, now.reason) == (after, command.reason):
        return f"burst level: {before} already, for that reason: {UNCHANGED}"
    return f"burst level: {before} ({now.reason}) → {after} ({command.reason})"


def of_capacity(command: SetCapacity, facts: FactsReport) -> str:
    """Return what setting a core server's slots would change; raises ``Refused`` for one that the core has not."""
    found = next((server for server in facts.load.servers if server.name == command.server), None)
    if found is None:
        known = ", ".join(server.name for server in facts.load.servers)
        raise Refused(RefusalKind.UNKNOWN_SERVER, f"{command.server}: wanted a server of {facts.core} ({known})")
    wanted = found.configured if command.slots is None else command.slots
    if found.slots == wanted:
        return f"{command.server}: {wanted} slots already: {UNCHANGED} but the reason"
    return f"{command.server}: {found.slots} → {wanted} slots ({command.reason})"


def _level(level_percent: int, core_percent: int) -> str:
    return f"{level_percent} %" if core_percent == 100 else f"{level_percent} % from {core_percent} % of the core on"


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
