import pytest

from mailadmin.config import read_rules, read_settings, without_password
from mailadmin.errors import SettingMissing

SECRET = "long and random, for a test" * 2
COMPLETE = {
    "DATABASE_URL": "sqlite:////tmp/x.db",
    "REDIS_URL": "unix:///tmp/x.sock",
    "SECRET_KEY": "long and random, for a test" * 2,
}


def test_a_complete_environment_is_read() -> None:
    settings = read_settings(COMPLETE)
    assert settings.is_sqlite
    assert settings.sync_minutes == 5


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "SECRET_KEY"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(SettingMissing, match=name):
        read_settings({k: v for k, v in COMPLETE.items() if k != name})


def test_a_short_secret_key_is_refused() -> None:
    with pytest.raises(SettingMissing, match="32"):
        read_settings(COMPLETE | {"SECRET_KEY": "changeme"})


def test_a_long_secret_key_that_nobody_threw_dice_for_is_refused() -> None:
    with pytest.raises(SettingMissing, match="random"):
        read_settings(COMPLETE | {"SECRET_KEY": "x" * 64})


def test_a_secret_may_come_from_a_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "key").write_text("long and random, for a test" * 2 + "\n")
    environ = {k: v for k, v in COMPLETE.items() if k != "SECRET_KEY"} | {"SECRET_KEY_FILE": str(tmp_path / "key")}
    assert read_settings(environ).secret_key == b"long and random, for a test" * 2


@pytest.mark.parametrize("url", ["postgres://u:p@h/d", "postgresql://u:p@h/d"])
def test_the_platforms_name_for_postgresql_is_understood(url: str) -> None:
    assert read_settings(COMPLETE | {"DATABASE_URL": url}).database_url == "postgresql+psycopg://u:p@h/d"


def test_sqlite_is_refused_where_files_are_forgotten() -> None:
    environ = {
        "REDIS_URL": "unix:///x",
        "SECRET_KEY": "long and random, for a test" * 2,
        "DYNO": "web.1",
        "MAILADMIN_DATA": "/tmp",
    }
    with pytest.raises(SettingMissing, match="PostgreSQL"):
        read_settings(environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAILADMIN_ALLOWED_NETWORKS", "ten"),
        ("MAILADMIN_ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("MAILADMIN_ALLOWED_PORTS", "imap"),
        ("MAILADMIN_CA_FILE", "/nowhere/ca.pem"),
        ("MAILADMIN_DNS", "ns.example.com"),
        ("MAILADMIN_DNS", "192.0.2.53:dns"),
        ("MAILADMIN_DNS", "192.0.2.53:99999"),
        ("MAILADMIN_DNS", "[2001:db8::53"),
        ("MAILADMIN_ISPDB_URL", "http://ispdb.example.com/"),
        ("MAILADMIN_SYNC_MINUTES", "0"),
        ("MAILADMIN_SYNC_MINUTES", "-5"),
    ],
)
def test_a_setting_that_cannot_be_understood_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingMissing, match=name):
        read_settings(COMPLETE | {name: value})


def test_networks_are_a_list() -> None:
    rules = read_rules({"MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8, fd00::/8"})
    assert [str(n) for n in rules.networks] == ["127.0.0.0/8", "fd00::/8"]


def test_settings_show_no_secret() -> None:
    assert "k" * 8 not in repr(read_settings(COMPLETE))


def test_a_url_is_shown_without_its_password() -> None:
    assert without_password("redis://:geheim@host:6379/0") == "redis://host:6379/0"


def test_name_servers_are_a_list_of_addresses_with_or_without_a_port() -> None:
    rules = read_rules({"MAILADMIN_DNS": "192.0.2.53, 127.0.0.1:5353, 2001:db8::53, [::1]:5353"})
    assert rules.name_servers == (("192.0.2.53", 53), ("127.0.0.1", 5353), ("2001:db8::53", 53), ("::1", 5353))


def test_the_public_list_is_asked_unless_it_is_set_to_nothing() -> None:
    assert read_settings(COMPLETE).ispdb.startswith("https://autoconfig.thunderbird.net/")
    assert read_settings(COMPLETE | {"MAILADMIN_ISPDB_URL": ""}).ispdb == ""


@pytest.mark.parametrize(
    "url", ["unix:///tmp/queue.sock", "redis://127.0.0.1:6379", "redis://:word@queue.example.com:6379"]
)
def test_a_queue_server_that_is_near_or_has_a_password_is_taken(url: str) -> None:
    assert read_settings(COMPLETE | {"REDIS_URL": url}).redis_url == url


def test_a_queue_server_that_anybody_could_fill_stops_the_start() -> None:
    with pytest.raises(SettingMissing, match="asks for no password"):
        read_settings(COMPLETE | {"REDIS_URL": "redis://queue.example.com:6379"})
