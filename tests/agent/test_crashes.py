"""Every story cut after every effect, then a restart: the agent ends where it would have, with nothing left to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from settings import load
from tests.agent.core_under_test import Core, key
from tests.agent.fake_host import CutError

Story = tuple[Callable[[Core], object], ...]

STORIES: dict[str, Story] = {
    "join": (
        lambda c: c.sync(i_1="joining", i_2="joining"),
        lambda c: c.enroll("i-1", 1),
        lambda c: c.enroll("i-2", 2),
        lambda c: c.host.handshake(key(1), int(c.now)),
        lambda c: c.host.checked("i-1"),
        lambda c: c.ready("i-1"),
    ),
    "leave": (
        lambda c: c.join(1, 2, 3),
        lambda c: c.sync(i_1="leaving", i_2="leaving", i_3="serving"),
    ),
    "renew": (
        lambda c: c.join(1),
        lambda c: c.sync(i_1="leaving"),
        lambda c: c.sync(i_1="joining"),
        lambda c: c.enroll("i-1", 9),
    ),
    "weigh": (lambda c: c.join(1, 2), lambda c: c.burst(10), lambda c: c.burst(0), lambda c: c.burst(100)),
    "hold": (lambda c: c.join(1), lambda c: c.hold("i-1", "drain"), lambda c: c.hold("i-1", "remove")),
    "disown": (lambda c: c.join(1, 2, 3, 4), lambda c: c.sync(gone=("i-1", "i-2", "i-3", "i-4"))),
}


@pytest.mark.parametrize("name", STORIES)
def test_a_crash_between_any_two_effects_heals(name: str, tmp_path: Path) -> None:
    """For every cut: a restart, one tick and the message again reach the uncut run's state; a second pass is empty."""
    story = STORIES[name]
    whole = Core(load(Path("drawbridge.toml")), tmp_path / "whole.db")
    for chapter in story:
        chapter(whole)
    total = whole.host.effects
    assert total > 0
    for cut in range(total):
        core = Core(load(Path("drawbridge.toml")), tmp_path / f"{cut}.db")
        core.host.fail_after = cut
        for chapter in story:
            try:
                chapter(core)
            except CutError:
                core.host.fail_after = None
                core.restart()
                core.agent.tick()
                chapter(core)
        core.agent.tick()
        assert core.host.fail_after is None, f"the cut after {cut} effects never came"
        assert core.host.text() == whole.host.text(), f"cut after {cut} effects"
        filed = (core.host.filed_peers, core.host.filed_servers)
        assert filed == (whole.host.filed_peers, whole.host.filed_servers), f"cut after {cut} effects"
        effects = core.host.effects
        core.agent.tick()
        assert core.host.effects == effects, f"cut after {cut} effects: a second pass still had work"
        core.state.close()
    whole.state.close()
