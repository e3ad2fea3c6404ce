"""The password of all hostile tests, and every form under which it could turn up somewhere."""

import base64
import urllib.parse

USER = "wim@example.org"
PASSWORD = "correct-Horse-71/battery"
PLAIN = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())


def forms(password: str = PASSWORD) -> set[str]:
    """The password, a good part of it, quoted, in hexadecimal digits, and in base64 wherever in a text it begins."""
    raw = password.encode()
    found = {password, password[:9], password[-9:]}
    found |= {urllib.parse.quote(password, safe=""), raw.hex(), base64.b64encode(raw).decode().rstrip("=")}
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        found.add(text[4 if before else 0 : -2])  # Without the characters that its neighbours have a part in.
    return found


def forms_in(text: str | bytes) -> list[str]:
    """Which of the forms `text` contains."""
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    return sorted(form for form in forms() if form in text)
