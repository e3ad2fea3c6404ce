"""`mailadmin up` with real processes: it starts, heals, refuses, recovers and stops."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailadmin.cli import queue_server
from mailadmin.cli.data_folder import DataFolder
from tests.ports import free_port
from tests.real import Installation, environment, eventually, processes, run


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("up"))
    yield made
    if made.is_running():
        made.stop()


@pytest.fixture
def up(installation: Installation) -> Installation:
    """An installation that runs."""
    if not installation.is_running():
        installation.start()
    return installation


def test_console_answers_and_the_set_up_link_opens(up: Installation) -> None:
    link = re.search(rf"http://127.0.0.1:{up.port}(/setup\?code=\S+)", up.said())
    assert link
    assert up.status(link[1]) == 200


def test_data_folder_is_for_its_owner_alone(up: Installation) -> None:
    assert up.folder.stat().st_mode & 0o777 == 0o700
    assert (up.folder / "secret_key").stat().st_mode & 0o777 == 0o600
    assert (up.folder / "mailadmin.db").stat().st_mode & 0o077 == 0


def test_a_crash_leaves_no_core_file_with_secrets(up: Installation) -> None:
    for pid in (up.process.pid, *processes(f"MAILADMIN_DATA={up.folder}")):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)


def test_nothing_is_coloured_where_nobody_looks(up: Installation) -> None:
    assert "\x1b" not in up.said()


def test_second_start_on_the_same_folder_refuses(up: Installation) -> None:
    second = run("up", "--port", str(up.port + 1), "--data", str(up.folder))
    assert second.returncode == 1
    assert str(up.folder) in second.stderr
    assert f"process {up.process.pid}" in second.stderr


def test_taken_port_is_said_in_a_sentence(up: Installation, tmp_path) -> None:
    second = run("up", "--port", str(up.port), "--data", str(tmp_path))
    assert second.returncode == 1
    assert f"Port {up.port} on 127.0.0.1 cannot be used" in second.stderr
    assert "Traceback" not in second.stderr


def test_database_that_cannot_be_used_ends_the_start_with_a_sentence(up: Installation, tmp_path) -> None:
    failed = run("up", "--port", str(free_port()), "--data", str(tmp_path), DATABASE_URL="sqlite:////nowhere/a.db")
    assert failed.returncode == 1
    assert "web | The database cannot be used" in failed.stdout
    assert "The web process did not start" in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr


@pytest.mark.parametrize("name", ["web", "runner", "watcher", "queue"])
def test_killed_child_is_started_again(up: Installation, name: str) -> None:
    before = eventually(lambda: up.child(name))
    os.kill(before, signal.SIGKILL)
    eventually(lambda: up.child(name) not in (0, before))
    eventually(lambda: up.status() == 200)


def test_command_beside_it_finds_database_key_and_queue(up: Installation) -> None:
    def works() -> bool:
        doctor = run("doctor", "--json", MAILADMIN_DATA=str(up.folder))
        return doctor.returncode == 0 and json.loads(doctor.stdout)["ok"]

    eventually(works)


def test_killed_supervisor_takes_all_with_it_and_the_next_start_recovers(up: Installation) -> None:
    up.process.kill()
    up.process.wait()
    eventually(lambda: not up.children())
    up.start()
    assert up.status() == 200


def test_start_shuts_down_a_queue_server_that_was_left_behind(up: Installation) -> None:
    up.stop()
    folder = DataFolder(up.folder)
    orphan = subprocess.Popen(queue_server.argv(folder), env=environment())
    eventually(lambda: queue_server.answers(folder.socket))
    up.start()
    assert orphan.wait(60) == 0


def test_interrupt_stops_everything(up: Installation) -> None:
    assert up.stop() == 0
    assert up.children() == {}
    assert "Traceback" not in up.said()


def test_folder_that_holds_something_else_is_left_alone(tmp_path) -> None:
    (tmp_path / "holiday.jpg").touch()
    refused = run("up", "--data", str(tmp_path))
    assert refused.returncode == 1
    assert "holds something else" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]
