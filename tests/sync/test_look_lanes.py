"""The threads that look: servers that are silent leave room for those that answer."""

import threading
from types import SimpleNamespace
from typing import cast

import pytest

from mailadmin.sync import lanes
from mailadmin.sync.lanes import AHEAD, MOST_UNSURE, Lanes
from mailadmin.sync.lookable import Look
from mailadmin.sync.looked import Looked


def lookers(server: str, *account_ids: int) -> list[Look]:
    return [cast(Look, SimpleNamespace(account_id=id_, server=server)) for id_ in account_ids]


def test_however_many_servers_are_silent_those_that_answer_are_looked_at() -> None:
    ends = threading.Event()

    def work(look: Look) -> Looked:
        return Looked(look, is_new=look.server != "fine" and ends.wait(120))

    threads, silent = Lanes(work), [f"silent {number}" for number in range(100)]
    threads.add(lookers("fine", 1))
    threads.forget(threads.came(60.0))
    assert threads.held == []
    rooms = threads.rooms([*silent, "fine"])
    assert [rooms[one] for one in silent] == [1] * MOST_UNSURE + [0] * (100 - MOST_UNSURE)
    assert rooms["fine"] == AHEAD
    for number, server in enumerate(silent, 100):
        threads.add(lookers(server, number))  # More than there is room for.
    rooms = threads.rooms([*silent, "fine"])
    assert {rooms[one] for one in silent} == {0}
    threads.add(lookers("fine", *range(2, 22)))
    came: list[int] = []
    while len(came) < 20 and (found := threads.came(60.0)):
        came += [one.look.account_id for one in found]
    assert sorted(came) == [*range(2, 22)]
    ends.set()
    threads.close(wait_for_all=True)


def test_only_of_a_server_that_keeps_somebody_waiting_others_are_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ends = threading.Event(), threading.Event()

    def work(look: Look) -> Looked:
        begun.set()
        return Looked(look, is_new=ends.wait(120))

    monkeypatch.setattr(lanes, "MOST_UNSURE", 1)
    monkeypatch.setattr(lanes, "SLOW_SECONDS", 600.0)
    threads = Lanes(work)
    threads.add(lookers("unknown", 1, 2))
    assert begun.wait(60)
    assert threads.take_back() == []
    monkeypatch.setattr(lanes, "SLOW_SECONDS", -1.0)
    assert [look.account_id for look in threads.take_back()] == [2]
    assert [look.account_id for look in threads.held] == [1]
    ends.set()
    threads.close(wait_for_all=True)
