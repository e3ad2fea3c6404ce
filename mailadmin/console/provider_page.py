"""The page of one provider, new or not, as it was filled in: the form, what the catalogue says, the truststore."""

from typing import Any

from flask import request

from mailadmin import db, web
from mailadmin.console import oauth_page, queries
from mailadmin.console.provider_forms import CertificateForm, ProviderForm, StartForm
from mailadmin.console.provider_words import changed_groups, method_hints
from mailadmin.errors import RuleBroken
from mailadmin.mail import known_providers
from mailadmin.mail.advice import advice
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.moves import service as moves
from mailadmin.oauth import service as oauth
from mailadmin.providers import service
from mailadmin.providers.models import Provider
from mailadmin.text import t
from mailadmin.web import Answer


def new_page(form: ProviderForm, *, typed: str = "", known: KnownProvider | None = None, status: int = 0) -> Answer:
    """The page for a new provider; `known` is what it begins as, `typed` what was looked for in the catalogue."""
    context = _about(form, None, known) | {"start": _start(typed)}
    return web.page("providers/new.html", "providers/_form.html", status or _status(), **context)


def edit_page(form: ProviderForm, provider: Provider, *, status: int = 0) -> Answer:
    """The page of `provider`."""
    certificate_form = CertificateForm(formdata=None, data={"version": provider.version})
    context = _about(form, provider, service.known(provider)) | certificates(provider, certificate_form)
    context |= oauth_page.section(provider)
    return web.page("providers/edit.html", "providers/_form.html", status or _status(), **context)


def refused_certificate_page(form: CertificateForm, provider: Provider) -> Answer:
    """The page of `provider` as it is stored, with certificates that were refused."""
    stored = ProviderForm(provider, formdata=None)
    context = _about(stored, provider, service.known(provider)) | certificates(provider, form)
    context |= oauth_page.section(provider)
    return web.page("providers/edit.html", "providers/_certificates.html", 422, **context)


def certificates(provider: Provider, form: CertificateForm) -> dict[str, Any]:
    """What the list of trusted certificates shows."""
    trusted = [(row, service.validity(row), service.days_left(row)) for row in provider.certificates]
    has_passwords = oauth.holds_secrets(db.session(), provider)
    return {"trusted": trusted, "certificate_form": form, "has_passwords": has_passwords}


def _about(form: ProviderForm, provider: Provider | None, known: KnownProvider | None) -> dict[str, Any]:
    session = db.session()
    changed = service.changed_here(provider) if provider else frozenset()
    return {
        "form": form,
        "provider": provider,
        "known": known,
        "advice": advice(known) if known else [],
        "patterns": [] if not known or service.can_be_shared(known) else known.servers,
        "hints": method_hints(known),
        "changed": changed_groups(changed),
        "can_reset": provider is not None and bool(changed) and bool(service.differences(session, provider)),
        "used": queries.accounts_at(session, provider) if provider else 0,
        "legacy": moves.by_method(session, provider) if provider else {},
    }


def _start(typed: str) -> dict[str, Any]:
    """What the question where to start shows: the catalogue, and what of it fits the words that were typed."""
    found = service.search_catalogue(typed) if typed else []
    form = StartForm(formdata=None, data={"catalogue": typed})
    if typed and not found:
        said = t("The catalogue has nothing like “{words}”.", words=typed[:80])
        form.refuse(RuleBroken(said, field="catalogue"))
    names = [known.name for known in known_providers.everyone().values()]
    return {"form": form, "names": names, "found": found if len(found) > 1 else []}


def _status() -> int:
    return 422 if request.method == "POST" else 200
