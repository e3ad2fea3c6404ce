"""From a mail domain to its servers: what the catalogue, the domain's owner and the DNS say, and what answers.

How it works. An address at a provider of the catalogue needs no network. Otherwise the MX is asked first, because it
also tells that there is no such domain; after a moment, whether it has answered or not, everybody else is asked at
once, each in a thread of its own. The search is over when the best answer that can still come has come, and those who
know less have had half a second more; usual names are tried only when nobody knew anything.

Time. All connections and questions share one absolute deadline, a moment before that of the search itself, so that
their threads end with it. Who has not answered by then is reported as late.

What they say is judged in autoconfig.py and srv.py; every source is asked by a function of sources.py.
"""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

from mailadmin.mail import sources
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.findings import ISPDB, Attempt, Discovery, Finding, Source, as_plain, from_plain
from mailadmin.mail.sources import Answer, Question
from mailadmin.mail.types import Rules

__all__ = ["ISPDB", "SECONDS", "Attempt", "Discovery", "Finding", "Source", "as_plain", "discover", "from_plain"]

SECONDS = 5.0
# Parts of the whole time:
_HEAD_START = 0.06  # of the MX
_GRACE = 0.1  # for those who know less than the best answer
_PROBE_AT = 0.4  # usual names are tried, even if others still keep us waiting
_TALK = 0.96  # connections and questions end
_LATE = "No answer came in time."


def discover(domain: str, rules: Rules, *, seconds: float = SECONDS, ispdb: str = ISPDB) -> Discovery:
    """Ask everybody about `domain` (lower case, IDNA) at once, for at most `seconds`. Never raises on what they say.

    `ispdb` is the base URL of the public list, which learns the domain; empty: it is not asked.
    """
    if finding := sources.catalogue(domain):
        found = Attempt(Source.CATALOGUE, domain, found=True)
        why = f"Not asked, because {domain} is a domain of {finding.name}."
        return Discovery(domain, (finding,), (found, *_not_asked(domain, ispdb, why)))
    search = _Search(domain, rules, seconds, ispdb)
    try:
        return search.run()
    finally:
        search.end()


@dataclass
class _Try:
    """One source that is being asked."""

    source: Source
    asked: str
    future: Future[Answer]
    answer: Answer | None = field(default=None)


