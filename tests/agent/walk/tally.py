"""Counts what a walk did, so that a quiet result can be told from an idle one; it judges nothing."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Tally:
    """The counts of all walks of one run."""

    walks: int = 0
    steps: int = 0
    commands: int = 0
    refusals: int = 0
    effects: int = 0
    crashes: int = 0
    restarts: int = 0
    lost_records: int = 0
    drifts: int = 0
    repairs: int = 0
    quiet_ends: int = 0
    invariants: int = 0
    violations: int = 0

    def lines(self) -> list[str]:
        """Return one line for each count that there is, and for the violations in any case."""
        counts = {field.name.replace("_", " "): getattr(self, field.name) for field in fields(self)}
        return [f"{count:>9,} {name}" for name, count in counts.items() if count or name == "violations"]
