"""Every scenario with a token: it ends in time and in the right category, and no piece of the token is in any text."""

import base64
import json
from collections.abc import Iterator

import pytest

from mailadmin.mail.types import Bearer
from tests.hostile.run import Outcome, run
from tests.hostile.scenario import Scenario
from tests.hostile.secret import USER
from tests.hostile.test_hostile import LATE
from tests.hostile.tokens import ALL, HANGING, PAYLOAD, QUICK, TABLE, TOKEN
from tests.servers.crowd import Crowd, Told

HANGING_SECONDS, SECONDS = 2.5, 90.0
PIECE = 14  # characters; eleven or twelve may stay where a server cuts a token in the middle of a piece
_RAW = TOKEN.encode()
_ENCODED = [PAYLOAD.decode(), *(base64.b64encode(b"\0" * before + _RAW).decode() for before in range(3))]


def pieces_in(text: str) -> list[str]:
    """What of the token stands in `text`, as it is, in hexadecimal digits or in base64."""
    wholes = (TOKEN, _RAW.hex(), *_ENCODED)
    found = (whole[at : at + PIECE] for whole in wholes for at in range(len(whole) - PIECE + 1))
    known = {PAYLOAD[: PIECE + at].decode()[-PIECE:] for at in range(36)}  # the user name, which is no secret
    return sorted({piece for piece in found if piece in text and piece not in known})


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Outcome], dict[str, Told]]]:
    how = Bearer(USER, TOKEN)
    with Crowd(TABLE, tmp_path_factory.mktemp("tokens")) as crowd:
        outcomes = run(HANGING, crowd, seconds=HANGING_SECONDS, at_once=len(HANGING), how=how)
        outcomes |= run(QUICK, crowd, seconds=SECONDS, at_once=64, how=how)
        yield outcomes, crowd.close()


Evening = tuple[dict[str, Outcome], dict[str, Told]]


@pytest.mark.parametrize("scenario", ALL.values(), ids=lambda one: one.name)
def test_it_ends_in_the_right_category_at_the_right_stage(scenario: Scenario, evening: Evening) -> None:
    outcome = evening[0][scenario.name]
    failure = outcome.failure
    assert (failure.error.category if failure else None) in scenario.expected, str(outcome)
    if failure:
        assert failure.stage in scenario.stages, str(outcome)
        assert len(failure.error.detail) <= 500
    assert outcome.result.has_passed is (failure is None), str(outcome)
    assert not outcome.result.is_broken
    assert outcome.seconds < (HANGING_SECONDS if scenario in HANGING else SECONDS) + LATE


def test_what_a_test_tells_holds_no_piece_of_the_token(evening: Evening) -> None:
    told = {name: _everything(one) for name, one in evening[0].items()}
    assert {name: pieces_in(text) for name, text in told.items() if pieces_in(text)} == {}
    assert sum("***" in text for text in told.values()) >= 30


def test_the_token_is_sent_once_at_most_and_only_where_it_is_asked_for(evening: Evening) -> None:
    payload = {name: told.inside.count(PAYLOAD[-400:]) for name, told in evening[1].items()}
    assert {name for name, count in payload.items() if count > 1} == set()
    assert all(payload[f"{protocol} implicit: a proper server"] == 1 for protocol in ("imap", "pop3", "smtp"))
    without = [name for name in ALL if "only" in name or "alone" in name or "never asked" in name or "similar" in name]
    assert len(without) >= 9
    assert {name: payload[name] for name in without if payload[name]} == {}


def test_nobody_is_signed_in_to_twice(evening: Evening) -> None:
    assert {name: told.sign_ins for name, told in evening[1].items() if len(told.sign_ins) > 1} == {}


def test_nothing_secret_is_said_before_encryption(evening: Evening) -> None:
    assert [name for name, told in evening[1].items() if pieces_in(told.plain.decode("latin-1"))] == []


def _everything(outcome: Outcome) -> str:
    result = outcome.result
    errors = [(one.error.message, one.error.detail) for one in result.failures.values()]
    return json.dumps([result.stage_list(), errors, result.folders, result.fixes], default=str, ensure_ascii=False)
