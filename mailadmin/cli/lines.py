"""What every process writes to its log: one line an entry, with the time, and nothing in it that could be another."""

import logging
import sys
import time
from logging import Formatter, LogRecord

from mailadmin.mail.scrub import visible

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Lines(Formatter):
    """Entries begin with the time (UTC); the lines of a traceback are indented, so that none looks like an entry."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: LogRecord) -> str:
        """The entry, with control characters and what turns text around as visible marks."""
        record.message = visible(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:
        """The traceback of `ei`; Python shows no local variables there."""
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"  {visible(line)}" for line in text.split("\n"))


def begin() -> None:
    """Write the log of this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(FORMAT))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
