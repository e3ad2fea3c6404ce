"""What stands above a connection test: a title, a sentence, and the one for screen readers. No web in here."""

from collections.abc import Sequence

from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction, StageName, StageOutcome
from mailadmin.text import t


def title(check: Check) -> str:
    """What became of the test in a few words; the diagnosis that leads decides."""
    if check.finished_at is None:
        return t("Testing the connection")
    if check.outcome is CheckOutcome.PASSED:
        return t("The connection works") if signs_in(check) else t("The servers answer")
    at = _failed_at(check)
    if at is StageName.ARRIVAL:
        return t("The test message did not arrive")
    if at is StageName.COPY:
        return t("The copy could not be put into Sent")
    if check.category is Category.TIMEOUT:
        return t("The server did not answer in time")
    if check.category is Category.POLICY and at in (None, StageName.DNS, StageName.TCP):
        return t("This connection is not allowed")
    if at is None and check.category in _BEFORE:
        return _BEFORE[check.category]()
    if check.category is Category.TLS:
        return t("Encryption did not work")
    if at is StageName.GREETING:
        return _greeted(check)
    return _TITLES[at]() if at else t("The connection could not be tested")


def signs_in(check: Check) -> bool:
    """Whether the test knows a user name to sign in with; without one only the servers are tested."""
    return check.account_id is not None or any((check.users or {}).values())


def _greeted(check: Check) -> str:
    """What was wrong with the greeting: it may be missing, somebody else’s, or a refusal."""
    if check.category in (Category.NETWORK, Category.REFUSED):
        return t("The server did not greet")
    if check.category in (Category.CONFIG, Category.PROTOCOL, Category.UNSUPPORTED):
        return t("Something else answered")
    return t("The server turned us away")


_TITLES = {
    StageName.DNS: lambda: t("The server was not found"),
    StageName.TCP: lambda: t("The server was not reached"),
    StageName.TLS: lambda: t("Encryption did not work"),
    StageName.SIGN_IN: lambda: t("Signing in did not work"),
    StageName.FOLDERS: lambda: t("The folders could not be listed"),
    StageName.MESSAGE: lambda: t("The test message was not sent"),
}


# Where no step has failed, because the test could not begin.
_BEFORE = {
    Category.CONFIG: lambda: t("A setting has to be changed first"),
    Category.OAUTH: lambda: t("Signing in did not work"),
}


def _failed_at(check: Check) -> StageName | None:
    """The stage of the leading diagnosis; in old tests, the first that failed on its side."""
    leading = check.diagnosis or {}
    if leading.get("stage"):
        return StageName(leading["stage"])
    failed = [stage for stage in check.stages if stage["outcome"] == StageOutcome.FAILED]
    failed.sort(key=lambda stage: stage["direction"] != leading.get("direction"))
    return StageName(failed[0]["name"]) if failed else None


def lede(check: Check, failed: set[Direction], working: set[Direction]) -> str:
    """What follows from the test. `failed` and `working` are the directions of which that is known."""
    if check.finished_at is None:
        return t("This takes a few seconds. You may leave the page; the test goes on.")
    if check.outcome is CheckOutcome.PASSED:
        return _worked(check)
    if check.user_name and check.category is Category.AUTH:
        return t(
            "{name} is not accepted as the user name either. The account itself is unchanged.", name=check.user_name
        )
    if _failed_at(check) is StageName.COPY:
        return t("The message was sent. Only its copy is missing.")
    if _failed_at(check) is StageName.ARRIVAL:
        return t("The message was sent. Only its arrival is missing.")
    if check.account is None:
        kept = t("Nothing was saved.")
    elif not check.account.is_set_up:
        kept = t("Your entries are kept.")
    elif Direction.INCOMING in working - failed:
        kept = ""  # Nothing more to say: receiving works.
    else:
        kept = t("Nothing is lost: mail waits at the provider.")
    return f"{_what_failed(check, failed, working)} {kept}".strip()


def _worked(check: Check) -> str:
    if check.user_name:
        return t("{name} is accepted as the user name. The account itself is unchanged.", name=check.user_name)
    if check.account is not None:
        return t("Mail can be synced.") if check.account.is_set_up else t("You can go on to the folders.")
    if signs_in(check):
        return t("These settings work. Save them to use them.")
    return t("The servers greet and their certificates are trusted. Nobody has signed in.")


def _what_failed(check: Check, failed: set[Direction], working: set[Direction]) -> str:
    if len(failed) > 1 and check.diagnosis:
        leading = check.diagnosis["title"]
        if check.diagnosis["direction"] == Direction.OUTGOING:
            return t("Receiving and sending both failed. Begin with sending: {title}.", title=leading)
        return t("Receiving and sending both failed. Begin with receiving: {title}.", title=leading)
    if failed == {Direction.OUTGOING} and Direction.INCOMING in working:
        return t("Receiving works; sending does not.")
    if failed == {Direction.INCOMING} and Direction.OUTGOING in working:
        return t("Sending works; receiving does not.")
    return t("One step failed.") if failed else ""


def status(check: Check, lines: Sequence[tuple[str, str]]) -> str:
    """The one sentence for screen readers; `lines` are tone and words of each step."""
    if check.outcome is CheckOutcome.PASSED:
        return t("The test passed.")
    if check.finished_at is not None:
        return t("The test failed: {why}.", why=check.diagnosis["title"]) if check.diagnosis else t("The test failed.")
    at = next((n for n, (tone, _) in enumerate(lines, 1) if tone == "run"), 0)
    if not at:
        return t("The test waits for its turn.") if check.started_at is None else t("The test is running.")
    return t("Step {n} of {all} is running: {what}.", n=at, all=len(lines), what=lines[at - 1][1])
