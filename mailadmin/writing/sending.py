"""Talks to the servers through which accounts send: several messages of an account in one conversation."""

from collections.abc import Callable

from mailadmin import db
from mailadmin.accounts.service import Leg
from mailadmin.errors import MailAdminError
from mailadmin.mail import sasl
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import MailError
from mailadmin.mail.smtp import ANSWER_SECONDS, Smtp, Unanswered, open_smtp
from mailadmin.mail.types import Bearer, Rules, StageName
from mailadmin.oauth import service as oauth
from mailadmin.writing import outbox
from mailadmin.writing.composing import Composed
from mailadmin.writing.outbox import REFUSED, Failure, Work

SECONDS = 40.0  # until the server has let us in
MESSAGE_SECONDS = 60.0  # from then on to the final dot, and
SLOWEST = 50_000  # bytes a second
WATCH_SECONDS = 1.0


class Conversation:
    """What one job says to the server of one account. `watch` is called every second while the server is waited for,
    and may raise; not after the final dot."""

    def __init__(self, rules: Rules, watch: Callable[[], None]) -> None:
        self._rules, self._watch = rules, watch
        self._smtp: Smtp | None = None
        self._leg: Leg | None = None

    def send(self, work: Work, composed: Composed, before_end: Callable[[], None]) -> Failure | None:
        """Send one message; why it was certainly not sent, or None. Raises Unanswered, and what `before_end` raises.

        A connection that was good for an earlier message and is not for this one is opened anew, once.
        """
        was_open = self._smtp is not None
        failure = self._try(work, composed, before_end)
        if failure is not None and was_open and not failure.error.permanent:
            failure = self._try(work, composed, before_end)
        return failure

    def close(self) -> None:
        """End the conversation, if there is one. Never raises."""
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None

    def _try(self, work: Work, composed: Composed, before_end: Callable[[], None]) -> Failure | None:
        try:
            if self._smtp is None or self._leg != work.leg:
                self.close()
                self._smtp, self._leg = self._opened(work), work.leg
        except _NotOpened as error:
            return Failure(error.error, error.stage, of_account=True)
        return self._deliver(self._smtp, composed, before_end)

    def _deliver(self, smtp: Smtp, composed: Composed, before_end: Callable[[], None]) -> Failure | None:
        is_well = False
        try:
            smtp.deadline = self._deadline(MESSAGE_SECONDS + composed.size / SLOWEST)
            smtp.deliver(
                composed.pieces(),
                size=composed.size,
                sender=composed.sender,
                recipients=composed.recipients,
                beyond_ascii=composed.is_beyond_ascii,
                before_end=before_end,
                seconds=ANSWER_SECONDS,
            )
            is_well = True
        except Unanswered:
            raise
        except MailError as error:
            return Failure(error, StageName.MESSAGE)
        finally:
            if not is_well:
                self.close()
        return None

    def _opened(self, work: Work) -> Smtp:
        """A conversation in which we are signed in; a token that is refused is renewed, once. Raises _NotOpened."""
        try:
            return self._signed_in(work.leg)
        except _NotOpened as refused:
            how = work.leg.how
            if refused.error.category not in REFUSED or not isinstance(how, Bearer):
                raise
            try:
                oauth.make_fresh(work.account_id, self._rules, refused=how.token)
                with db.reading() as session:
                    leg = outbox.renewed(session, work)
            except (MailAdminError, MailError):  # The refusal stands.
                raise refused from None
            try:
                return self._signed_in(leg)
            except _NotOpened as again:  # It was fresh: only a person can mend that.
                again.error.permanent = again.error.permanent or again.error.category in REFUSED
                raise

    def _signed_in(self, leg: Leg) -> Smtp:
        stage: StageName | None = None
        try:
            smtp = open_smtp(leg.server, self._rules, self._deadline(SECONDS), secrets=sasl.forms(leg.how))
            stage, is_in = StageName.SIGN_IN, False
            try:
                smtp.sign_in(leg.how)
                is_in = True
            finally:
                if not is_in:
                    smtp.close()
        except MailError as error:
            raise _NotOpened(error, stage) from error
        return smtp

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds, watch=self._watch, every=WATCH_SECONDS)


class _NotOpened(Exception):
    """The server did not let us in."""

    def __init__(self, error: MailError, stage: StageName | None) -> None:
        super().__init__(error.message)
        self.error, self.stage = error, stage
