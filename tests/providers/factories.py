"""A catalogue for the tests, which says what they need."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mailadmin.mail import known_providers
from mailadmin.mail.known_providers import KnownProvider, Refusal
from mailadmin.mail.types import ServiceType, SignInMethod

SERVERS = ("imap:imap.lake.example:993:implicit", "smtp:smtp.lake.example:465:implicit")
LAKESIDE = KnownProvider(
    key="lakeside",
    name="Lakeside",
    short_name="Lakeside",
    sources=("https://lake.example/help",),
    checked=date(2026, 11, 22),
    domains=("lake.example", "pond.example"),
    servers=(*SERVERS, "smtp:smtp.lake.example:587:starttls"),
    methods=(SignInMethod.OAUTH, SignInMethod.APP_PASSWORD),
    service_type=ServiceType.GOOGLE,
    refused=(Refusal(SignInMethod.PASSWORD, "2025-05-01"),),
    switch_on="Open the settings and switch IMAP on.",
    remark="The lake freezes in winter.",
    help_url="https://lake.example/help",
    app_password_url="https://lake.example/app-passwords",
    files_sent=True,
    most_connections=15,
    least_minutes=10,
)
Says = Callable[..., KnownProvider]


def says(monkeypatch: pytest.MonkeyPatch) -> Says:
    """What makes the catalogue of another release: Lakeside with other facts, and nothing else; or nothing at all."""

    def change(*more: KnownProvider, is_gone: bool = False, **facts: Any) -> KnownProvider:
        lakeside = replace(LAKESIDE, **facts)
        entries = {entry.key: entry for entry in ([] if is_gone else [lakeside, *more])}
        monkeypatch.setattr(known_providers, "everyone", lambda: entries)
        return lakeside

    return change
