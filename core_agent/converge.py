"""Turns what should be into what is, on both sides of the core; it decides nothing about any node.

Rule 1: a file is written before its side is changed, and whether or not that side answers: a broken file is mended.
Rule 2: one side that fails does not keep the other from converging; the first error is reported with what was seen.
Rule 3: peers come before servers and go after them: nothing is routed to a machine without a tunnel.
Rule 4: a turn is about a few nodes and trusts what was seen and done before; whatever contradicts that, and ``look``,
        which reads everything, ends the trust. So a join costs the same in a fleet of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from core_agent.desired import Desired, Scope, Server
from core_agent.errors import DrawbridgeError
from core_agent.haproxy import facts as haproxy_facts
from core_agent.haproxy import plan as haproxy_plan
from core_agent.haproxy.facts import BackendFacts
from core_agent.host import Host
from core_agent.wireguard import plan as wireguard_plan
from core_agent.wireguard.facts import WireguardFacts
from settings import Settings

# A server that must be made anew takes two plans; more only happen while connections are still being closed.
_PASSES = 3

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the core runs at one moment."""

    wireguard: WireguardFacts
    backend: BackendFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known after converging: a side that failed is None, and ``error`` is the first reason.

    ``repaired`` counts, by ``wireguard``, ``haproxy`` and ``file``, what another hand had changed and was put right;
    ``drift`` says the same in words, a line each.
    """

    wireguard: WireguardFacts | None
    backend: BackendFacts | None
    error: DrawbridgeError | None = None
    repaired: Mapping[str, int]
    drift: tuple[str, ...] = ()

    @property
    def facts(self) -> Facts:
        """Both sides; raises the error when one is missing or something else failed."""
        if self.error is not None:
            raise self.error
        assert self.wireguard is not None
        assert self.backend is not None
        return Facts(wireguard=self.wireguard, backend=self.backend)


class Converger:
    """Converges one host to ``desired``, which its owner keeps up to date, and knows what the host runs."""

    def __init__(self, settings: Settings, host: Host, desired: Desired) -> None:
        self._host = host
        self._desired = desired
        self._network = settings.tunnel.network
        self._port = settings.application.port
        self._kept = frozenset(server.name for server in settings.core.servers)
        self._wireguard: WireguardFacts | None = None
        self._backend: BackendFacts | None = None
        self._endpoints: dict[str, str] | None = None
        self._repaired: dict[str, int] = {}
        self._drift: list[str] = []

    def core_key(self) -> str:
        """Return the core's own public key. Raises ``CommandFailed``."""
        return (self._wireguard or self._host.read_wireguard()).public_key

    @property
    def backend(self) -> BackendFacts | None:
        """What HAProxy was last seen to run; None after it could not be seen."""
        return self._backend

    @property
    def tunnel(self) -> bool:
        """Whether WireGuard's interface was there when last looked at."""
        return self._wireguard is not None

    def pending(self) -> int | None:
        """Return how many steps are still needed by what is known; None when a side is not known."""
        if self._wireguard is None or self._backend is None:
            return None
        return len(self._plan_peers(None, self._wireguard)) + len(self._plan_servers(None, self._backend))

    def turn(self, scope: Scope, watch: Collection[str]) -> Sight:
        """Make what ``scope`` names as desired, and learn how the servers named in ``watch`` do.

        Never raises a ``DrawbridgeError``: whatever goes wrong, it looks at everything.
        """
        wireguard, backend = self._wireguard, self._backend
        if wireguard is None or backend is None:
            return self.look()
        self._repaired, self._drift = {}, []
        try:
            # New servers are closed until their checks cross the tunnel, so they need not wait for the new peers.
            peers_are_there = self._bring_peers(scope, wireguard)
            try:
                self._bring_servers(scope, backend, watch)
            finally:
                peers_are_there()
            self._take_peers(scope, wireguard)()
        except DrawbridgeError:
            return self.look()
        return self._sight(None)

    def look(self) -> Sight:
        """Read everything and make it as desired, as far as it lets itself be. Never raises a ``DrawbridgeError``."""
        quiet = self.pending() == 0
        self._repaired, self._drift = {}, []
        errors: list[DrawbridgeError] = []
        self._wireguard = wireguard = _attempt(errors, self._look_at_peers)
        self._backend = backend = _attempt(errors, self._look_at_servers)
        if wireguard is not None and quiet:
            self._count("wireguard", self._plan_peers(None, wireguard))
        if backend is not None and quiet:
            self._count("haproxy", self._plan_servers(None, backend))
        if wireguard is not None:
            self._wireguard = _attempt(errors, lambda: _wait_for(self._bring_peers(None, wireguard)))
        if backend is not None:
            self._backend = _attempt(errors, lambda: self._bring_servers(None, backend, ()))
        if wireguard is not None and self._wireguard is not None and self._backend is not None:
            self._wireguard = _attempt(errors, lambda: _wait_for(self._take_peers(None, wireguard)))
        return self._sight(errors[0] if errors else None)

    def _sight(self, error: DrawbridgeError | None) -> Sight:
        return Sight(
            wireguard=self._wireguard,
            backend=self._backend,
            error=error,
            repaired=self._repaired,
            drift=tuple(self._drift),
        )

    def _count(self, side: str, put_right: Sequence[object]) -> None:
        if put_right:
            self._repaired[side] = self._repaired.get(side, 0) + len(put_right)
            self._drift += [f"{side}: {one}" for one in put_right]

    # --- peers ------------------------------------------------------------------------------------------------------

    def _look_at_peers(self) -> WireguardFacts:
        if self._endpoints is None:
            self._endpoints = self._host.known_endpoints()
        try:
            facts = self._host.read_wireguard()
        except DrawbridgeError:  # a tunnel that is down finds everybody in its file when it comes up
            self._file_peers(None)
            raise
        seen = {key: peer.endpoint for key, peer in facts.peers.items() if peer.endpoint is not None}
        known = self._endpoints | seen
        self._endpoints = {key: known[key] for key in self._desired.peers if key in known}
        return facts

    def _file_peers(self, scope: Scope | None) -> None:
        if scope is None:
            peers, gone = {peer.instance: peer for peer in self._desired.peers.values()}, None
        else:
            wanted = {name: self._desired.peer_of(name) for name in sorted(scope.peers)}
            peers = {name: peer for name, peer in wanted.items() if peer is not None}
            gone = wanted.keys() - peers.keys()
        meddled = self._host.write_peers(peers, self._endpoints or {}, gone)
        self._count("file", ("wg0.conf",) if meddled else ())

    def _plan_peers(self, scope: Scope | None, facts: WireguardFacts) -> tuple[wireguard_plan.Step, ...]:
        keys = None if scope is None else scope.keys
        return wireguard_plan.plan(
            _part(self._desired.peers, keys),
            _part(facts.peers, keys),
            network=self._network,
            endpoints=self._endpoints or {},
        )

    def _bring_peers(self, scope: Scope | None, facts: WireguardFacts) -> Callable[[], WireguardFacts]:
        self._file_peers(scope)
        steps = self._plan_peers(scope, facts)
        return self._set_peers([step for step in steps if isinstance(step, wireguard_plan.SetPeer)], facts)

    def _take_peers(self, scope: Scope | None, facts: WireguardFacts) -> Callable[[], WireguardFacts]:
        return self._set_peers(self._plan_peers(scope, facts), facts)

    def _set_peers(self, steps: Sequence[wireguard_plan.Step], facts: WireguardFacts) -> Callable[[], WireguardFacts]:
        """Begin to carry ``steps`` out; what is returned waits for the end and returns what is known then."""
        finish = self._host.set_peers(steps) if steps else None

        def done() -> WireguardFacts:
            if finish is not None:
                finish()
            wireguard_plan.after(facts.peers, steps)
            return facts

        return done

    # --- servers ----------------------------------------------------------------------------------------------------

    def _look_at_servers(self) -> BackendFacts:
        self._file_servers(None)
        return self._host.read_backend()

    def _file_servers(self, scope: Scope | None) -> None:
        servers, desired = self._servers(scope), self._desired
        gone = None if scope is None else scope.servers - servers.keys()
        meddled = self._host.write_servers(servers, desired.burst, desired.core, gone)
        self._count("file", ("haproxy.cfg",) if meddled else ())

    def _servers(self, scope: Scope | None) -> Mapping[str, Server]:
        return _part(self._desired.servers, None if scope is None else scope.servers)

    def _plan_servers(self, scope: Scope | None, facts: BackendFacts) -> tuple[haproxy_plan.Step, ...]:
        found = _part(facts.servers, None if scope is None else scope.servers)
        steps = haproxy_plan.plan(self._servers(scope), found, port=self._port, kept=self._kept)
        if scope is None or scope.core:
            # First: a closed edge must not get the full share that its servers have then.
            steps = haproxy_plan.plan_core(self._desired.core, facts, closed=self._desired.closed) + steps
        return steps

    def _bring_servers(self, scope: Scope | None, facts: BackendFacts, watch: Collection[str]) -> BackendFacts:
        if scope is not None:
            self._file_servers(scope)
        for number in range(_PASSES):
            steps = self._plan_servers(scope, facts)
            if not steps and (number or scope is None):
                break
            self._change_servers(steps, facts, watch)
        return facts

    def _change_servers(self, steps: Sequence[haproxy_plan.Step], facts: BackendFacts, watch: Collection[str]) -> None:
        # A server is empty only if it was seen so after it was closed: a request may have come in between.
        closing = {step.name for step in steps if haproxy_plan.closes(step)}
        known = sorted((closing | self._kept | set(watch)) & facts.servers.keys())
        answers = self._host.change_servers(steps, [facts.servers[name].id for name in known])
        haproxy_plan.after(facts, answers.done, port=self._port)
        haproxy_facts.refresh(facts, [name for name in known if name in facts.servers], answers.reading)


def _part(whole: Mapping[str, _T], names: Collection[str] | None) -> Mapping[str, _T]:
    # In a fixed order: what is written and done must not depend on how a set happens to be laid out.
    return whole if names is None else {name: whole[name] for name in sorted(names) if name in whole}


def _wait_for(done: Callable[[], _T]) -> _T:
    return done()


def _attempt(errors: list[DrawbridgeError], act: Callable[[], _T]) -> _T | None:
    try:
        return act()
    except DrawbridgeError as error:
        errors.append(error)
        return None
