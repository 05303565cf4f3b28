"""Files in folders that the agent's user owns, touched by root without being led astray; it knows no file's meaning.

Rule: that user could plant a link or a pipe under any name there, so root opens a name once, following no link, and
works on what it holds. A file with a second name is refused too: the other name could be anybody's (open(2), link(2)).
"""

from __future__ import annotations

import itertools
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core_agent import paths
from core_agent.install.error import InstallError


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Yield a descriptor for reading the regular file at ``path``; raises ``InstallError`` for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink():
            raise InstallError(f"opening {path}: wanted a regular file, found a symbolic link; remove it") from None
        raise InstallError(f"opening {path}: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise InstallError(
                f"opening {path}: wanted a regular file, found {stat.filemode(found.st_mode)}; remove it"
            )
        if found.st_nlink != 1:
            raise InstallError(f"opening {path}: wanted a file with one name, found {found.st_nlink}; copy it anew")
        yield descriptor
    finally:
        os.close(descriptor)


def check(path: Path) -> None:
    """Raise ``InstallError`` unless a regular file with one name is at ``path``."""
    with opened(path):
        pass


def read(path: Path) -> str:
    """Return the text of the regular file at ``path``, or nothing when there is none. Raises ``InstallError``."""
    if not os.path.lexists(path):
        return ""
    with opened(path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read().decode(errors="surrogateescape")


def give(path: Path, mode: int) -> None:
    """Make the regular file at ``path`` the agent's user's, with ``mode``. Raises ``InstallError``."""
    owner = pwd.getpwnam(paths.AGENT_USER)
    with opened(path) as descriptor:
        os.fchown(descriptor, owner.pw_uid, owner.pw_gid)
        os.fchmod(descriptor, mode)


def keep(path: Path) -> Path:
    """Copy the regular file at ``path`` to a name beside it that was free, root's alone to write; return that name."""
    with opened(path) as source, os.fdopen(os.dup(source), "rb") as file:
        content = file.read()
        mode = stat.S_IMODE(os.fstat(source).st_mode) & 0o644
    for number in itertools.count():
        kept = path.with_name(f"{path.name}.before-drawbridge{f'.{number}' if number else ''}")
        try:
            descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return kept
    raise AssertionError("counting has no end")
