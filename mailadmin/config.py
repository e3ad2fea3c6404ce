"""The settings of an installation, read once from the environment by whoever starts a process."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from mailadmin.errors import SettingMissing
from mailadmin.mail.findings import ISPDB
from mailadmin.mail.types import Rules

ROOT = Path(__file__).resolve().parent.parent
LONGEST_CHECK_SECONDS = 45  # A job has 120 seconds, and may be at its end when it takes the last test.
LEAST_DIFFERENT = 8  # characters of SECRET_KEY
TRUE = {"1", "true", "yes", "on"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs between two installations. Secrets are left out of the repr."""

    database_url: str
    redis_url: str
    secret_key: bytes
    vault_keys: tuple[str, ...]
    public_url: str
    rules: Rules
    redis_tls_verify: bool = True
    sync_minutes: int = 5
    sync_workers: int = 2
    check_seconds: float = 15.0
    proxies: int = 0
    secure_cookies: bool = False
    ispdb: str = ISPDB

    def __repr__(self) -> str:
        return f"Settings(database={self.database_url.partition(':')[0]}, public_url={self.public_url!r})"

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file, so that only one process at a time can write."""
        return self.database_url.startswith("sqlite")


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from environment variables; docs/commands.md lists them.

    Raises SettingMissing with a sentence for whoever starts the process.
    """
    key = _secret(environ, "SECRET_KEY")
    if len(key) < 32:
        raise SettingMissing(
            "SECRET_KEY is missing or shorter than 32 characters. Set it to a long random text, or use `mailadmin up`,"
            " which keeps one in its data folder."
        )
    if len(set(key)) < LEAST_DIFFERENT:
        raise SettingMissing("SECRET_KEY is not random enough. `mailadmin vault key` prints a good one.")
    public_url = environ.get("PUBLIC_URL", "").rstrip("/")
    return Settings(
        database_url=_database_url(environ),
        redis_url=_redis_url(environ),
        secret_key=key.encode(),
        vault_keys=tuple(k.strip() for k in _secret(environ, "MAILADMIN_KEYS").split(",") if k.strip()),
        public_url=public_url,
        rules=read_rules(environ),
        redis_tls_verify=environ.get("REDIS_TLS_VERIFY", "1").lower() in TRUE,
        sync_minutes=_whole(environ, "MAILADMIN_SYNC_MINUTES", 5, least=1),
        # Two, as small machines have processors; one writes while the other waits for servers, 32 at a time each.
        sync_workers=_whole(environ, "MAILADMIN_SYNC_WORKERS", 2, least=1, most=64),
        check_seconds=_whole(environ, "MAILADMIN_CHECK_SECONDS", 15, least=1, most=LONGEST_CHECK_SECONDS),
        # Heroku's router stands in front of every dyno and speaks TLS; elsewhere nobody's headers are believed unasked.
        proxies=_whole(environ, "MAILADMIN_PROXIES", 1 if environ.get("DYNO") else 0, least=0),
        secure_cookies=public_url.startswith("https:") or bool(environ.get("DYNO")),
        ispdb=read_ispdb(environ),
    )


def read_rules(environ: Mapping[str, str]) -> Rules:
    """What connections to mail servers may do: networks, ports, plaintext, an extra CA file, own name servers."""
    try:
        networks = tuple(ip_network(n) for n in _list(environ, "MAILADMIN_ALLOWED_NETWORKS"))
    except ValueError as error:
        raise SettingMissing(
            f"MAILADMIN_ALLOWED_NETWORKS is not a list of networks such as 10.0.0.0/8,192.168.1.0/24: {error}."
        ) from error
    try:
        ports = frozenset(int(p) for p in _list(environ, "MAILADMIN_ALLOWED_PORTS"))
    except ValueError as error:
        raise SettingMissing("MAILADMIN_ALLOWED_PORTS is not a list of port numbers such as 1143,1587.") from error
    ca_file = environ.get("MAILADMIN_CA_FILE") or None
    if ca_file and not Path(ca_file).is_file():
        raise SettingMissing(f"MAILADMIN_CA_FILE names {ca_file}, which is not a file.")
    plaintext = environ.get("MAILADMIN_ALLOW_PLAINTEXT", "").lower() in TRUE
    name_servers = tuple(_name_server(text) for text in _list(environ, "MAILADMIN_DNS"))
    return Rules(networks=networks, ports=ports, plaintext=plaintext, ca_file=ca_file, name_servers=name_servers)


