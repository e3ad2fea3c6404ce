import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailadmin.errors import SettingMissing
from mailadmin.vault import Unsealable, Vault, new_key, open_vault

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


@given(st.text(), st.binary())
def test_what_was_sealed_opens_again(value: str, context: bytes) -> None:
    vault = Vault([NEW])
    assert vault.open(vault.seal(value, context=context), context=context) == value


def test_a_ciphertext_of_another_row_does_not_open() -> None:
    vault = Vault([NEW])
    with pytest.raises(Unsealable):
        vault.open(vault.seal("lamp", context=b"row 1"), context=b"row 2")


def test_a_changed_ciphertext_does_not_open() -> None:
    vault = Vault([NEW])
    sealed = bytearray(vault.seal("lamp", context=b""))
    sealed[-1] ^= 1
    with pytest.raises(Unsealable):
        vault.open(bytes(sealed), context=b"")


def test_an_old_key_still_opens_and_the_first_key_seals() -> None:
    sealed = Vault([OLD]).seal("lamp", context=b"")
    both = Vault([NEW, OLD])
    assert both.open(sealed, context=b"") == "lamp"
    assert Vault([NEW]).open(both.seal("desk", context=b""), context=b"") == "desk"


def test_an_unknown_key_is_named_as_the_reason() -> None:
    with pytest.raises(Unsealable, match="MAILADMIN_KEYS"):
        Vault([NEW]).open(Vault([OLD]).seal("lamp", context=b""), context=b"")


def test_the_same_value_is_sealed_differently_each_time() -> None:
    vault = Vault([NEW])
    assert vault.seal("lamp", context=b"") != vault.seal("lamp", context=b"")


def test_keys_are_read_from_hexadecimal_and_base64_and_derived_when_absent() -> None:
    sealed = open_vault(keys=[NEW.hex()], secret_key=b"").seal("lamp", context=b"")
    assert open_vault(keys=[base64.b64encode(NEW).decode()], secret_key=b"").open(sealed, context=b"") == "lamp"
    assert open_vault(keys=[], secret_key=b"x" * 40).seal("lamp", context=b"")


@pytest.mark.parametrize("key", ["short", "not base64 at all", "ab" * 31])
def test_a_key_of_another_length_is_refused(key: str) -> None:
    with pytest.raises(SettingMissing):
        open_vault(keys=[key], secret_key=b"")


def test_the_vault_shows_no_key() -> None:
    assert "n" * 8 not in repr(Vault([NEW]))


@pytest.mark.parametrize("key", ["00" * 32, "ab" * 32, base64.b64encode(b"password" * 4).decode()])
def test_a_key_that_nobody_threw_dice_for_is_refused(key: str) -> None:
    with pytest.raises(SettingMissing, match="vault key"):
        open_vault(keys=[key], secret_key=b"x" * 40)


def test_a_new_key_is_taken() -> None:
    assert open_vault(keys=[new_key()], secret_key=b"x" * 40).seal("lamp", context=b"")


def test_what_was_sealed_before_there_were_keys_opens_with_them() -> None:
    sealed = open_vault(keys=[], secret_key=b"x" * 40).seal("lamp", context=b"")
    assert open_vault(keys=[new_key()], secret_key=b"x" * 40).open(sealed, context=b"") == "lamp"
