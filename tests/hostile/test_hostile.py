"""Every scenario of the table: it ends in time and in the right category, and no secret goes where it should not."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mailadmin.mail.types import TLSMode
from tests.hostile.run import Outcome, run
from tests.hostile.scenario import Scenario
from tests.hostile.secret import forms_in
from tests.hostile.table import ALL, FLOODS, HANGING, QUICK, TABLE
from tests.servers.crowd import Crowd, Told
from tests.servers.encryption import UNTRUSTED

HANGING_SECONDS, SECONDS = 5.0, 90.0  # Long enough for a busy machine; only what hangs takes all of it.
LATE = 15.0  # seconds: who is later is not so because the machine is busy
MEGABYTES = 100


@dataclass
class Evening:
    """All scenarios after they were played: how the tests ended, and what the servers heard."""

    outcomes: dict[str, Outcome]
    heard: dict[str, Told]


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    with Crowd(TABLE, tmp_path_factory.mktemp("hostile")) as crowd:
        outcomes = run(HANGING, crowd, seconds=HANGING_SECONDS, at_once=len(HANGING))
        outcomes |= run(QUICK, crowd, seconds=SECONDS, at_once=64)
        outcomes |= run(FLOODS, crowd, seconds=SECONDS, at_once=12)
        yield Evening(outcomes, crowd.close())


@pytest.mark.parametrize("scenario", ALL.values(), ids=lambda one: one.name)
def test_it_ends_in_the_right_category_at_the_right_stage(scenario: Scenario, evening: Evening) -> None:
    outcome = evening.outcomes[scenario.name]
    failure = outcome.failure
    assert (failure.error.category if failure else None) in scenario.expected, str(outcome)
    if failure:
        assert failure.stage in scenario.stages, str(outcome)
    assert outcome.result.has_passed is (failure is None), str(outcome)
    assert not outcome.result.is_broken


def test_every_test_ends_at_its_absolute_deadline_at_the_latest(evening: Evening) -> None:
    limits = {one.name: HANGING_SECONDS if one in HANGING else SECONDS for one in ALL.values()}
    late = {name: one.seconds for name, one in evening.outcomes.items() if one.seconds > limits[name] + LATE}
    assert late == {}


def test_no_password_travels_without_encryption(evening: Evening) -> None:
    assert {name: forms_in(told.plain) for name, told in evening.heard.items() if forms_in(told.plain)} == {}


def test_nothing_at_all_is_said_to_a_server_that_is_not_trusted(evening: Evening) -> None:
    untrusted = {one.name for one in ALL.values() if one.tls in UNTRUSTED or one.trust.pin}
    assert len(untrusted) > 20
    assert {name: evening.heard[name].inside for name in untrusted if evening.heard[name].inside} == {}


def test_plain_text_without_leave_is_not_even_dialled(evening: Evening) -> None:
    plain = {name: evening.heard[name] for name, one in ALL.items() if one.mode is TLSMode.NONE}
    assert len(plain) == 3
    assert [name for name, told in plain.items() if told.connections] == []


def test_nobody_is_signed_in_to_twice(evening: Evening) -> None:
    assert {name: told.sign_ins for name, told in evening.heard.items() if len(told.sign_ins) > 1} == {}


def test_the_password_is_sent_once_at_most(evening: Evening) -> None:
    # What is sent where: a proper server hears it, so that the silence of the others means something.
    proper = [name for name in ALL if name.endswith("a proper server")]
    assert [name for name in proper if not forms_in(evening.heard[name].inside)] == []
    often = {
        name: count
        for name, told in evening.heard.items()
        if (count := max((told.inside.count(form.encode()) for form in forms_in(told.inside)), default=0)) > 1
    }
    assert often == {}


def test_scram_sends_the_password_in_no_form(evening: Evening) -> None:
    scram = {name: told.inside for name, told in evening.heard.items() if "SCRAM" in name}
    assert all(b"SCRAM-SHA-256" in inside for inside in scram.values())
    assert [name for name, inside in scram.items() if forms_in(inside)] == []


def test_what_a_test_tells_holds_no_password_and_no_foreign_banner(evening: Evening) -> None:
    told = {name: _everything(one) for name, one in evening.outcomes.items()}
    assert {name: forms_in(text) for name, text in told.items() if forms_in(text)} == {}
    assert [name for name, text in told.items() if "secret banner" in text] == []


def test_every_text_of_a_server_is_short(evening: Evening) -> None:
    failures = [(name, one.failure.error) for name, one in evening.outcomes.items() if one.failure]
    assert [name for name, error in failures if len(error.detail) > 500 or len(error.message) > 500] == []


def test_no_test_needs_much_more_memory_than_one_of_a_proper_server(evening: Evening) -> None:
    proper = max(one.kib for name, one in evening.outcomes.items() if name.endswith("a proper server"))
    most = {name: (one.kib - proper) // 1024 for name, one in evening.outcomes.items()}
    assert {name: megabytes for name, megabytes in most.items() if megabytes > MEGABYTES} == {}


def _everything(outcome: Outcome) -> str:
    result = outcome.result
    errors = [(one.error.message, one.error.detail, one.error.certificate) for one in result.failures.values()]
    return json.dumps([result.stage_list(), errors, result.folders, result.fixes], default=str, ensure_ascii=False)