def read_ispdb(environ: Mapping[str, str]) -> str:
    """The base URL of the public list of mail domains; empty: it is not asked."""
    url = environ.get("MAILADMIN_ISPDB_URL", ISPDB).strip()
    if url and not url.startswith("https://"):
        raise SettingMissing(f"MAILADMIN_ISPDB_URL has to begin with https://, such as {ISPDB}, or to be empty.")
    return url


def normalised_database_url(url: str) -> str:
    """`url` as SQLAlchemy wants it: hosting platforms still write `postgres://`."""
    for old in ("postgres://", "postgresql://"):
        if url.startswith(old):
            return "postgresql+psycopg://" + url.removeprefix(old)
    return url


def _database_url(environ: Mapping[str, str]) -> str:
    url = environ.get("DATABASE_URL", "")
    if not url and environ.get("DYNO"):
        raise SettingMissing("DATABASE_URL is missing. A dyno forgets its files: add a PostgreSQL database.")
    if not url and environ.get("MAILADMIN_DATA"):
        url = f"sqlite:///{Path(environ['MAILADMIN_DATA']).resolve() / 'mailadmin.db'}"
    if not url:
        raise SettingMissing(
            "DATABASE_URL is missing. Name a PostgreSQL database, set MAILADMIN_DATA to a folder for SQLite,"
            " or use `mailadmin up`."
        )
    return normalised_database_url(url)


def _redis_url(environ: Mapping[str, str]) -> str:
    url = environ.get("REDIS_URL", "")
    if not url:
        raise SettingMissing(
            "REDIS_URL is missing. Name a Redis or Valkey server, or use `mailadmin up`, which brings one."
        )
    if is_open_to_others(url):
        raise SettingMissing(
            f"The queue server {without_password(url)} is on another machine and asks for no password, so whoever"
            " reaches it could give us jobs. Set a password there and write it into REDIS_URL: redis://:PASSWORD@HOST."
        )
    return url


def is_open_to_others(redis_url: str) -> bool:
    """Whether the queue server is on another machine and asks for no password."""
    parts = urlsplit(redis_url)
    return parts.scheme != "unix" and not parts.password and parts.hostname not in {"localhost", "127.0.0.1", "::1"}


def without_password(url: str) -> str:
    """`url` as it may be shown: without its user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def _secret(environ: Mapping[str, str], name: str) -> str:
    """The value of `name`, or the content of the file that `name_FILE` names."""
    path = environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingMissing(f"{name}_FILE names {path}, which cannot be read: {error.strerror}.") from error
    return environ.get(name, "").strip()


def _name_server(text: str) -> tuple[str, int]:
    """The address and port in `text`: `192.0.2.53`, `192.0.2.53:5353`, `[2001:db8::53]:5353`."""
    try:
        parts = urlsplit(f"//{text}" if text.count(":") < 2 or text.startswith("[") else f"//[{text}]")
        return str(ip_address(parts.hostname or "")), parts.port or 53
    except ValueError as error:
        raise SettingMissing(
            "MAILADMIN_DNS is not a list of addresses of name servers such as 192.0.2.53,127.0.0.1:5353."
        ) from error


def _list(environ: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in environ.get(name, "").split(",") if part.strip()]


def _whole(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int = 1_000_000) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise SettingMissing(f"{name} has to be a whole number from {least} to {most}, such as {default}.")
    return int(text)