class _Search:
    """One search for the servers of a domain."""

    def __init__(self, domain: str, rules: Rules, seconds: float, ispdb: str) -> None:
        self._question = Question(domain, rules, Deadline(seconds * _TALK))
        self._ispdb = ispdb
        self._seconds, self._began = seconds, time.monotonic()
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="discovery")
        self._tries: list[_Try] = []
        self._grace_ends: float | None = None

    def run(self) -> Discovery:
        """Search until it is over."""
        mx = self._ask(Source.MX, _asked_of_mx(self._question.domain), sources.mx)
        self._wait(self._seconds * _HEAD_START)
        if not self._has_nothing_to_find:
            self._ask_everybody()
        while not self._is_over:
            self._wait(self._until_next_step())
            self._ask_more(mx)
        return self._result(mx)

    def end(self) -> None:
        """Let the threads go; they end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, source: Source, asked: str, function: Callable[[Question], Answer]) -> _Try:
        made = _Try(source, asked, self._pool.submit(function, self._question))
        self._tries.append(made)
        return made

    def _ask_everybody(self) -> None:
        domain = self._question.domain
        for url in sources.owner_urls(domain):
            self._ask(Source.AUTOCONFIG, url, partial(sources.owner_file, url=url))
        self._ask(Source.SRV, _asked_of_srv(domain), sources.services)
        if self._ispdb:
            self._ask_ispdb(domain)

    def _ask_ispdb(self, about: str) -> None:
        url = sources.ispdb_url(self._ispdb, about)
        self._ask(Source.ISPDB, url, partial(sources.ispdb_file, base=self._ispdb, about=about))

    def _ask_more(self, mx: _Try) -> None:
        """What is asked only when others know nothing: the public list about the MX's domain, then usual names."""
        if self._findings or self._has_nothing_to_find:
            return
        domain = self._question.domain
        asked = {one.asked for one in self._tries}
        listed = [one for one in self._tries if one.source is Source.ISPDB]
        if mx.answer and not mx.answer.gateway and listed and all(one.answer for one in listed):
            for parent in sources.parents(mx.answer.hosts, domain):
                if sources.ispdb_url(self._ispdb, parent) not in asked:
                    self._ask_ispdb(parent)
        is_time = self._elapsed >= self._seconds * _PROBE_AT or all(one.answer for one in self._tries)
        if is_time and _asked_of_names(domain) not in asked:
            self._ask(Source.PROBE, _asked_of_names(domain), sources.usual_names)

    def _wait(self, seconds: float) -> None:
        """Wait for the next answer for at most `seconds`, and take what has come."""
        wait([one.future for one in self._running], timeout=seconds, return_when=FIRST_COMPLETED)
        for one in self._running:
            if one.future.done():
                one.answer = one.future.result()
        if self._is_settled and self._grace_ends is None:
            self._grace_ends = self._elapsed + self._seconds * _GRACE

    def _until_next_step(self) -> float:
        steps = [self._seconds, self._grace_ends or self._seconds]
        if not self._findings:
            steps.append(self._seconds * _PROBE_AT)
        ahead = [step - self._elapsed for step in steps if step > self._elapsed]
        return min(ahead, default=0.0)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    @property
    def _running(self) -> list[_Try]:
        return [one for one in self._tries if one.answer is None]

    @property
    def _findings(self) -> list[Finding]:
        found = [one.answer.finding for one in self._tries if one.answer and one.answer.finding]
        different: dict[object, Finding] = {}
        for one in found:
            different.setdefault((one.source, one.servers, one.login), one)
        return sorted(different.values(), key=lambda finding: finding.source.rank)

    @property
    def _has_nothing_to_find(self) -> bool:
        return any(one.answer.nothing_to_find for one in self._tries if one.answer)

    @property
    def _is_settled(self) -> bool:
        """Whether nobody who is still being asked knows better than the best answer so far."""
        findings = self._findings
        return bool(findings) and all(one.source.rank >= findings[0].source.rank for one in self._running)

    @property
    def _is_over(self) -> bool:
        if self._has_nothing_to_find or self._elapsed >= self._seconds:
            return True
        if self._grace_ends is not None and self._elapsed >= self._grace_ends:
            return True
        has_tried_all = bool(self._findings) or any(one.source is Source.PROBE for one in self._tries)
        return has_tried_all and not self._running

    def _result(self, mx: _Try) -> Discovery:
        domain, answer = self._question.domain, mx.answer or Answer()
        findings = () if answer.nothing_to_find else tuple(self._findings)
        problem = answer.problem if answer.nothing_to_find else ""
        attempts = [Attempt(Source.CATALOGUE, domain, problem=f"{domain} is no domain of a known provider.")]
        attempts += [self._attempt(one) for one in self._tries]
        tried = {one.source for one in self._tries}
        attempts += [one for one in _not_asked(domain, self._ispdb, _why(findings, problem)) if one.source not in tried]
        attempts.sort(key=lambda attempt: attempt.source.rank)
        return Discovery(domain, findings, tuple(attempts), answer.gateway, problem)

    def _attempt(self, one: _Try) -> Attempt:
        """What became of `one`."""
        if one.answer is not None:
            found = one.answer.finding is not None
            return Attempt(one.source, one.asked, found, one.answer.problem, one.answer.timed_out)
        if self._elapsed < self._seconds:
            return Attempt(one.source, one.asked, problem="Not waited for, because a better answer had come.")
        return Attempt(one.source, one.asked, problem=_LATE, timed_out=True)


def _why(findings: tuple[Finding, ...], problem: str) -> str:
    """Why a source was not asked at all."""
    if problem:
        return f"Not asked, because {problem[0].lower()}{problem[1:]}"
    return f"Not asked, because {'others have answered' if findings else 'the time was over'}."


def _not_asked(domain: str, ispdb: str, why: str) -> list[Attempt]:
    """An attempt for each source in the network that was not asked; where the public list is off, that is why."""
    asked = [
        (Source.MX, _asked_of_mx(domain), why),
        *((Source.AUTOCONFIG, url, why) for url in sources.owner_urls(domain)),
        (Source.SRV, _asked_of_srv(domain), why),
        (
            Source.ISPDB,
            sources.ispdb_url(ispdb, domain) if ispdb else "the public list",
            why if ispdb else "Not asked, because this installation does not use the public list.",
        ),
        (Source.PROBE, _asked_of_names(domain), why),
    ]
    return [Attempt(source, what, problem=problem) for source, what, problem in asked]


def _asked_of_mx(domain: str) -> str:
    return f"MX records of {domain}"


def _asked_of_srv(domain: str) -> str:
    return f"SRV records of {domain}"


def _asked_of_names(domain: str) -> str:
    return f"imap.{domain}, mail.{domain}, smtp.{domain}"
