"""Writes words into lines of PowerShell that administrators paste."""

import re


def word(text: str) -> str:
    """Return `text` as PowerShell takes it for one word: | and $ may stand in an address, and act there."""
    if re.fullmatch(r"[\w.+@-]*", text, re.ASCII):
        return text
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", text) + "'"
