"""What a job does for an attempt: ask for tokens, find out who signed in and what was granted, and judge that.

It reads, talks, and writes, each by itself; like refresh.py it commits, because tokens must be stored before use.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailadmin import authorization, db
from mailadmin.accounts.models import Account
from mailadmin.authorization import Client, Identity, Tokens
from mailadmin.errors import RuleBroken
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Rules
from mailadmin.oauth import apps, consent
from mailadmin.oauth.models import Attempt, AttemptState, GrantKind
from mailadmin.text import t
from mailadmin.vault import Unsealable

TALK_SECONDS = 15.0
# What names a person, and is asked for beside mail; providers answer with longer or shorter names for these.
_ABOUT_PEOPLE = frozenset({"openid", "email", "profile", "offline_access"})


@dataclass(frozen=True, slots=True)
class _Question:
    started_at: datetime | None
    kind: GrantKind
    client: Client | None
    known: dict[str, Any]
    redirect_uri: str
    key_file: str
    token_url: str
    scopes: tuple[str, ...]
    mailbox: str
    identity: str


def ask(attempt_id: int, rules: Rules) -> None:
    """Carry an ANSWERED attempt on: it is GRANTED or REFUSED afterwards. Repeatable: any other one is left alone."""
    try:
        question = _read(attempt_id)
        if question is None:
            return
        known, identity = _talk(question, rules)
    except (RuleBroken, Unsealable, LookupError) as broken:
        said = broken.message if isinstance(broken, RuleBroken) else t("What was begun cannot be opened any more.")
        _write_refusal(attempt_id, MailError(Category.CONFIG, said))
    except MailError as error:
        _write_refusal(attempt_id, error)
    else:
        _write(attempt_id, question, known, identity)


def _read(attempt_id: int) -> _Question | None:
    with db.reading() as session:
        attempt = session.get(Attempt, attempt_id)
        if attempt is None or attempt.state is not AttemptState.ANSWERED:
            return None
        app, is_service = attempt.app, attempt.kind is GrantKind.SERVICE_ACCOUNT
        return _Question(
            started_at=attempt.started_at,
            kind=attempt.kind,
            client=None if is_service else apps.client_of(session, app, attempt.kind),
            known=consent.opened(session, attempt),
            redirect_uri=attempt.redirect_uri,
            key_file=apps.service_key(session, app) if is_service else "",
            token_url=apps.url(app, app.token_url),
            scopes=tuple((app.scopes if attempt.kind is GrantKind.PERSON else app.app_scopes).split()),
            mailbox=attempt.account.address,
            identity=attempt.identity,
        )


def _talk(question: _Question, rules: Rules) -> tuple[dict[str, Any], Identity]:
    """The tokens, as an attempt keeps them, and who signed in. Raises MailError."""
    if "access" in question.known:  # They came before, and somebody has accepted since whose they are.
        return question.known, Identity((question.identity,) if question.identity else ())
    deadline = Deadline(TALK_SECONDS)
    _check_issuer(question, rules, deadline)
    tokens, identity = _tokens(question, rules, deadline), Identity()
    if question.kind is GrantKind.PERSON:
        _check_scopes(question, tokens)
        if not tokens.refresh:
            said = t("The provider gave no refresh token, so the account would stop within the hour.")
            raise MailError(Category.OAUTH, said, code="oauth_no_refresh_token")
        assert question.client is not None
        identity = authorization.identity(
            question.client, rules, deadline, tokens=tokens, nonce=question.known["nonce"]
        )
    scopes = tokens.scopes if tokens.scopes is not None else question.scopes
    return {
        "access": tokens.access,
        "refresh": tokens.refresh,
        "expires_at": tokens.expires_at.isoformat(),
        "scopes": " ".join(sorted(scopes)),
    }, identity


def _tokens(question: _Question, rules: Rules, deadline: Deadline) -> Tokens:
    if question.client is None:
        return authorization.service_account(
            question.key_file,
            rules,
            deadline,
            subject=question.mailbox,
            scopes=question.scopes,
            token_url=question.token_url,
        )
    if question.kind is GrantKind.APPLICATION:
        return authorization.client_credentials(question.client, rules, deadline)
    return authorization.exchange(
        question.client,
        rules,
        deadline,
        code=question.known["code"],
        verifier=question.known["verifier"],
        redirect_uri=question.redirect_uri,
    )


def _check_issuer(question: _Question, rules: Rules, deadline: Deadline) -> None:
    """Raise MailError if the answer does not say who sent it, though its issuer publishes that it does (RFC 9207 2.4).

    One that names another issuer was refused when it came.
    """
    issuer = question.client.issuer if question.client else ""
    if question.kind is not GrantKind.PERSON or question.known.get("issuer") or not issuer or "{" in issuer:
        return
    try:
        promised = authorization.discover(issuer, rules, deadline).says_issuer
    except MailError:
        return  # Nobody promised anything.
    if promised:
        said = t("The answer does not say which server it came from, as this provider’s do, so it was not used.")
        raise MailError(Category.POLICY, said, code="oauth_issuer")


def _check_scopes(question: _Question, tokens: Tokens) -> None:
    """Raise MailError if a permission for mail was not given; which ones is said in its detail."""
    if tokens.scopes is None:
        return  # RFC 6749 5.1: then all of them were.
    granted = {_plain(scope) for scope in tokens.scopes}
    missing = [s for s in question.scopes if s.casefold() not in _ABOUT_PEOPLE and _plain(s) not in granted]
    if missing:
        said = t("Not everything was allowed that was asked for. Missing: {scopes}", scopes=", ".join(missing))
        raise MailError(Category.OAUTH, said, code="oauth_scope_missing")


def _plain(scope: str) -> str:
    """`scope` as it is compared: Microsoft answers with another of its hosts, or with none, and without upper case."""
    return scope.rstrip("/").rpartition("/")[2].casefold()


def _write(attempt_id: int, question: _Question, known: dict[str, Any], identity: Identity) -> None:
    with db.transaction() as session:
        attempt = _mine(session.get(Attempt, attempt_id, with_for_update={"of": Attempt}), question.started_at)
        if attempt is None:
            return
        account = session.get(Account, attempt.account_id)
        address = account.address if account else ""
        # Whom a provider names without vouching for it may still be seen to be somebody else.
        named = identity.addresses or identity.doubted
        vouched = address if address in identity.addresses else next(iter(identity.addresses), "")
        attempt.identity = (vouched or ("" if address in named else next(iter(named), "")))[:254]
        attempt.scopes = known["scopes"]
        consent.put(session, attempt, known)
        is_other = bool(named) and address not in named and not attempt.is_delegate
        if is_other and attempt.kind is GrantKind.PERSON:
            said = t("{who} signed in, but this account is {address}.", who=attempt.identity, address=address)
            consent.refuse(session, attempt, MailError(Category.OAUTH, said, code=consent.WRONG_IDENTITY))
        else:
            attempt.state = AttemptState.GRANTED


def _write_refusal(attempt_id: int, error: MailError) -> None:
    with db.transaction() as session:
        attempt = session.get(Attempt, attempt_id, with_for_update={"of": Attempt})
        if attempt is not None and attempt.state is AttemptState.ANSWERED:
            consent.refuse(session, attempt, error)


def _mine(attempt: Attempt | None, started_at: datetime | None) -> Attempt | None:
    """`attempt`, unless another job has taken it meanwhile."""
    is_mine = attempt is not None and attempt.state is AttemptState.ANSWERED and attempt.started_at == started_at
    return attempt if is_mine else None
