"""What somebody typed about an account, in the form in which it is stored. Nothing here asks the database."""

import re

from email_validator import EmailNotValidError, validate_email

from mailadmin.errors import RuleBroken
from mailadmin.mail.addresses import check_host
from mailadmin.sealed import Secret
from mailadmin.text import is_written, t

NAME_LENGTH, ADDRESS_LENGTH, SLUG_LENGTH, NOTES_LENGTH = 120, 254, 60, 5000
LONGEST_MINUTES = 24 * 60  # between two syncs
KEEPABLE_MONTHS = (1, 3, 6, 12, 24, 36, 60, 84, 120)  # of mail, before it is forgotten here
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def check_address(text: str, *, name: str = "address") -> str:
    """The e-mail address in `text`, lower case. Raises RuleBroken at the field `name`."""
    text = text.strip()
    if len(text) > ADDRESS_LENGTH:  # Asked first: the validator takes a second of work for a megabyte.
        raise _too_long(name)
    local, at, domain = text.rpartition("@")
    if not at or not local:
        raise RuleBroken(t("An address has a name, an @ and a domain: name@example.com."), field=name)
    try:
        # Only the part before the @ is judged by mail's own rules: names such as mail.local are right inside a company.
        validate_email(f"{local}@example.com", check_deliverability=False)
        host = check_host(domain)
    except EmailNotValidError as error:
        said = t("The part before the @ cannot be in an address. Check it for spaces and signs.")
        raise RuleBroken(said, field=name) from error
    except ValueError as error:
        raise RuleBroken(t("“{domain}” is not a domain.", domain=domain[:80]), field=name) from error
    if ":" in host or host.rpartition(".")[2].isdigit():
        raise RuleBroken(t("After the @ comes a domain, not a number."), field=name)
    # The domain stays as people write it; where it is compared, it is compared as the DNS knows it.
    address = f"{local}@{domain.strip().removesuffix('.')}".lower()
    if len(address) > ADDRESS_LENGTH:
        raise _too_long(name)
    return address


def _too_long(name: str) -> RuleBroken:
    return RuleBroken(t("An address has at most {n} characters.", n=ADDRESS_LENGTH), field=name)


def check_line(text: str, *, name: str, most: int = NAME_LENGTH) -> str:
    """`text` without spaces around it, if it is one printable line. Raises RuleBroken at the field `name`."""
    line = text.strip()
    if not is_written(line):
        raise RuleBroken(t("Only one line of letters, digits and signs can stand here."), field=name)
    if len(line) > most:
        raise RuleBroken(t("At most {n} characters can stand here.", n=most), field=name)
    return line


def check_password(secret: Secret, *, name: str = "password") -> Secret:
    """`secret` as it was typed, spaces included. Raises RuleBroken at `name` if no mail protocol could send it."""
    value = secret.reveal()
    if any(c in value for c in "\r\n\0"):
        raise RuleBroken(t("A password cannot contain a line break or a NUL character."), field=name)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RuleBroken(t("The password has a character that cannot be sent."), field=name) from None
    return secret


def check_slug(text: str) -> str:
    """The account id in `text`. Raises RuleBroken at the field `slug`."""
    slug = text.strip().lower()
    if len(slug) > SLUG_LENGTH or not _SLUG.fullmatch(slug):
        said = t("An account ID has letters, digits and single hyphens, at most {n}: sales-europe.", n=SLUG_LENGTH)
        raise RuleBroken(said, field="slug")
    return slug


def slug_for(address: str) -> str:
    """An account id made of `address`: info@example.com is info-example-com."""
    return re.sub(r"[^a-z0-9]+", "-", address.lower())[:SLUG_LENGTH].strip("-") or "account"


def check_notes(text: str) -> str:
    """`text` as notes: some lines. Raises RuleBroken at the field `notes`."""
    notes = text.replace("\r\n", "\n").strip()
    if len(notes) > NOTES_LENGTH:
        raise RuleBroken(t("At most {n} characters can stand here.", n=f"{NOTES_LENGTH:,}"), field="notes")
    if not is_written(notes.replace("\n", "").replace("\t", "")):
        raise RuleBroken(t("Only letters, digits and signs can stand here."), field="notes")
    return notes


def check_months(months: int | None) -> int | None:
    """For how many `months` mail is kept, one of KEEPABLE_MONTHS. Raises RuleBroken at the field `keep_months`."""
    if months is not None and months not in KEEPABLE_MONTHS:
        raise RuleBroken(t("Choose how long from the list."), field="keep_months")
    return months


def check_minutes(minutes: int | None) -> int | None:
    """`minutes` between two syncs. Raises RuleBroken at the field `sync_minutes`."""
    if minutes is not None and not 1 <= minutes <= LONGEST_MINUTES:
        said = t("Between 1 and {n} minutes can stand here.", n=f"{LONGEST_MINUTES:,}")
        raise RuleBroken(said, field="sync_minutes")
    return minutes
