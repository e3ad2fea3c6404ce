"""Export and import of providers. An import is shown before it is done, and is done whole or not at all."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.errors import RuleBroken
from mailadmin.mail.scrub import visible
from mailadmin.permissions import Actor
from mailadmin.providers import domains, truststore
from mailadmin.providers.exchange_file import Wanted, as_entry, entries, entry_of, shown_name, wanted, written
from mailadmin.providers.models import Provider
from mailadmin.providers.saving import exposures, flush, save
from mailadmin.text import t


class Kind(StrEnum):
    """What an entry of a file is to this installation."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    REFUSED = "refused"

    @property
    def order(self) -> int:
        """Where it stands in a list: what needs somebody comes first."""
        return [Kind.REFUSED, Kind.CHANGED, Kind.NEW, Kind.SAME].index(self)


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a file.

    `changes` are facts as they are here and there, `exposures` say why stored passwords would be less safe than before,
    `reasons` why it is refused.
    """

    kind: Kind
    name: str
    reasons: tuple[str, ...] = ()
    changes: tuple[tuple[str, Any, Any], ...] = ()
    exposures: tuple[str, ...] = ()
    wanted: Wanted | None = None
    provider: Provider | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import would do. `content` is what was read, `fingerprint` stands for exactly this plan."""

    lines: tuple[Line, ...]
    content: str

    def count(self, kind: str) -> int:
        """How many entries are of `kind`."""
        return sum(line.kind == kind for line in self.lines)

    @property
    def can_be_done(self) -> bool:
        """Whether something would change and nothing is refused."""
        return not self.count(Kind.REFUSED) and len(self.lines) > self.count(Kind.SAME)

    @property
    def exposes(self) -> bool:
        """Whether stored passwords would go to new or less safe servers."""
        return any(line.exposures for line in self.lines)

    @property
    def fingerprint(self) -> str:
        """The same for the same entries in the same installation."""
        told = [(line.kind, line.provider and (line.provider.id, line.provider.version)) for line in self.lines]
        return hashlib.sha256(json.dumps([told, self.content]).encode()).hexdigest()


def export(session: Session) -> str:
    """All providers as a file; the trusted certificates are in it, passwords and private keys are not."""
    return written(session.scalars(select(Provider)).all())


def plan(session: Session, content: bytes, *, has_passwords: Callable[[Session, Provider], bool]) -> Plan:
    """What the file `content` would do; nothing is changed. Raises RuleBroken at `file` if it is no such file."""
    told = entries(content)
    here = list(session.scalars(select(Provider)))
    read = [_read(entry) for entry in told]
    matched = [_matched(one, here) if isinstance(one, Wanted) else None for one in read]
    twice = _twice([one for one in read if isinstance(one, Wanted)], [row for row in matched if row])
    kept = {row.domain: provider for provider in here if provider not in matched for row in provider.domains}
    lines = []
    for entry, one, provider in zip(told, read, matched, strict=True):
        reasons = [one] if isinstance(one, str) else _clashes(one, provider, here, kept, twice)
        if isinstance(one, str) or reasons:
            lines.append(Line(Kind.REFUSED, shown_name(entry), tuple(reasons)))
        else:
            exposed = provider is not None and has_passwords(session, provider)
            lines.append(_line(one, provider, exposed=exposed))
    compact = {"mailadmin": "providers", "version": 1, "providers": told}
    return Plan(tuple(lines), json.dumps(compact, separators=(",", ":")))


def apply(session: Session, planned: Plan, *, is_same_company: bool, actor: Actor) -> int:
    """Do what was `planned`; how many providers are new or changed.

    Raises RuleBroken, and then the caller rolls back: at `is_same_company` when stored passwords would be less safe.
    """
    if planned.count(Kind.REFUSED):
        raise RuleBroken(t("Nothing is imported while an entry is refused."))
    if planned.exposes and not is_same_company:
        said = t("Tick this if the stored passwords may be sent to these servers; if not, take them out of the file.")
        raise RuleBroken(said, field="is_same_company")
    todo = [line for line in planned.lines if line.kind in (Kind.NEW, Kind.CHANGED)]
    for line in todo:  # Domains may move from one provider to another: all of them leave before one arrives.
        if line.provider is not None and line.wanted is not None:
            keeping = {row.domain for row in line.provider.domains} & set(line.wanted.wish.domains)
            domains.put(line.provider, keeping)
    session.flush()
    for line in todo:
        _do(session, line, actor)
    if todo:
        detail = t("{n} providers", n=len(todo))
        activity.record(session, actor, "imported providers from a file", detail=detail, kind=ActivityKind.PROVIDERS)
        session.flush()
    return len(todo)


