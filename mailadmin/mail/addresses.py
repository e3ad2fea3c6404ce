"""Judges hosts, ports and addresses before anybody dials them; it opens nothing and resolves nothing."""

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address

import idna

from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Rules

IP = IPv4Address | IPv6Address

MAIL_PORTS = frozenset({25, 110, 143, 465, 587, 993, 995, 2525})
WEB_PORTS = frozenset({443})

_EXAMPLE = "for example mail.example.com"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_METADATA = frozenset(map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200")))
_ZERO = ipaddress.IPv4Network("0.0.0.0/8")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")  # All that IANA gives out; Python also calls the rest global.


def check_host(text: str) -> str:
    """Return the host name or address in `text` as it is dialled: ASCII (IDNA 2008), lower case, no final dot.

    Raises ValueError with a sentence that says what is wrong and what would be right.
    """
    host = text.strip()
    if not host:
        raise ValueError(f"Enter the name of the server, {_EXAMPLE}.")
    if any(c.isspace() or not c.isprintable() for c in host):
        raise ValueError(f"A server name has no spaces or control characters: enter only the name, {_EXAMPLE}.")
    if "://" in host:
        raise ValueError(f"Enter the server name without {host.split('://')[0][:20]}:// in front, {_EXAMPLE}.")
    if "@" in host:
        raise ValueError(f"Enter the server name alone, without a user name or address, {_EXAMPLE}.")
    if any(c in host for c in "/\\?#%"):
        raise ValueError(f"Enter the server name alone, without a path or extras, {_EXAMPLE}.")
    if host.startswith("[") or host.count(":") > 1:
        return _check_v6(host)
    if ":" in host:
        raise ValueError(f"Enter the port in its own field and here the name alone, {_EXAMPLE}.")
    return _check_name(host)


def _check_v6(host: str) -> str:
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(IPv6Address(inner))
    except ValueError:
        raise ValueError("This is not an IPv6 address; a right one is 2001:db8::25, without a port.") from None


def _check_name(host: str) -> str:
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ValueError(f"The server name has a character that names cannot have; check it, {_EXAMPLE}.") from None
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # 127.1, 0x7f.1 and 2130706433 are addresses to the system's resolver and to nobody else.
        try:
            return str(IPv4Address(name))
        except ValueError:
            raise ValueError("An IPv4 address has four numbers from 0 to 255, for example 192.0.2.25.") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"A server name has letters, digits and hyphens between its dots, {_EXAMPLE}.")
    return name


def check_port(value: int | str) -> int:
    """Return `value` as a port number. Raises ValueError with a sentence that says what would be right."""
    text = str(value).strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or not 1 <= int(text) <= 65535:
        raise ValueError("A port is a whole number from 1 to 65535, for example 993.")
    return int(text)


def judge(address: IP, port: int, rules: Rules, ports: frozenset[int] = MAIL_PORTS) -> None:
    """Return if `rules` let us dial `address`:`port`. Raises MailError (policy) that says why not and what allows it.

    `ports` are those that nobody has to allow: those of mail servers, or of web sites.
    IPv4 addresses inside IPv6 ones (mapped, compatible, 6to4, NAT64) are judged as what they lead to.
    """
    real = unwrapped(address)
    if why := _never(real) or _never(address):
        raise MailError(
            Category.POLICY,
            f"{address} is {why}. Such addresses are never dialled, whatever MAILADMIN_ALLOWED_NETWORKS says.",
            code="policy-never",
        )
    if any(ip.version == network.version and ip in network for ip in {real, address} for network in rules.networks):
        return
    if not real.is_global or (real.version == 6 and real not in _UNICAST):
        raise MailError(
            Category.POLICY,
            f"{address} is not a public address, and its network is not allowed here. "
            f"Whoever runs this installation can allow it in MAILADMIN_ALLOWED_NETWORKS.",
            code="policy-network",
        )
    if port not in ports | rules.ports:
        usual = "a mail port" if ports is MAIL_PORTS else "the port of web sites"
        raise MailError(
            Category.POLICY,
            f"Port {port} is not {usual}. Whoever runs this installation can allow it in MAILADMIN_ALLOWED_PORTS, "
            f"or the whole network in MAILADMIN_ALLOWED_NETWORKS.",
            code="policy-port",
        )


def unwrapped(address: IP) -> IP:
    """Return the IPv4 address that an IPv6 `address` leads to, or `address` itself.

    Forms: mapped and compatible (RFC 4291 2.5.5), 6to4 (RFC 3056), NAT64 (RFC 6052), translated (RFC 7915 and 2765),
    Teredo (RFC 4380).
    """
    if isinstance(address, IPv4Address):
        return address
    inside = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inside is not None:
        return inside
    is_compatible = address in _COMPATIBLE and int(address) > 0xFFFF
    leads_on = is_compatible or address in _NAT64 or address in _TRANSLATED
    return IPv4Address(int(address) & 0xFFFFFFFF) if leads_on else address


def _never(address: IP) -> str:
    """Why `address` is not dialled under any rules, or nothing."""
    if address in _METADATA:
        return "the address of a cloud’s metadata service"
    if address.is_unspecified or (address.version == 4 and address in _ZERO):
        return "not the address of any machine"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if address.version == 4 and address.is_reserved:
        return "a broadcast or reserved address"
    return ""
