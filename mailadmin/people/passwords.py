"""Passwords of the people who sign in here: what is accepted, and how it is kept (argon2id, RFC 9106)."""

import re
from collections.abc import Sequence
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from mailadmin.errors import RuleBroken
from mailadmin.text import t

SHORTEST, LONGEST = 12, 1024
SHORTEST_ALONE = 15  # where nothing but the password is asked for (NIST SP 800-63B-4 3.1.1.2)
OURS = ("mailadmin", "mail", "console", "administrator", "company", "welcome")  # words that people here think of first
EXAMINED, GUESSED_SOON = 40, 1e8
FEW, NAMED = 5, 3  # so many different characters are too few; words of a name from so many letters on
# OWASP's second set: 19 MiB and two passes, fit for a machine with 512 MB.
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# Verified when nobody has the address that was typed, so that the answer takes as long: a hash with the same parameters
# (a test says so) of a random password that was thrown away.
NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$1Iu4xeTQ4+C4DhPY4oHshQ$twGOrAyFpigp2pz803pNIBs2cf3vb6/gH+qQbJJrXt0"

# Common ones of our time and kind, beside the 30,000 that zxcvbn brings.
# fmt: off
COMMON = frozenset({
    "123456789012", "1234567890123", "12345678901234", "123456789012345", "1234567890qwerty", "000000000000",
    "111111111111", "112233445566", "123123123123", "123456123456", "147258369147", "987654321012", "abcabcabcabc",
    "abcd12345678", "abcdefghijkl", "administrator", "administrator1", "adminadminadmin", "asdfasdfasdf",
    "asdfghjkl123", "changemechangeme", "changeme1234", "correcthorsebatterystaple", "iloveyou1234", "letmeinletmein",
    "mailadmin123", "mailadminmailadmin", "michaeljordan", "passw0rd1234", "password1234", "password12345",
    "password123456", "password2024", "password2025", "password2026", "passwordpassword", "p@ssw0rd1234",
    "qazwsxedcrfv", "qwerty123456", "qwertyqwerty", "qwertyuiop12", "qwertyuiop123", "qwertyuiopas", "qwertzuiop12",
    "q1w2e3r4t5y6", "1q2w3e4r5t6y", "1qaz2wsx3edc", "zaq12wsxcde3", "trustno1trustno1", "unbelievable",
    "welcome12345", "welcome123456", "zxcvbnmzxcvb",
})
# fmt: on


def hash_password(password: str) -> str:
    """The hash to keep of `password`."""
    return _hasher.hash(password)


def fits(password: str, kept: str | None) -> bool:
    """Whether `password` belongs to the hash `kept`; as slow when there is none."""
    try:
        matches = _hasher.verify(kept or NOBODY, password[:LONGEST])
    except VerificationError:
        return False
    return matches and kept is not None and len(password) <= LONGEST


def is_outdated(kept: str) -> bool:
    """Whether `kept` was made with other parameters than a new hash would be."""
    return _hasher.check_needs_rehash(kept)


def check(password: str, *, email: str, name: str, organisation: str = "", is_only: bool = True) -> None:
    """Raise RuleBroken (field `password`) unless `password` is good enough for the person.

    `is_only`: it is all that the person has to know or to have; then it has to be longer.
    """
    shortest = SHORTEST_ALONE if is_only else SHORTEST
    if len(password) < shortest:
        raise RuleBroken(t("Use at least {n} characters. Four unrelated words do.", n=shortest), field="password")
    if len(password) > LONGEST:
        raise RuleBroken(t("Use at most {n} characters.", n=LONGEST), field="password")
    if why := _easily_guessed(password, email=email.lower(), name=name.lower(), organisation=organisation.lower()):
        raise RuleBroken(why, field="password")


def _easily_guessed(password: str, *, email: str, name: str, organisation: str) -> str:
    """Why whoever guesses comes to `password` soon, or nothing."""
    lowered = password.lower()
    if lowered in _listed():
        return t("This password is among the most common ones. Choose another one.")
    if len(set(lowered)) < FEW:
        return t("This repeats a few characters. Choose another password.")
    if _is_personal(lowered, email=email, name=name):
        return t("Your name or address is easy to guess. Choose another password.")
    if _is_of(lowered, ["mailadmin", *_words(organisation), *_words(name), *_words(email)]):
        return t(
            "This is made of names that everybody here knows, such as the organisation’s. Choose another password."
        )
    if _is_guessed_soon(password, [*OURS, *_words(organisation), email, *name.split()]):
        said = t("This is made of what is guessed first: leaked passwords, their variations, rows of keys, dates.")
        return said + " " + t("Four unrelated words are better.")
    return ""


@cache
def _listed() -> frozenset[str]:
    """The most common passwords, as far as they are long enough to be typed here at all."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # Here, see below.

    return COMMON | frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= SHORTEST)


def _words(text: str) -> list[str]:
    """The words of a name or an address that are long enough to be recognised."""
    return [word for word in re.findall(r"[^\W\d_]+", text) if len(word) >= NAMED]


def _is_of(password: str, words: Sequence[str]) -> bool:
    """Whether the letters of `password` are these words and nothing else, however often."""
    letters = "".join(c for c in password if c.isalpha())
    ends = {0}  # where a row of words from the beginning ends
    for at in range(len(letters)):
        if at in ends:
            ends |= {at + len(word) for word in words if letters.startswith(word, at)}
    return bool(letters) and len(letters) in ends


def _is_guessed_soon(password: str, ours: list[str]) -> bool:
    """Whether whoever guesses finds `password`, or its beginning, among the first hundred million.

    That is by lists of 30,000 leaked passwords, words and names: joined, turned around, with digits for letters.
    """
    from zxcvbn import zxcvbn  # Here: its lists cost every process that has them time and memory.

    return float(zxcvbn(password[:EXAMINED], user_inputs=ours)["guesses"]) < GUESSED_SOON


def _is_personal(password: str, *, email: str, name: str) -> bool:
    """Whether `password` holds the whole address or name, or is little more than a part of them."""
    if any(whole and whole in password for whole in (email, name)):
        return True
    parts = [part for part in (email.partition("@")[0], *name.split()) if len(part) > 3]
    return any(part in password and len(password) - len(part) < SHORTEST - 4 for part in parts)