def _do(session: Session, line: Line, actor: Actor) -> None:
    assert line.wanted is not None
    version = line.provider.version if line.provider else None
    provider = save(
        session, provider=line.provider, wish=line.wanted.wish, version=version, has_passwords=False, actor=actor
    )
    provider.catalogue_key, provider.catalogue_copy = line.wanted.key, line.wanted.said
    truststore.put(provider, line.wanted.certificates, actor=actor)
    flush(session, provider.name)


def _read(entry: Any) -> Wanted | str:
    try:
        return wanted(entry)
    except RuleBroken as broken:
        return visible(broken.message)  # It may quote the file.


def _matched(one: Wanted, here: Sequence[Provider]) -> Provider | None:
    """The provider that an entry is about: the one with its place in the catalogue, else the one with its name."""
    by_key = next((row for row in here if one.key and row.catalogue_key == one.key), None)
    return by_key or next((row for row in here if row.name.lower() == one.wish.name.lower()), None)


def _twice(read: Sequence[Wanted], matched: Sequence[Provider]) -> set[str]:
    """Names, domains, keys (with a colon before) and ids (with a number sign) that stand more than once in a file."""
    counted = Counter(one.wish.name.lower() for one in read)
    counted.update(f"@{domain}" for one in read for domain in one.wish.domains)
    counted.update(f":{one.key}" for one in read if one.key)
    counted.update(f"#{row.id}" for row in matched)
    return {word for word, number in counted.items() if number > 1}


def _clashes(
    one: Wanted, provider: Provider | None, here: Sequence[Provider], kept: dict[str, Provider], twice: set[str]
) -> list[str]:
    """Why `one` cannot be, for what else is in the file and in this installation."""
    name, wish = one.wish.name.lower(), one.wish
    reasons = [t("{domain} stands twice in this file.", domain=d) for d in wish.domains if f"@{d}" in twice]
    if name in twice or f":{one.key}" in twice or (provider and f"#{provider.id}" in twice):
        reasons.append(t("This provider stands twice in this file."))
    others = [row for row in here if row is not provider]
    if any(row.name.lower() == name for row in others):
        reasons.append(t("Another provider here has this name already."))
    owned = [(domain, kept[domain]) for domain in wish.domains if domain in kept and kept[domain] is not provider]
    return reasons + [t("{domain} belongs to {name} already.", domain=d, name=row.name) for d, row in owned]


def _line(one: Wanted, provider: Provider | None, *, exposed: bool) -> Line:
    if provider is None:
        return Line(Kind.NEW, one.wish.name, wanted=one)
    before, after = entry_of(provider), as_entry(one)
    facts = dict.fromkeys([*before, *after])
    changes = tuple((fact, before.get(fact), after.get(fact)) for fact in facts if before.get(fact) != after.get(fact))
    if not changes:
        return Line(Kind.SAME, one.wish.name, wanted=one, provider=provider)
    why = _why_exposed(one, provider) if exposed else ()
    return Line(Kind.CHANGED, one.wish.name, changes=changes, exposures=tuple(why), wanted=one, provider=provider)


def _why_exposed(one: Wanted, provider: Provider) -> list[str]:
    trusted = {row.sha256 for row in provider.certificates}
    fresh = [told["subject"] for told, _ in one.certificates if told["sha256"] not in trusted]
    said = [t("{subject} would be trusted.", subject=subject) for subject in fresh]
    return exposures(provider, one.wish.servers, one.wish.minimum_tls) + said
