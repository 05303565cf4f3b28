"""The Fabric side: one pinned SSH connection, one raw channel per request; it must not know what a command means.

Rule 1: only the pinned host key will do. No known_hosts, no ``~/.ssh/config``, no agent, no password, no other key.
Rule 2: every command may be sent twice, so a reused connection that turns out dead costs one reconnect and no error.
Rule 3: a request ends by its deadline, whatever the other side does or stops doing.

Fabric opens the connection; the request travels over a channel of its own, because ``Connection.run(in_stream=…)``
moves one byte per 10 ms.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import logging
import socket
import threading
import typing
import uuid
from pathlib import Path
from typing import NoReturn, Self

import fabric
import paramiko
from paramiko.pkey import UnknownKeyType
from paramiko.ssh_exception import BadHostKeyException, NoValidConnectionsError

from core_agent.contract.codec import MAX_REPLY_BYTES, FailedReply, RefusedReply, decode_reply, encode_request
from core_agent.contract.messages import (
    ActivateNode,
    BurstReport,
    Command,
    EnrollNode,
    FactsReport,
    FleetReport,
    HoldNode,
    NodeReport,
    ReadFacts,
    Report,
    SetBurst,
    SyncFleet,
    TunnelReport,
)
from core_agent.contract.names import shown
from core_agent.errors import (
    AgentFailed,
    AuthenticationFailed,
    ContractError,
    CoreUnreachable,
    HostKeyMismatch,
    Refused,
    SettingsError,
)

ANSWERS: dict[type[Command], type[Report]] = {
    SyncFleet: FleetReport,
    EnrollNode: TunnelReport,
    ActivateNode: NodeReport,
    HoldNode: NodeReport,
    SetBurst: BurstReport,
    ReadFacts: FactsReport,
}

_SSH_PORT = 22  # the one port that known hosts are listed without
_KEEPALIVE_S = 30
_CHUNK = 1 << 16
_STDERR_LINES = 5
_STDERR_BYTES = 1 << 14
_KEY_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)

# Every failure reaches the caller as one typed error; without a handler of its own, paramiko's reading thread would
# also print a traceback of it on stderr.
_LOG = "core_agent.ssh"
logging.getLogger(_LOG).addHandler(logging.NullHandler())


class _ConnectionLost(CoreUnreachable):
    """The connection died under a request; another one may carry it."""


class CoreClient:
    """Sends commands to one core and returns its reports. For one thread at a time; ``close()`` may come from any.

    ``host_key`` is the pinned key as ``ssh-ed25519 AAAA…``; ``private_key`` is the OpenSSH text itself (``str``) or a
    file that holds it (``Path``). Nothing is dialled before the first request. Raises ``SettingsError`` for a host key
    and ``AuthenticationFailed`` for a private key that cannot be used, without showing the latter. ``where`` is
    ``HOST:PORT``, for messages.
    """

    def __init__(
        self,
        host: str,
        port: int,
        user: str,
        host_key: str,
        private_key: str | Path,
        *,
        connect_timeout_s: float = 5,
        reply_timeout_s: float = 20,
    ) -> None:
        self._host, self._port, self._user = host, port, user
        self._host_key = _pinned(host_key)
        self._private_key = load_private_key(private_key)
        self._connect_timeout_s, self._reply_timeout_s = connect_timeout_s, reply_timeout_s
        self.where = f"{host}:{port}"
        self._ssh: paramiko.SSHClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @typing.overload
    def request(self, command: SyncFleet) -> FleetReport: ...
    @typing.overload
    def request(self, command: EnrollNode) -> TunnelReport: ...
    @typing.overload
    def request(self, command: ActivateNode | HoldNode) -> NodeReport: ...
    @typing.overload
    def request(self, command: SetBurst) -> BurstReport: ...
    @typing.overload
    def request(self, command: ReadFacts) -> FactsReport: ...
    @typing.overload
    def request(self, command: Command) -> Report: ...

    def request(self, command: Command) -> Report:
        """Send ``command`` and return its report.

        Raises ``Refused`` or ``AgentFailed`` when the agent says so; ``CoreUnreachable``, ``HostKeyMismatch`` or
        ``AuthenticationFailed`` when it was not reached; ``ContractError`` when it answered something else.
        """
        request_id = str(uuid.uuid4())
        reply = self._exchange(encode_request(command, request_id=request_id))
        return self._report(reply, request_id, ANSWERS[type(command)])

    def close(self) -> None:
        """Hang up; the next request dials again."""
        ssh, self._ssh = self._ssh, None
        if ssh is not None:
            ssh.close()

    # --- connection -------------------------------------------------------------------------------------------------

    def _exchange(self, document: bytes) -> bytes:
        """Carry ``document`` to the core and its reply back, over the connection that is there if it still works."""
        warm = self._ssh.get_transport() if self._ssh else None
        if warm is not None and warm.is_active():
            with contextlib.suppress(_ConnectionLost):
                return self._ask(warm, document)
        self.close()
        return self._ask(self._dial(), document)

    def _dial(self) -> paramiko.Transport:
        ssh = self._connection()
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
        transport = ssh.transport
        transport.set_keepalive(_KEEPALIVE_S)
        # A request is its document and then an end of file: with Nagle's algorithm the second waits for the delayed
        # acknowledgement of the first, and a warm request takes 49 ms instead of 5.
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return typing.cast("paramiko.Transport", transport)

    def _connection(self) -> fabric.Connection:
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
                "timeout": self._connect_timeout_s,
                "banner_timeout": self._connect_timeout_s,
                "auth_timeout": self._connect_timeout_s,
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
                return f"timed out after {self._connect_timeout_s:g} s"
            case paramiko.SSHException():
                return f"no SSH session came about ({error})"
            case _:
                return str(error) or type(error).__name__

    # --- one request ------------------------------------------------------------------------------------------------

    def _ask(self, transport: paramiko.Transport, document: bytes) -> bytes:
        """Carry ``document`` over a channel of its own and return the whole reply.

        A timer closes the connection at the deadline: the one act that wakes each of paramiko's waits, most of which
        take no timeout.
        """
        expired = threading.Event()

        def give_up() -> None:
            expired.set()
            transport.close()

        timer = threading.Timer(self._reply_timeout_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            return self._talk(transport, document)
        except _ConnectionLost:
            self.close()
            if expired.is_set():
                raise CoreUnreachable(
                    f"asking {self.where}: wanted an answer within {self._reply_timeout_s:g} s, found none"
                ) from None
            raise
        finally:
            timer.cancel()

    def _talk(self, transport: paramiko.Transport, document: bytes) -> bytes:
        try:
            channel = transport.open_session(timeout=self._connect_timeout_s)
            # The server's forced command runs the relay, whatever is asked for.
            channel.exec_command("drawbridge")
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise _ConnectionLost(f"opening a channel at {self.where}: {self._reason(error)}") from None
        with channel:
            _send(channel, document)
            reply = self._read(channel)
            said = _last_lines(channel)
            status = channel.recv_exit_status()
        if status < 0:
            raise _ConnectionLost(f"asking {self.where}: the connection ended before the answer was whole{said}")
        if status > 0:
            raise CoreUnreachable(f"asking {self.where}: the relay exited {status}{said or ': it said nothing'}")
        if not reply:
            raise CoreUnreachable(f"asking {self.where}: wanted a reply, found nothing{said}")
        return reply

    def _read(self, channel: paramiko.Channel) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while chunk := channel.recv(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_REPLY_BYTES:
                self.close()
                raise ContractError(f"reply: wanted at most {MAX_REPLY_BYTES} bytes from {self.where}, found more")
        return b"".join(chunks)

    def _report(self, reply: bytes, request_id: str, wanted: type[Report]) -> Report:
        try:
            answered_id, outcome = decode_reply(reply)
        except ContractError:
            if _is_json(reply):
                raise
            raise CoreUnreachable(
                f"asking {self.where}: wanted one JSON document, found {shown(reply[:80])} ({len(reply)} bytes): "
                "cut short, or not from the agent"
            ) from None
        if answered_id != request_id:
            told = f": {outcome.message}" if isinstance(outcome, RefusedReply | FailedReply) else ""
            raise ContractError(f"reply.id: wanted {request_id}, found {answered_id}{told}")
        match outcome:
            case RefusedReply():
                raise Refused(outcome.kind, outcome.message)
            case FailedReply():
                raise AgentFailed(outcome.message, retryable=outcome.retryable)
            case _ if not isinstance(outcome, wanted):
                raise ContractError(f"reply.report: wanted {wanted.__name__}, found {type(outcome).__name__}")
        return outcome


def load_private_key(source: str | Path) -> paramiko.PKey:
    """Return the Ed25519, ECDSA or RSA key in ``source``: OpenSSH text, or the path of a file that holds it.

    Raises ``AuthenticationFailed`` saying what is wrong with it; no part of the key is ever shown.
    """
    text, doing = source, "using the private key"
    if isinstance(source, Path):
        doing = f"using the private key in {source}"
        try:
            text = source.expanduser().read_text("ascii")
        except OSError as error:
            raise AuthenticationFailed(f"{doing}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise AuthenticationFailed(f"{doing}: wanted an OpenSSH private key, found something else") from None
    text = typing.cast("str", text).strip() + "\n"
    if text.startswith(("ssh-", "ecdsa-", "sk-")):
        raise AuthenticationFailed(f"{doing}: wanted the private key, found a public one (is there a .pub too many?)")
    for kind in _KEY_KINDS:
        try:
            return kind.from_private_key(io.StringIO(text))
        except paramiko.PasswordRequiredException:
            raise AuthenticationFailed(
                f"{doing}: wanted a key without a passphrase, which nobody is there to type; found one with"
            ) from None
        except (paramiko.SSHException, ValueError, IndexError, TypeError):
            continue
    raise AuthenticationFailed(f"{doing}: wanted an OpenSSH private key (ed25519, ecdsa or rsa), found something else")


def _pinned(host_key: str) -> paramiko.PKey:
    """Return the host key that the core must show, or raise ``SettingsError``."""
    try:
        kind, encoded = host_key.split()[:2]
        return paramiko.PKey.from_type_string(kind, base64.b64decode(encoded, validate=True))
    except (ValueError, IndexError, binascii.Error, paramiko.SSHException, UnknownKeyType):
        raise SettingsError(
            f"core.ssh_host_key: wanted a host key such as `ssh-ed25519 AAAA…`, found {shown(host_key)}"
        ) from None


def _send(channel: paramiko.Channel, document: bytes) -> None:
    try:
        channel.sendall(document)
        channel.shutdown_write()
    except (OSError, EOFError):
        return  # the relay hung up before it had read everything: its reply, stderr and status, read next, say why


def _last_lines(channel: paramiko.Channel) -> str:
    """What the relay said on stderr, as the end of a sentence, or nothing; to be asked for after its stdout ended."""
    tail = b""
    while chunk := channel.recv_stderr(_CHUNK):
        tail = (tail + chunk)[-_STDERR_BYTES:]
    lines = tail.decode(errors="replace").strip().splitlines()[-_STDERR_LINES:]
    return f": {' / '.join(line.strip() for line in lines)}" if lines else ""


def _is_json(document: bytes) -> bool:
    try:
        json.loads(document.decode())
    except (ValueError, RecursionError):
        return False
    return True
