"""A town of mail domains for tests of discovery: name server, web sites and usual mail servers on loopback addresses.

Everything listens in a random network of 127.0.0.0/8, so that several towns live side by side and web sites have the
port 443, which has to be allowed: as root it is, elsewhere by `sysctl net.ipv4.ip_unprivileged_port_start=0`.

For a browser test: start the installation with `town.environment(dovecot.ca_file, sink.ca_file)`, then

    town.add_srv("harbour.test", imap=("localhost", dovecot.ports["imaps"]), smtp=("localhost", sink.port))
    town.add_autoconfig("meadow.test", imap=("localhost", dovecot.ports["imaps"]), smtp=("localhost", sink.port))
    town.add("moor.test")  # exists, and nobody knows where its mail is

and domains that were not added do not exist. Names without a dot, such as localhost, are found by the system.
"""

import errno
import random
import ssl
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Self

from mailadmin.mail.types import Rules
from tests.servers.certificates import Authority
from tests.servers.dns import NameServer
from tests.servers.silent import Behaviour, Listener
from tests.servers.website import Page, Websites

LOW_PORTS = "Port 443 cannot be used here: run as root, or allow it with sysctl net.ipv4.ip_unprivileged_port_start=0."
Where = tuple[str, int]


class Town:
    """Use it with `with`; `names` is its NameServer, `web` its Websites, both at `address`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder, "town")
        self._settle()
        self._hosts: list[str] = []  # those with doors have an address each
        self._stack = ExitStack()

    def _settle(self) -> None:
        self._network = f"127.{random.randint(2, 254)}.{random.randint(0, 254)}"
        self.address = f"{self._network}.1"

    def __enter__(self) -> Self:
        while True:
            try:
                self.web = self._stack.enter_context(Websites(self.authority, self.address))
                break
            except PermissionError as error:
                raise PermissionError(LOW_PORTS) from error
            except OSError as error:  # Another town is there.
                if error.errno != errno.EADDRINUSE:
                    raise
                self._settle()
        self.names = self._stack.enter_context(NameServer(self.address))
        self.names.add("ispdb.test", "A", self.address)
        return self

    def __exit__(self, *args: object) -> None:
        self._stack.close()

    @property
    def ispdb(self) -> str:
        """The base URL of the town's own public list; a domain's page there is `ispdb` and the domain."""
        return "https://ispdb.test/v1.1/"

    @property
    def rules(self) -> Rules:
        """Rules by which the town can be reached and is trusted."""
        network = ip_network(f"{self._network}.0/24")
        return Rules((network,), ca_file=str(self.authority.ca_file), name_servers=((self.address, self.names.port),))

    def environment(self, *ca_files: Path) -> dict[str, str]:
        """Settings for an installation that lives here, and trusts `ca_files` as well."""
        trusted = self.folder / "town-trusted.pem"
        trusted.write_bytes(b"".join(file.read_bytes() for file in (self.authority.ca_file, *ca_files)))
        return {
            "MAILADMIN_DNS": f"{self.address}:{self.names.port}",
            "MAILADMIN_ISPDB_URL": self.ispdb,
            "MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8",
            "MAILADMIN_CA_FILE": str(trusted),
        }

    def add(self, domain: str, *, mx: str = "") -> None:
        """Add a domain that exists, whose mail `mx` takes in; that is a host of its own unless named."""
        self.names.add(domain, "A", self.address)
        self.names.add(domain, "MX", f"10 {mx or f'in.{domain}'}.")

    def add_srv(self, domain: str, **servers: Where) -> None:
        """Add a domain that names `servers` (by protocol, with implicit TLS) in SRV records."""
        self.add(domain)
        services = {"imap": "_imaps", "pop3": "_pop3s", "smtp": "_submissions"}
        for protocol, (host, port) in servers.items():
            self.names.add(f"{services[protocol]}._tcp.{domain}", "SRV", f"0 1 {port} {host}.")

    def add_autoconfig(self, domain: str, *, name: str = "", **servers: Where) -> None:
        """Add a domain whose owner has put a file that names `servers` (by protocol, with implicit TLS)."""
        self.add(domain)
        self.names.add(f"autoconfig.{domain}", "A", self.address)
        self.put_file(f"https://autoconfig.{domain}/mail/config-v1.1.xml", autoconfig(name or domain, **servers))

    def put_file(self, url: str, file: bytes | Page | Behaviour) -> None:
        """Answer `url` with `file`."""
        self.web.pages[url] = Page(file) if isinstance(file, bytes) else file

    def open_door(self, host: str, port: int, behaviour: Behaviour, *, certificate_for: str = "") -> None:
        """Have a server listen at `port` of `host` with implicit TLS, or without if `certificate_for` is `-`."""
        address = self.room_for(host)
        context = None
        if certificate_for != "-":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.authority.issue(f"mail-{host}-{port}", (certificate_for or host,)))
        self._stack.enter_context(Listener(behaviour, context=context, at=(address, port)))

    def room_for(self, host: str) -> str:
        """Return the address that `host` has to itself."""
        if host not in self._hosts:
            self._hosts.append(host)
            self.names.add(host, "A", self.room_for(host))
        return f"{self._network}.{2 + self._hosts.index(host)}"


def autoconfig(name: str, **servers: Where) -> bytes:
    """A file as domains have it; `imap=(host, port)` and so on."""
    elements = "".join(
        f'<{"outgoing" if protocol == "smtp" else "incoming"}Server type="{protocol}">'
        f"<hostname>{host}</hostname><port>{port}</port><socketType>SSL</socketType>"
        "<username>%EMAILADDRESS%</username><authentication>password-cleartext</authentication>"
        f"</{'outgoing' if protocol == 'smtp' else 'incoming'}Server>"
        for protocol, (host, port) in servers.items()
    )
    return (
        f'<?xml version="1.0"?><clientConfig version="1.1"><emailProvider id="x"><displayName>{name}</displayName>'
        f"{elements}</emailProvider></clientConfig>"
    ).encode()
