"""Sealing secrets with AES-256-GCM; the only importer of `cryptography`'s ciphers."""

import base64
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mailadmin.errors import SettingMissing

KEY_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D 5.2.1.1: 96 bits
KEY_ID_BYTES = 4
LEAST_DIFFERENT = 12  # bytes of a key; a random one has fewer once in 10**17 tries


class Unsealable(Exception):
    """The ciphertext was sealed with a key we do not have, was changed, or belongs to another row."""


class Vault:
    """Seals with the first of its keys and opens with any of them, so that keys can be rotated.

    A sealed value is `key id (4 bytes) + nonce (12 bytes) + ciphertext and tag`. `context` (bytes) ties it to its row:
    a ciphertext copied to another row does not open.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise SettingMissing("Every vault key has to be 32 bytes, written as 64 hexadecimal digits or in base64.")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._first = _key_id(keys[0])

    def __repr__(self) -> str:
        return f"Vault({len(self._ciphers)} keys)"

    def seal(self, value: str, *, context: bytes) -> bytes:
        """`value` encrypted under the first key, bound to `context`."""
        nonce = os.urandom(NONCE_BYTES)
        return self._first + nonce + self._ciphers[self._first].encrypt(nonce, value.encode(), context)

    def is_newest(self, sealed: bytes) -> bool:
        """Whether `sealed` was sealed with the first key."""
        return sealed[:KEY_ID_BYTES] == self._first

    def knows_key(self, sealed: bytes) -> bool:
        """Whether the key of `sealed` is among ours."""
        return sealed[:KEY_ID_BYTES] in self._ciphers

    def open(self, sealed: bytes, *, context: bytes) -> str:
        """The value inside `sealed`. Raises Unsealable."""
        key_id, nonce = sealed[:KEY_ID_BYTES], sealed[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES]
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise Unsealable("This secret was sealed with a key that is not among MAILADMIN_KEYS.")
        try:
            return cipher.decrypt(nonce, sealed[KEY_ID_BYTES + NONCE_BYTES :], context).decode()
        except InvalidTag as error:
            raise Unsealable("This secret was changed, or it belongs to another row.") from error


def open_vault(*, keys: Sequence[str], secret_key: bytes) -> Vault:
    """A vault with `keys` (hexadecimal or base64), and last the one that is derived from `secret_key`.

    The derived key opens what was sealed before there were keys of one's own. Raises SettingMissing for keys that are
    too short, or look made up.
    """
    derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"mailadmin vault 1").derive(secret_key)
    return Vault([*map(_parse, keys), derived])


def new_key() -> str:
    """A key for MAILADMIN_KEYS, as hexadecimal digits."""
    return os.urandom(KEY_BYTES).hex()


def _parse(text: str) -> bytes:
    try:
        key = bytes.fromhex(text) if len(text) == KEY_BYTES * 2 else base64.b64decode(text, validate=True)
    except ValueError as error:
        raise SettingMissing("A key in MAILADMIN_KEYS is neither hexadecimal nor base64.") from error
    if len(key) == KEY_BYTES and len(set(key)) < LEAST_DIFFERENT:
        raise SettingMissing("A key in MAILADMIN_KEYS is no random one. `mailadmin vault key` prints a good one.")
    return key


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"mailadmin key id" + key).digest()[:KEY_ID_BYTES]
