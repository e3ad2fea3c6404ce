"""The second factor: an authenticator that shows codes (TOTP, RFC 6238), and recovery codes for when it is lost.

A code is good for its own half minute and the ones beside it, because clocks differ, and only once: the step of the
last one is kept, and of two that bring the same code at once one is refused. Recovery codes are random words that are
kept as hashes, each good once. Passkeys are in passkeys.py.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence

import pyotp
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.people import sessions
from mailadmin.people.models import Passkey, Person, RecoveryCode
from mailadmin.permissions import Actor
from mailadmin.sealed import Secret
from mailadmin.text import t
from mailadmin.vault import Unsealable

PURPOSE = "totp"
STEP_SECONDS = 30
DIGITS = 6
NEIGHBOURS = (0, -1, 1)  # steps whose codes are taken
RECOVERY_CODES = 10
_RECOVERY_BYTES = 15  # 120 bits: nobody guesses one, so a plain hash is enough


def begin_totp(session: Session, person: Person) -> str:
    """The secret (base32, RFC 4648) to show to `person`: the one that waits to be confirmed, or a new one.

    Raises RuleBroken if an authenticator is in use already.
    """
    if person.totp_since is not None:
        raise RuleBroken(t("You have an authenticator already. Remove it first."))
    if person.totp_id is not None:
        return sealed.reveal(session, person.totp_id).reveal()
    secret = pyotp.random_base32()
    person.totp_id = sealed.keep(session, Secret(secret), purpose=PURPOSE)
    session.flush()
    return secret


def address_of(secret: str, *, person: Person, organisation: str) -> str:
    """What an authenticator reads from the picture: the secret, and for whom and for what it is."""
    issuer = f"Mailadmin {organisation}".strip()
    return pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS).provisioning_uri(
        name=person.email, issuer_name=issuer
    )


def confirm_totp(session: Session, person: Person, code: str, *, actor: Actor) -> Sequence[str]:
    """Use the authenticator from now on, if `code` is what it shows; the new recovery codes, to be shown once.

    Raises RuleBroken at the field `code`.
    """
    if person.totp_id is None or person.totp_since is not None:
        raise RuleBroken(t("Begin anew: there is nothing to confirm."))
    _take_code(session, person, code)
    person.totp_since = now()
    session.flush()
    _note(session, actor, "began to use an authenticator")
    return new_recovery_codes(session, person)


def remove_totp(session: Session, person: Person, *, actor: Actor) -> None:
    """Use no authenticator any more; without a passkey the recovery codes go as well."""
    secret_id, person.totp_id, person.totp_since, person.totp_step = person.totp_id, None, None, 0
    session.flush()
    if secret_id is not None:
        sealed.forget(session, secret_id)
        _note(session, actor, f"stopped using the authenticator of {person.name}")
    forget_recovery_if_alone(session, person)


def check_totp(session: Session, person: Person, code: str) -> None:
    """Take `code` for the second factor. Raises RuleBroken (field `code`) if it is wrong, or was used already."""
    if person.totp_since is None:
        raise RuleBroken(t("You have no authenticator here."), field="code")
    _take_code(session, person, code)


def _take_code(session: Session, person: Person, code: str) -> None:
    assert person.totp_id is not None
    digits = "".join(c for c in code if c.isascii() and c.isdigit())
    present = int(time.time()) // STEP_SECONDS
    try:
        secret = sealed.reveal(session, person.totp_id).reveal()
    except Unsealable as error:  # Its key is missing; `mailadmin vault verify` says so.
        said = t("Your authenticator cannot be checked at the moment. Use one of your recovery codes.")
        raise RuleBroken(said, field="code") from error
    totp = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS)
    steps = [present + n for n in NEIGHBOURS]
    # All of them are computed, whichever fits: the answer takes as long.
    fits = [hmac.compare_digest(totp.generate_otp(step).encode(), digits.encode()) for step in steps]
    step = next((step for step, is_it in zip(steps, fits, strict=True) if is_it), None)
    if step is None:
        said = t("This is not the code that your authenticator shows. Codes change every half minute.")
        raise RuleBroken(said, field="code")
    used = session.execute(
        update(Person)
        .where(Person.id == person.id, Person.totp_step < step)
        .values(totp_step=step)
        .execution_options(synchronize_session=False)
    )
    if used.rowcount != 1:  # type: ignore[attr-defined]
        raise RuleBroken(t("This code was used already. Wait for the next one."), field="code")
    session.refresh(person, ["totp_step"])


def reset(session: Session, person: Person, *, actor: Actor) -> None:
    """Take all second factors from somebody who has lost them, and sign them out; the password alone opens again.

    Meant for somebody else: whoever does it has checked who asks.
    """
    secret_id, person.totp_id, person.totp_since, person.totp_step = person.totp_id, None, None, 0
    session.flush()
    if secret_id is not None:
        sealed.forget(session, secret_id)
    for table in (Passkey, RecoveryCode):
        session.execute(delete(table).where(table.person_id == person.id))
    sessions.end_all(session, person)
    what = f"removed the second factor of {person.name}"
    activity.record(session, actor, what, kind=ActivityKind.PEOPLE)


# Recovery codes.


def new_recovery_codes(session: Session, person: Person) -> Sequence[str]:
    """Ten codes such as `3kq7-w2mz-r5tn-8xvd-4hpc-y6ba`, kept as hashes; the earlier ones are worth nothing."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person.id))
    codes = [base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(person_id=person.id, code_hash=_hash(code)) for code in codes)
    session.flush()
    return ["-".join(code[i : i + 4] for i in range(0, len(code), 4)) for code in codes]


def use_recovery_code(session: Session, person: Person, code: str, *, actor: Actor) -> None:
    """Take one of the recovery codes for the second factor. Raises RuleBroken at the field `code`."""
    used = session.execute(
        update(RecoveryCode)
        .where(
            RecoveryCode.person_id == person.id,
            RecoveryCode.code_hash == _hash(code),
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=now())
        .execution_options(synchronize_session=False)
    )
    if used.rowcount != 1:  # type: ignore[attr-defined]
        raise RuleBroken(t("This is not one of your recovery codes, or it was used already."), field="code")
    _note(session, actor, "used a recovery code", detail=t("{n} are left", n=left(session, person)))


def left(session: Session, person: Person) -> int:
    """How many recovery codes can still be used."""
    mine = RecoveryCode.person_id == person.id, RecoveryCode.used_at.is_(None)
    return session.scalar(select(func.count()).select_from(RecoveryCode).where(*mine)) or 0


def forget_recovery_if_alone(session: Session, person: Person) -> None:
    """Without a second factor recovery codes recover nothing."""
    if person.totp_since is None and not session.scalar(
        select(Passkey.id).where(Passkey.person_id == person.id).limit(1)
    ):
        session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person.id))


def _hash(code: str) -> bytes:
    return hashlib.sha256("".join(c for c in code.lower() if c.isalnum()).encode()).digest()


def _note(session: Session, actor: Actor, what: str, *, detail: str = "") -> None:
    activity.record(session, actor, what, detail=detail, kind=ActivityKind.SIGN_INS)
