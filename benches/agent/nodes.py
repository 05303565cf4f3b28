"""Nodes that exist by name and key alone: knows how to make them up, and nothing of what is done with them."""

from __future__ import annotations

import base64
import itertools
import os
from dataclasses import dataclass

from core_agent.contract.names import InstanceId, PublicKey

_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One instance and the public key that it shows."""

    instance: InstanceId
    public_key: PublicKey


def make(count: int) -> tuple[Node, ...]:
    """Return ``count`` nodes that were never there before."""
    return tuple(
        Node(
            instance=InstanceId(f"i-{next(_NUMBERS):017x}"),
            public_key=PublicKey(base64.b64encode(os.urandom(32)).decode()),
        )
        for _ in range(count)
    )
