"""Reads whole messages over POP3, with TOP: unlike RETR it marks nothing as read, so no provider hides it then."""

from collections.abc import Mapping

from mailadmin.mail.answers import Refused, translated
from mailadmin.mail.pop3_session import Session
from mailadmin.mail.types import ServerProtocol

_BYTES_OF_A_LINE = 60  # of base64 and of most texts; shorter lines only mean that less comes
_MOST_LINES = 2_000_000


class Whole:
    """The part of a POP3 session that reads messages with their texts; `Pop3` is made with it."""

    _session: Session
    sizes: Mapping[int, int]

    def whole(self, number: int, most: int) -> bytes | None:
        """The message `number` of this session, of a large one about the first `most` bytes.

        None where the server cannot show it without marking it as read. Raises MailError.
        """
        size = self.sizes.get(number, 0)
        lines = _MOST_LINES if 0 < size <= most else max(100, most // _BYTES_OF_A_LINE)
        with translated(ServerProtocol.POP3):
            try:
                self._session.command("TOP", str(number), str(lines))
            except Refused:
                return None
            return self._session.message(most)
