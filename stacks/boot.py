"""Puts a node's values in front of ``boot.sh``, quoted; it must not know what the script does with them."""

from __future__ import annotations

import shlex
from pathlib import Path

from core_agent.errors import SettingsError
from settings import Settings

MAX_BYTES = 16 * 1024  # of user data, before base64; EC2 refuses more
_URL_BYTES = 128  # more than a function URL has: at synth it is a token of another length
_SCRIPT = Path(__file__).with_name("boot.sh")
_SHEBANG = "#!/bin/bash\n"


def render(settings: Settings, *, enroll_url: str) -> str:
    """Return the user data of every node, or raise ``SettingsError`` when it is more than EC2 takes.

    ``enroll_url`` ends with a slash; it may be a CDK token, which CloudFormation replaces inside its quotes.
    """
    application = settings.application
    values = (
        f"APPLICATION_IMAGE={shlex.quote(application.image or '')}",
        f"APPLICATION_COMMAND=({shlex.join(application.command)})",
        f"APPLICATION_PORT={application.port}",
        f"JOIN_LIMIT_S={settings.edge.launch_timeout_s}",
    )
    body = _SCRIPT.read_text(encoding="utf-8").removeprefix(_SHEBANG)
    script = "\n".join((*values, body))
    size = len(_SHEBANG.encode()) + len(script.encode()) + _URL_BYTES
    if size > MAX_BYTES:
        raise SettingsError(
            f"application.command: wanted a boot script of at most {MAX_BYTES} bytes, found {size} with this command"
        )
    return f"{_SHEBANG}ENROLL_URL={shlex.quote(enroll_url)}\n{script}"
