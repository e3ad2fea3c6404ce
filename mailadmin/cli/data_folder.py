"""The data folder of `mailadmin up`: where it is, what is in it, and that only one process uses it at a time."""

import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from mailadmin.errors import MailAdminError

SOCKET_BYTES = 100  # A socket's address holds 108 (unix(7)); macOS has 104.


class DataFolder:
    """One installation's files: database, key, and what its queue server keeps."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.key = self.path / "secret_key"
        self.queue = self.path / "queue"
        self._lock: int | None = None

    def make(self) -> None:
        """Have the folder, for its owner alone, and a secret key in it. Raises MailAdminError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.key.exists() and any(self.path.iterdir()) and not (self.path / "lock").exists():
                raise MailAdminError(
                    f"The folder {self.path} holds something else. Choose an empty one, or a new one, with --data."
                )
            self.path.chmod(0o700)
        except OSError as error:
            raise MailAdminError(
                f"The data folder {self.path} cannot be used: {error.strerror}. Choose another with --data."
            ) from error

    def lock(self) -> None:
        """Keep others out until this process ends. Raises MailAdminError when somebody is in."""
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise MailAdminError(
                f"mailadmin is already running on the data folder {self.path} (process {pid})."
                " Stop it first, or choose another folder with --data."
            ) from error
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def make_key(self) -> None:
        """Have a secret key, readable by its owner alone; one that exists is never replaced."""
        new = self.path / "secret_key.new"
        if self.key.exists():
            return
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.key)  # Whole or not at all.

    @property
    def socket(self) -> Path:
        """Where the queue server listens: in the folder, or where the path is too long for a socket, below /tmp."""
        inside = self.path / "queue.sock"
        if len(os.fsencode(inside)) <= SOCKET_BYTES:
            return inside
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path(f"/tmp/mailadmin-{os.getuid()}-{name}/queue.sock")  # noqa: S108 - the same for every command; see below

    def make_socket_folder(self) -> None:
        """Have the folder of the socket. Raises MailAdminError where somebody else made it, as anybody may in /tmp."""
        folder = self.socket.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise MailAdminError(f"{folder} belongs to somebody else. Remove it, or choose a shorter --data folder.")

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with what this folder offers, where it does not say otherwise."""
        offered = {"MAILADMIN_DATA": str(self.path)}
        if not environ.get("REDIS_URL"):
            offered["REDIS_URL"] = f"unix://{quote(str(self.socket))}"
        if not environ.get("SECRET_KEY") and not environ.get("SECRET_KEY_FILE") and self.key.exists():
            offered["SECRET_KEY_FILE"] = str(self.key)
        return {**environ, **offered}


def default_folder(environ: Mapping[str, str]) -> Path:
    """Where `mailadmin up` keeps its data when nobody says: below the user's data directory."""
    if environ.get("MAILADMIN_DATA"):
        return Path(environ["MAILADMIN_DATA"])
    base = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "mailadmin"


def with_data_folder(environ: Mapping[str, str], chosen: Path | None = None) -> Mapping[str, str]:
    """`environ` for a command beside a running `mailadmin up`: with the database, key and queue of its data folder.

    That is `chosen`, or MAILADMIN_DATA, or the default folder if it exists and no DATABASE_URL is set.
    """
    if chosen is None and not environ.get("MAILADMIN_DATA") and environ.get("DATABASE_URL"):
        return environ
    folder = DataFolder(chosen or default_folder(environ))
    if not folder.key.exists() and chosen is None:
        return environ
    if chosen is not None and not folder.path.is_dir():
        raise MailAdminError(f"There is no folder {folder.path}.")
    return folder.environ(environ)
