"""One pinned SSH connection with one channel that is kept open on it; it must not know what a document says.

Rule 1: only the pinned host key will do. No known_hosts, no ``~/.ssh/config``, no agent, no password, no other key.
Rule 2: every document may be sent twice, so what was kept and turns out dead costs one reconnect and no error.
Rule 3: an exchange ends by its deadline, whatever the other side does or stops doing.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import typing
from collections.abc import Iterator, Sequence
from typing import NoReturn

import fabric
import paramiko
from paramiko.ssh_exception import BadHostKeyException, NoValidConnectionsError

from core_agent.client.channel import Channel, ChannelLost, ConnectionLost
from core_agent.errors import AuthenticationFailed, ContractError, CoreUnreachable, HostKeyMismatch

_SSH_PORT = 22  # the one port that known hosts are listed without
_KEEPALIVE_S = 30
_QUIET_S = 10.0  # silence after which a connection may be dead without having said so

# Every failure reaches the caller as one typed error; without a handler of its own, paramiko's reading thread would
# also print a traceback of it on stderr.
_LOG = "core_agent.ssh"
logging.getLogger(_LOG).addHandler(logging.NullHandler())


class Connection:
    """A connection to ``host:port``, which ``where`` names; dialled when first needed, and again when it died.

    For one thread at a time; ``close()`` may come from any. ``timeout_s`` is for each step of dialling and for signs of
    life.
    """

    def __init__(
        self, host: str, port: int, user: str, host_key: paramiko.PKey, private_key: paramiko.PKey, *, timeout_s: float
    ) -> None:
        self._host, self._port, self._user = host, port, user
        self._host_key, self._private_key = host_key, private_key
        self._timeout_s = timeout_s
        self.where = f"{host}:{port}"
        self._ssh: paramiko.SSHClient | None = None
        self._channel: Channel | None = None
        self._used_at = 0.0
        self._expired = threading.Event()

    def exchange(self, documents: Sequence[bytes], *, within_s: float) -> list[bytes]:
        """Carry ``documents`` to the agent and return the reply to each, in order.

        A timer closes the connection at the deadline: the one act that wakes each of paramiko's waits, most of which
        take no timeout. Raises ``CoreUnreachable``, ``HostKeyMismatch``, ``AuthenticationFailed``, ``ContractError``.
        """
        replies: list[bytes] = []
        try:
            with self._deadline(within_s):
                self._carry(documents, replies)
        except (ChannelLost, ContractError):
            self.close_channel()
            raise
        self._used_at = time.monotonic()
        return replies

    def close_channel(self) -> None:
        """Hang up the one channel, because it is out of step; the connection stays."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def close(self) -> None:
        """Hang up; the next exchange dials again."""
        ssh, self._ssh, self._channel = self._ssh, None, None
        if ssh is not None:
            ssh.close()

    @contextlib.contextmanager
    def _deadline(self, within_s: float) -> Iterator[None]:
        self._expired = expired = threading.Event()

        def give_up() -> None:
            expired.set()
            self.close()

        timer = threading.Timer(within_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except ChannelLost:
            if expired.is_set():
                raise CoreUnreachable(
                    f"asking {self.where}: wanted an answer within {within_s:g} s, found none"
                ) from None
            raise
        finally:
            timer.cancel()

    def _carry(self, documents: Sequence[bytes], replies: list[bytes]) -> None:
        """Add a reply for each document that has none yet: over the kept channel, a new one, a new connection."""
        kept = self._channel
        if kept is not None and kept.open and self._alive():
            with self._unless_late(ChannelLost):
                kept.exchange(documents, replies)
                return
        self.close_channel()
        if self._transport() is not None:
            with self._unless_late(ConnectionLost):
                self._open_channel().exchange(documents[len(replies) :], replies)
                return
        self.close()
        self._dial()
        self._open_channel().exchange(documents[len(replies) :], replies)

    @contextlib.contextmanager
    def _unless_late(self, forgiven: type[ChannelLost]) -> Iterator[None]:
        """Let an error pass, for there is another way to try, unless the deadline's own act was its cause."""
        try:
            yield
        except forgiven:
            if self._expired.is_set():
                raise

    def _transport(self) -> paramiko.Transport | None:
        transport = self._ssh.get_transport() if self._ssh else None
        return transport if transport is not None and transport.is_active() else None

    def _alive(self) -> bool:
        """Whether the connection is worth sending over: it was used a moment ago, or it opens a channel now."""
        transport = self._transport()
        if transport is None:
            return False
        if time.monotonic() - self._used_at < _QUIET_S:
            return True
        try:
            transport.open_session(timeout=self._timeout_s).close()
        except (paramiko.SSHException, OSError, EOFError):
            self.close()
            return False
        return True

    def _open_channel(self) -> Channel:
        transport = self._transport()
        if transport is None or self._expired.is_set():
            raise ConnectionLost(f"opening a channel at {self.where}: the connection is closed")
        try:
            channel = transport.open_session(timeout=self._timeout_s)
            # The server's forced command runs the relay, whatever is asked for.
            channel.exec_command("drawbridge")
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise ConnectionLost(f"opening a channel at {self.where}: {self._reason(error)}") from None
        self._channel = Channel(channel, self.where)
        return self._channel

    # --- dialling ---------------------------------------------------------------------------------------------------

    def _dial(self) -> None:
        ssh = self._unopened()
        try:
            ssh.open()
        except BadHostKeyException as error:
            ssh.client.close()
            self._refuse_key(error)
        except paramiko.AuthenticationException as error:
            transport = ssh.client.get_transport()
            answered = transport is not None and transport.is_active() and "timeout" not in str(error)
            ssh.client.close()
            if answered:
                raise AuthenticationFailed(
                    f"logging in at {self.where} as {self._user}: key {self._private_key.fingerprint} was refused; "
                    "its public half has to be in that user's authorized_keys"
                ) from None
            raise CoreUnreachable(f"logging in at {self.where}: {error}") from None
        except (OSError, paramiko.SSHException, EOFError, UnicodeError) as error:
            ssh.client.close()
            raise CoreUnreachable(f"connecting to {self.where}: {self._reason(error)}") from None
        self._ssh = ssh.client
        ssh.transport.set_keepalive(_KEEPALIVE_S)
        # With Nagle's algorithm, whatever follows a request waits for the delayed acknowledgement of the one before: a
        # warm request took 49 ms instead of 5.
        ssh.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _unopened(self) -> fabric.Connection:
        """Return an unopened connection that knows one host key, one private key and no configuration file."""
        connection = fabric.Connection(
            self._host,
            user=self._user,
            port=self._port,
            gateway=False,
            forward_agent=False,
            config=fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig()),
            connect_kwargs={
                "pkey": self._private_key,
                "allow_agent": False,
                "look_for_keys": False,
                "timeout": self._timeout_s,
                "banner_timeout": self._timeout_s,
                "auth_timeout": self._timeout_s,
            },
        )
        client = connection.client
        client.set_log_channel(_LOG)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        known_as = self._host if self._port == _SSH_PORT else f"[{self._host}]:{self._port}"
        client.get_host_keys().add(known_as, self._host_key.get_name(), self._host_key)
        return connection

    def _refuse_key(self, error: BadHostKeyException) -> NoReturn:
        raise HostKeyMismatch(
            f"connecting to {self.where}: wanted the pinned host key {self._host_key.fingerprint} "
            f"({self._host_key.get_name()}), found {error.key.fingerprint} ({error.key.get_name()}); nothing was sent. "
            "If the core was rebuilt, compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on its console, "
            "set core.ssh_host_key in drawbridge.toml and deploy; if it was not, somebody stands in between"
        ) from None

    def _reason(self, error: BaseException) -> str:
        match error:
            case socket.gaierror():
                return f"the name does not resolve ({error.strerror})"
            case NoValidConnectionsError():
                causes = typing.cast("typing.Iterable[OSError]", error.errors.values())
                return "; ".join(sorted({str(cause.strerror) for cause in causes})).lower()
            case TimeoutError():
                return f"timed out after {self._timeout_s:g} s"
            case paramiko.SSHException():
                return f"no SSH session came about ({error})"
            case _:
                return str(error) or type(error).__name__
