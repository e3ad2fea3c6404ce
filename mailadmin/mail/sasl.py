"""The payloads of the sign-in mechanisms, before base64; sending them is the task of the adapters."""

import base64


def plain(username: str, password: str) -> bytes:
    """Return the PLAIN message (RFC 4616 section 2) in UTF-8, without an authorization identity."""
    return b"\0" + username.encode("utf-8") + b"\0" + password.encode("utf-8")


def login(username: str, password: str) -> tuple[bytes, bytes]:
    """Return the two answers of the LOGIN mechanism (draft-murchison-sasl-login) in UTF-8: user name, then password."""
    return username.encode("utf-8"), password.encode("utf-8")


def encoded(payload: bytes) -> str:
    """Return `payload` in base64 on one line; an empty one is `=` (RFC 4959 section 3)."""
    return base64.b64encode(payload).decode("ascii") or "="
