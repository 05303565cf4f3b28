"""The two keys of a connection, read strictly: the core's pinned one and our private one; it dials nobody."""

from __future__ import annotations

import base64
import binascii
import io
import typing
from pathlib import Path

import paramiko
from paramiko.pkey import UnknownKeyType

from core_agent.contract.names import shown
from core_agent.errors import AuthenticationFailed, SettingsError

_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


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
            hint = "core.ssh_identity in drawbridge.toml names it, -i another"
            raise AuthenticationFailed(f"{doing}: {error.strerror}; {hint}") from None
        except UnicodeDecodeError:
            raise AuthenticationFailed(f"{doing}: wanted an OpenSSH private key, found something else") from None
    text = typing.cast("str", text).strip() + "\n"
    if text.startswith(("ssh-", "ecdsa-", "sk-")):
        raise AuthenticationFailed(f"{doing}: wanted the private key, found a public one (is there a .pub too many?)")
    for kind in _KINDS:
        try:
            return kind.from_private_key(io.StringIO(text))
        except paramiko.PasswordRequiredException:
            raise AuthenticationFailed(
                f"{doing}: wanted a key without a passphrase, which nobody is there to type; found one with"
            ) from None
        except (paramiko.SSHException, ValueError, IndexError, TypeError):
            continue
    raise AuthenticationFailed(f"{doing}: wanted an OpenSSH private key (ed25519, ecdsa or rsa), found something else")


def pinned(host_key: str) -> paramiko.PKey:
    """Return the host key that the core must show, from ``ssh-ed25519 AAAA…``, or raise ``SettingsError``."""
    try:
        kind, encoded = host_key.split()[:2]
        return paramiko.PKey.from_type_string(kind, base64.b64decode(encoded, validate=True))
    except (ValueError, IndexError, binascii.Error, paramiko.SSHException, UnknownKeyType):
        raise SettingsError(
            f"core.ssh_host_key: wanted a host key such as `ssh-ed25519 AAAA…`, found {shown(host_key)}"
        ) from None
