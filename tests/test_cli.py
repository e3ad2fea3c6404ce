"""The command itself: help, errors, where settings come from; and the files that platforms and `make` read."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mailadmin import db
from mailadmin.cli.data_folder import DataFolder, with_data_folder
from mailadmin.config import ROOT, read_settings
from mailadmin.errors import MailAdminError
from tests.real import run


def a_data_folder(path: Path) -> DataFolder:
    folder = DataFolder(path)
    folder.make()
    folder.make_key()
    return folder


def test_help_names_every_command() -> None:
    said = run("--help").stdout
    for name in ("up", "migrate", "web", "runner", "doctor", "people", "check", "accounts"):
        assert re.search(rf"^  {name} ", said, re.MULTILINE)


def test_sync_stands_below_accounts() -> None:
    assert " sync " in run("accounts", "--help").stdout


def test_wrong_usage_exits_2() -> None:
    assert run("polish").returncode == 2
    assert run("up", "--port", "0").returncode == 2


def test_missing_setting_is_a_sentence_and_exits_1() -> None:
    done = run("migrate")
    assert done.returncode == 1
    assert done.stderr.startswith("SECRET_KEY is missing")


def test_database_that_is_away_is_a_sentence(tmp_path: Path) -> None:
    done = run(
        "migrate",
        SECRET_KEY="long and random, for a test" * 2,
        REDIS_URL="redis://127.0.0.1:1",
        DATABASE_URL=f"sqlite:///{tmp_path}/no/db",
    )
    assert done.returncode == 1
    assert done.stderr.startswith("The database cannot be used")


def test_migrate_prints_a_set_up_link_until_there_is_an_administrator(tmp_path: Path) -> None:
    a_data_folder(tmp_path)
    first = run("migrate", MAILADMIN_DATA=str(tmp_path), PUBLIC_URL="https://mail.example.com")
    assert re.search(r"https://mail\.example\.com/setup\?code=\S{20,}", first.stdout)
    assert json.loads(run("--data", str(tmp_path), "migrate", "--json").stdout)["setup"].startswith("/setup?code=")
    add = [
        "people",
        "add",
        "--email",
        "ada@example.com",
        "--name",
        "Ada",
        "--role",
        "administrator",
        "--password-stdin",
    ]
    subprocess.run(
        [sys.executable, "-m", "mailadmin", "--data", str(tmp_path), *add],
        cwd=ROOT, input="lamp desk harbour 7\n", text=True, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert json.loads(run("--data", str(tmp_path), "migrate", "--json").stdout) == {"setup": None}


def test_key_is_made_once(tmp_path: Path) -> None:
    key = a_data_folder(tmp_path).key.read_text()
    assert len(key) == 64
    assert a_data_folder(tmp_path).key.read_text() == key


def test_data_folder_fills_in_what_the_environment_leaves_out(tmp_path: Path) -> None:
    folder = a_data_folder(tmp_path / "with space")
    settings = read_settings(with_data_folder({"MAILADMIN_DATA": str(folder.path)}))
    assert settings.database_url == f"sqlite:///{folder.path}/mailadmin.db"
    assert settings.redis_url == f"unix://{tmp_path}/with%20space/queue.sock"
    assert settings.secret_key.decode() == folder.key.read_text()


def test_default_folder_is_used_when_nothing_is_set(tmp_path: Path) -> None:
    folder = a_data_folder(tmp_path / "mailadmin")
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    assert with_data_folder(environ)["MAILADMIN_DATA"] == str(folder.path)
    elsewhere = {**environ, "DATABASE_URL": "postgresql://db/mail"}
    assert with_data_folder(elsewhere) == elsewhere


def test_what_the_environment_says_is_kept(tmp_path: Path) -> None:
    a_data_folder(tmp_path)
    said = {
        "MAILADMIN_DATA": str(tmp_path),
        "SECRET_KEY": "long and random, for a test" * 2,
        "REDIS_URL": "redis://queue:6379",
    }
    assert with_data_folder(said) == said


def test_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MailAdminError, match="There is no folder"):
        with_data_folder({}, tmp_path / "nowhere")


def test_socket_of_a_long_path_is_short_and_in_a_folder_of_our_own(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / ("long" * 20) / ("longer" * 10))
    folder.make_socket_folder()
    assert len(os.fsencode(folder.socket)) <= 100
    assert folder.socket.parent.stat().st_mode & 0o777 == 0o700
    folder.socket.parent.chmod(0o777)
    with pytest.raises(MailAdminError, match="belongs to somebody else"):
        folder.make_socket_folder()
    folder.socket.parent.rmdir()


def test_doctor_says_what_to_do(tmp_path: Path) -> None:
    a_data_folder(tmp_path)
    run("--data", str(tmp_path), "migrate")
    done = run("--data", str(tmp_path), "doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert {name for name, finding in findings.items() if not finding["ok"]} == {"runner", "watcher", "clock", "queue"}
    assert "mailadmin up" in findings["queue"]["text"]


def test_doctor_notices_that_the_key_was_changed(tmp_path: Path) -> None:
    from mailadmin import boot, sealed

    folder = a_data_folder(tmp_path)
    run("--data", str(tmp_path), "migrate")
    boot.start(read_settings(folder.environ({})))
    with db.transaction() as session:
        sealed.keep(session, sealed.Secret("a password"), purpose="test")
    db.database().engine.dispose()
    done = run("--data", str(tmp_path), "doctor", SECRET_KEY="another key" * 4)
    assert "the stored secrets do not open" in done.stdout


def test_procfile_is_one_that_platforms_read() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "honcho", "check"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "Valid procfile detected (release, web, runner, watcher)" in done.stderr


def test_app_json_asks_for_what_is_needed() -> None:
    app = json.loads((ROOT / "app.json").read_text())
    assert app["env"]["SECRET_KEY"]["generator"] == "secret"
    assert app["env"]["WEB_CONCURRENCY"]["value"] == "1"
    assert app["env"]["MAILADMIN_SYNC_WORKERS"]["value"] == "1"
    assert set(app["formation"]) == {"web", "runner", "watcher"}
    assert len(app["addons"]) == 2


def test_wsgi_door_opens(tmp_path: Path) -> None:
    environ = a_data_folder(tmp_path).environ({"PATH": os.environ["PATH"]})
    code = "import app; print(app.app.test_client().get('/healthz').status_code)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.stdout == "200\n", done.stderr


# `make`


def make(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`make` in an empty checkout, as far as the virtual environment."""
    environ = {"PATH": os.environ["PATH"], **variables}
    command = ["make", "-f", str(ROOT / "Makefile"), ".venv/bin/python"]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=180)


def test_make_without_a_target_lists_them() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "check", "bench", "format", "lock"):
        assert f"make {target} " in said


def test_missing_venv_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "ensurepip.py").write_text("raise ModuleNotFoundError('as on Debian without python3-venv')")
    done = make(tmp_path, PYTHONPATH=str(tmp_path), PYTHON=sys.executable)
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr


def test_old_python_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = make(tmp_path, PYTHON=str(old))
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr


def test_no_python_at_all_is_said(tmp_path: Path) -> None:
    assert "there is no python3.99 here" in make(tmp_path, PYTHON="python3.99").stderr
