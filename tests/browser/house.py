"""Accounts that somebody set up wrongly, the real servers that they meet, and the installation that holds them."""

import subprocess
import threading
from pathlib import Path

from tests.factories import PASSWORD
from tests.real import COMMAND, Installation, environment
from tests.servers.certificates import Authority
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import Sink

WORD = "password"
# People click with scripts and without; each way has accounts and servers of its own, which end in these digits.
WAYS = {"scripts": 1, "plain": 2}
PEOPLE = {"scripts": "ada@example.com", "plain": "ines@example.com"}
_SELF_SIGNED, _UNKNOWN, _MISNAMED = "127.0.1.{}", "127.0.2.{}", "127.0.3.{}"
_SLOWNESS = 0.6  # seconds


class Post(list[tuple[str, list[str], bytes]]):
    """What a Sink was sent; a moment later it lies in the mailbox of Dovecot, as mail does."""

    def __init__(self, dovecot: Dovecot) -> None:
        super().__init__()
        self._dovecot = dovecot

    def append(self, sent: tuple[str, list[str], bytes]) -> None:
        super().append(sent)
        _, recipients, raw = sent
        for user in recipients:
            threading.Timer(_SLOWNESS, self._dovecot.deliver, [[raw]], {"user": user}).start()


class House:
    """The servers. `stranger` is the certificate of an authority that the installation does not know."""

    def __init__(self, folder: Path) -> None:
        addresses = [where.format(n) for where in (_SELF_SIGNED, _UNKNOWN, _MISNAMED) for n in WAYS.values()]
        self._words = _users()
        self.dovecot = Dovecot(self._words, listen=tuple(addresses), extra="".join(map(_local, addresses)))
        authority, strange = self.dovecot.authority, Authority(self.dovecot.folder, "strange")
        for n in WAYS.values():
            authority.issue_self_signed(_SELF_SIGNED.format(n), (_SELF_SIGNED.format(n),))
            strange.issue(_UNKNOWN.format(n), (_UNKNOWN.format(n),))
            authority.issue(_MISNAMED.format(n), ("localhost",))
        self.stranger = strange.ca_file
        self.slow_certificate = authority.issue("slow")
        self.smtp = Sink(folder, "implicit", users=self._words)
        self.smtp.messages = Post(self.dovecot)
        self.authorities = folder / "authorities.pem"
        self.authorities.write_bytes(self.dovecot.ca_file.read_bytes() + self.smtp.ca_file.read_bytes())

    def change_password(self, user: str, password: str) -> None:
        """As the owner of a mailbox does, without telling anybody."""
        self._words[user] = password  # The Sink looks here.
        self.dovecot.set_passwords(self._words)

    def accounts(self) -> str:
        """The file of accounts to import: one that works and four that do not, for each way."""
        imap, imaps = self.dovecot.ports["imap"], self.dovecot.ports["imaps"]
        rows = ["address,incoming,outgoing,username,password"]
        for way, n in WAYS.items():
            rows += [
                f"wim-{way}@example.org,imap:localhost:{imaps}:implicit,smtp:localhost:{self.smtp.port}:implicit,,{WORD}",
                f"door-{way}@example.org,imap:localhost:{imap}:implicit,,,{WORD}",
                f"olga-{way}@example.org,imap:localhost:{imaps}:implicit,,,{WORD}",
                f"pin-{way}@example.org,imap:{_SELF_SIGNED.format(n)}:{imaps}:implicit,,,{WORD}",
                f"name-{way}@example.org,imap:{_MISNAMED.format(n)}:{imaps}:implicit,,,{WORD}",
            ]
        return "\n".join(rows)


def unknown_host(way: str) -> str:
    """The server whose authority the installation does not know."""
    return _UNKNOWN.format(WAYS[way])


def furnish(installation: Installation, house: House) -> None:
    """Add people and accounts with the commands for it."""
    for email in PEOPLE.values():
        name = email.partition("@")[0].title()
        words = ("--email", email, "--name", name, "--role", "administrator", "--password-stdin")
        mailadmin(installation, "people", "add", *words, typed=f"{PASSWORD}\n")
    file = installation.folder.parent / "accounts.csv"
    file.write_text(house.accounts())
    mailadmin(installation, "accounts", "import", str(file))


def mailadmin(installation: Installation, *words: str, typed: str = "") -> None:
    """Do a command on the data of `installation`."""
    variables = environment(MAILADMIN_DATA=str(installation.folder), MAILADMIN_ALLOWED_NETWORKS="127.0.0.0/8")
    done = subprocess.run([*COMMAND, *words], env=variables, input=typed, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr


def _users() -> dict[str, str]:
    """Whole addresses sign in, but Olga with the part before the @."""
    names = [f"{who}-{way}" for who in ("wim", "door", "pin", "name", "lake", "slow") for way in WAYS]
    return {f"{name}@example.org": WORD for name in names} | {f"olga-{way}": WORD for way in WAYS}


def _local(address: str) -> str:
    return f"local {address} {{\n  ssl_cert = <FOLDER/{address}.pem\n  ssl_key = <FOLDER/{address}.key\n}}\n"
