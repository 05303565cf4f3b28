"""The names of one Auto Scaling group and of its two lifecycle hooks; it must not know who is in it."""

from __future__ import annotations

from dataclasses import dataclass

from core_agent.contract.names import GroupName
from lambdas.states import Hook


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group; the hooks by their physical names."""

    region: str
    name: str
    launch_hook: str
    terminate_hook: str

    @property
    def contract_name(self) -> GroupName:
        """The group as the core knows it, ``REGION/NAME``."""
        return GroupName(f"{self.region}/{self.name}")

    def hook_name(self, hook: Hook) -> str:
        """Return the physical name of ``hook``."""
        return self.launch_hook if hook is Hook.LAUNCH else self.terminate_hook
