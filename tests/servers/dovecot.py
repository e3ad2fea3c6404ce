"""A throw-away Dovecot 2.3 on free ports of 127.0.0.1 and 127.0.0.2; as root it runs as nobody.

By hand: `python -m tests.servers.dovecot --messages 1000` starts one with some mail and says how to reach it.
"""

import argparse
import email.utils
import grp
import imaplib
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tests.ports import free_ports
from tests.servers.certificates import Authority

BINARY = "/usr/sbin/dovecot"
USERS = {"wim@example.org": "password"}

# A client on the same machine counts as secure, so passwords pass in plain text on 127.0.0.1. Connections to 127.0.0.2
# come from another address, as in real life: there STARTTLS is needed, and LOGINDISABLED is announced without it.
_CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
instance_name = mailadmin-test
protocols = imap pop3 submission
listen = 127.0.0.1, 127.0.0.2{listen}
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
ssl = required
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.key
ssl_dh =
disable_plaintext_auth = yes
login_trusted_networks =
auth_mechanisms = plain login{mechanisms}
auth_verbose = yes
auth_failure_delay = {failure_delay}
auth_cache_size = 0
mail_location = maildir:{folder}/mail/%u
mail_max_userip_connections = {connections}
mail_plugins = $mail_plugins quota
maildir_very_dirty_syncs = yes
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
{token_checks}userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
{special}}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=4G
}}
protocol imap {{
  mail_plugins = $mail_plugins imap_quota
}}
submission_relay_host = 127.0.0.1
submission_relay_port = {relay_port}
submission_relay_trusted = yes
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  service_count = 0
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 512
}}
service pop3-login {{
  chroot =
  service_count = 0
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service submission-login {{
  chroot =
  service_count = 0
  inet_listener submission {{
    port = {submission}
  }}
  inet_listener submissions {{
    port = {submissions}
    ssl = yes
  }}
}}
{extra}"""
# Dovecot asks whether a token is good without saying whose mailbox is meant, and compares the user name that comes
# back. Hence every user has a check of their own, which names the mailbox: the answer is that name if the token opens
# it, be it its owner's or a delegate's. Everybody else has one that goes by the owner of the token.
_TOKEN_CHECK = """passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  username_filter = {filter}
  args = {file}
}}
"""
_TOKENS = """introspection_mode = post
introspection_url = {url}
force_introspection = yes
username_attribute = username
active_attribute = active
active_value = true
"""
_SPECIAL = "".join(
    f"  mailbox {name} {{\n    auto = create\n    special_use = \\{name}\n  }}\n"
    for name in ("Drafts", "Sent", "Junk", "Trash", "Archive")
)


def is_installed() -> bool:
    """Whether this machine has a Dovecot whose configuration we can write (2.4 has another language)."""
    if not Path(BINARY).exists():
        return False
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=False).stdout
    return version.startswith("2.3.")


class Dovecot:
    """One server. `ports` has imap imaps pop3 pop3s submission submissions; `ca_file` is what clients must trust.

    With the `introspection_url` of an OAuthServer it takes XOAUTH2 and OAUTHBEARER too: for mailboxes in `users` also
    from those who `may_open` them, for others from their owner. `listen` are addresses beside 127.0.0.1 and 127.0.0.2,
    `extra` is configuration in which FOLDER is the server's own.
    """

    PORTS = ("imap", "imaps", "pop3", "pop3s", "submission", "submissions")

    def __init__(
        self,
        users: Mapping[str, str] = USERS,
        *,
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "127.0.0.2"),
        special_use: bool = True,
        connections: int = 50,
        relay_port: int = 1,
        failure_delay: str = "0 secs",
        listen: tuple[str, ...] = (),
        extra: str = "",
        introspection_url: str = "",
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dvc-"))  # Short, for the path of a Unix socket has 107 bytes.
        self.users = dict(users)
        self.authority = Authority(self.folder)
        self.authority.issue("server", hosts)
        self.ca_file = self.authority.ca_file
        self.ports: dict[str, int] = {}
        self._owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self._settings = {
            "folder": self.folder,
            "user": self._owner.pw_name,
            "group": grp.getgrgid(self._owner.pw_gid).gr_name,
            "uid": self._owner.pw_uid,
            "gid": self._owner.pw_gid,
            "special": _SPECIAL if special_use else "",
            "connections": connections,
            "relay_port": relay_port,
            "failure_delay": failure_delay,
            "listen": "".join(f", {address}" for address in listen),
            "mechanisms": " xoauth2 oauthbearer" if introspection_url else "",
            "token_checks": self._token_checks(introspection_url) if introspection_url else "",
            "extra": extra.replace("FOLDER", str(self.folder)),
        }
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("run", "state", "mail", "home"):
            (self.folder / name).mkdir()
        self.set_passwords(users)

    def _token_checks(self, url: str) -> str:
        """Configuration that has tokens judged at `url`."""
        checks = {user: f"{url}?mailbox={quote(user)}" for user in self.users}
        checks[" ".join(("*", *(f"!{user}" for user in self.users)))] = url
        made = []
        for number, (who, asked) in enumerate(checks.items()):
            file = self.folder / f"tokens-{number}"
            file.write_text(_TOKENS.format(url=asked))
            made.append(_TOKEN_CHECK.format(filter=who, file=file))
        return "".join(made)

    def set_passwords(self, words: Mapping[str, str]) -> None:
        """From now on these people have these passwords, as if they had changed them; nobody else is known."""
        file, began = self.folder / "users.new", int(time.time())
        file.write_text("".join(f"{user}:{{PLAIN}}{word}\n" for user, word in words.items()))
        self._own(file)
        file.rename(self.folder / "users")  # Whoever signs in meanwhile is still known.
        while self._process is not None and int(time.time()) == began:
            time.sleep(0.02)  # Dovecot looks at the file once a second.

    def start(self, attempts: int = 3) -> Self:
        """Start and wait until it greets; with other ports again should somebody have taken one in between."""
        for attempt in range(attempts):
            self.ports = dict(zip(self.PORTS, free_ports(len(self.PORTS)), strict=True))
            (self.folder / "dovecot.conf").write_text(_CONFIGURATION.format(**self._settings, **self.ports))
            self._own(self.folder, *self.folder.rglob("*"))
            try:
                self._launch()
                return self
            except (RuntimeError, TimeoutError):
                self.stop()
                if attempt + 1 == attempts:
                    raise
        return self

    def _launch(self, seconds: float = 60) -> None:
        with (self.folder / "out.txt").open("wb") as out:
            command = [BINARY, "-F", "-c", str(self.folder / "dovecot.conf")]
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=out, **self._as_owner())
        end = time.monotonic() + seconds
        while not self._greets():
            if self._process.poll() is not None:
                raise RuntimeError(self.log())
            if time.monotonic() > end:
                raise TimeoutError(self.log())
            time.sleep(0.02)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.ports["imap"]), 0.5) as sock:
                sock.settimeout(3)
                return sock.recv(64).startswith(b"* OK")
        except OSError:
            return False

    def stop(self) -> None:
        """Stop the server, keep its mail."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def close(self) -> None:
        """Stop the server and remove everything that it wrote."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *args: object) -> None:
        self.close()

    def log(self) -> str:
        """What Dovecot said so far."""
        files = (self.folder / "out.txt", self.folder / "dovecot.log")
        return "\n".join(file.read_text() for file in files if file.exists())

    def deliver(
        self,
        messages: Iterable[bytes | tuple[bytes, datetime]],
        *,
        user: str = "wim@example.org",
        folder: str = "INBOX",
        flags: str = "",
    ) -> int:
        """Put `messages`, each perhaps with its INTERNALDATE, into the maildir; return how many.

        This is the fast way, about 10,000 a second. `flags` are maildir letters: S seen, F flagged, R answered, T
        deleted, D draft. Dovecot notices when the folder is next opened.
        """
        maildir = self.maildir(user, folder)
        stamp, count = time.time_ns(), 0
        for count, entry in enumerate(messages, 1):
            raw, moment = entry if isinstance(entry, tuple) else (entry, None)
            file = maildir / "tmp" / f"{stamp // 10**9}.M{stamp}P{os.getpid()}Q{count:08}.test"
            file.write_bytes(raw)
            if moment is not None:
                os.utime(file, (moment.timestamp(), moment.timestamp()))
            self._own(file)
            file.rename(maildir / "cur" / f"{file.name}:2,{flags}")  # Whoever looks in between sees all of it or none.
        return count

    def append(
        self,
        raw: bytes,
        *,
        user: str = "wim@example.org",
        folder: str = "INBOX",
        flags: str = "",
        moment: datetime | None = None,
    ) -> None:
        """Put one message into a folder over IMAP, the way programs do. `flags` is for example `(\\Seen)`."""
        with self.session(user) as session:
            session.append(f'"{folder}"', flags, imaplib.Time2Internaldate(moment or datetime.now(UTC)), raw)

    def create(self, folder: str, user: str = "wim@example.org") -> None:
        """Create a folder; its name is given in modified UTF-7 (RFC 3501 5.1.3)."""
        with self.session(user) as session:
            session.create(f'"{folder}"')

    def session(self, user: str = "wim@example.org") -> imaplib.IMAP4_SSL:
        """A session of imaplib that is signed in, for arranging a test."""
        context = ssl.create_default_context(cafile=self.ca_file)
        session = imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=context, timeout=60)
        session.login(user, self.users[user])
        return session

    def maildir(self, user: str, folder: str) -> Path:
        """The folder on disk that holds a folder of the mailbox."""
        path = self.folder / "mail" / user
        if folder != "INBOX":
            path /= "." + folder.replace("/", ".")
        for part in ("", "cur", "new", "tmp"):
            if not (path / part).is_dir():
                (path / part).mkdir(parents=True)
                self._own(path / part)
        return path

    def _own(self, *paths: Path) -> None:
        if os.geteuid() == 0:
            for path in paths:
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def _as_owner(self) -> dict[str, object]:
        if os.geteuid() != 0:
            return {}
        return {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}


def a_message(number: int = 1, *, subject: str = "", moment: datetime | None = None) -> bytes:
    """A small, ordinary message."""
    lines = (
        "From: Ada Example <ada@example.org>",
        "To: Wim Example <wim@example.org>",
        f"Subject: {subject or f'Message {number}'}",
        f"Date: {email.utils.format_datetime(moment or datetime.now(UTC))}",
        f"Message-ID: <{number}@example.org>",
        "",
        f"This is message {number}.",
        "",
    )
    return "\r\n".join(lines).encode()


def _main() -> None:
    parser = argparse.ArgumentParser(description="Run a Dovecot for trying things out.")
    parser.add_argument("--messages", type=int, default=0, help="how many messages the inbox holds")
    count = parser.parse_args().messages
    now = datetime.now(UTC)
    moments = [now - timedelta(minutes=10 * number) for number in range(count)]
    with Dovecot() as server:
        server.deliver((a_message(n, moment=moment), moment) for n, moment in enumerate(reversed(moments), 1))
        print("User wim@example.org, password: password")
        print(
            f"Incoming  imap:localhost:{server.ports['imaps']}:implicit  imap:127.0.0.2:{server.ports['imap']}:starttls"
        )
        print(
            f"          pop3:localhost:{server.ports['pop3s']}:implicit  pop3:127.0.0.2:{server.ports['pop3']}:starttls"
        )
        print(f"Outgoing  smtp:localhost:{server.ports['submissions']}:implicit")
        print(f"MAILADMIN_ALLOWED_NETWORKS=127.0.0.0/8,::1/128 MAILADMIN_CA_FILE={server.ca_file}")
        print("Ctrl-C ends it.", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    _main()
