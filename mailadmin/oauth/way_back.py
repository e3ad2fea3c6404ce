"""Where browsers come back to, PUBLIC_URL: whether a provider would send anybody there.

Google: https://developers.google.com/identity/protocols/oauth2/web-server#uri-validation
Microsoft: https://learn.microsoft.com/en-us/entra/identity-platform/reply-url
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from mailadmin.oauth import app_rules
from mailadmin.text import t

_GOOGLE = "accounts.google.com"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# No public registry has these: RFC 2606, RFC 6762, and what ICANN keeps for networks of one's own.
_PRIVATE = frozenset({"corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "private", "test"})


def why_refused(public_url: str, authorize_url: str) -> str:
    """Why nobody can be sent back to `public_url` from `authorize_url`, and what to do; empty: we know no reason."""
    parts = urlsplit(public_url)
    host = (parts.hostname or "").rstrip(".")
    if not parts.scheme or not host:
        return t("PUBLIC_URL is not set, so nobody can be sent back. Set it to the address of this console.")
    if parts.scheme != "https" and host not in _LOOPBACK:
        said = "PUBLIC_URL begins with http://. Providers send people back to https:// only, except on this machine."
        return t(said)
    if urlsplit(authorize_url).hostname == _GOOGLE:
        return _why_not_google(host)
    return _why_not_microsoft(parts.scheme, host) if app_rules.is_entra(authorize_url) else ""


def _why_not_google(host: str) -> str:
    if host in _LOOPBACK:
        return ""
    if _is_ip(host):
        said = (
            "PUBLIC_URL has the IP address {host}. Google sends people back to names only, except on this machine."
            " Give this console a name such as mail.example.com, set PUBLIC_URL to it, and open the console there."
        )
        return t(said, host=host)
    if "." not in host or host.rpartition(".")[2].lower() in _PRIVATE:
        said = (
            "PUBLIC_URL has the host {host}. Google takes only names with a public ending, such as mail.example.com."
            " They need not be reached from outside: set PUBLIC_URL to one, and open the console there."
        )
        return t(said, host=host)
    return ""


def _why_not_microsoft(scheme: str, host: str) -> str:
    if host == "::1" or (scheme != "https" and host != "localhost"):
        said = (
            "PUBLIC_URL has the host {host}. With http://, Microsoft’s pages take localhost alone as a redirect URI."
            " Set PUBLIC_URL to http://localhost with the same port for testing, or to an address that begins with"
            " https://, and open the console there."
        )
        return t(said, host=host)
    return ""


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
