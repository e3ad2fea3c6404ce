"""All scenarios, each with a server that misbehaves in one way; the rows stand in the modules beside this one."""

from tests.hostile.answers import ECHOES, OFFERS, REFUSALS
from tests.hostile.encrypted import BAD_TLS, STARTTLS
from tests.hostile.endings import GOODBYES, LEAVING, NO_MAIL
from tests.hostile.mechanisms import EXCHANGES
from tests.hostile.pop3 import POP3, POP3_FLOODS, POP3_HANGING
from tests.hostile.scenario import Scenario
from tests.hostile.time_and_size import FLOODS as OTHER_FLOODS
from tests.hostile.time_and_size import HANGING as OTHERS_HANGING
from tests.servers.crowd import Part

HANGING, FLOODS = [*OTHERS_HANGING, *POP3_HANGING], [*OTHER_FLOODS, *POP3_FLOODS]
QUICK = [*LEAVING, *GOODBYES, *NO_MAIL, *BAD_TLS, *STARTTLS, *REFUSALS, *ECHOES, *OFFERS, *EXCHANGES, *POP3]
ALL: dict[str, Scenario] = {one.name: one for one in (*HANGING, *QUICK, *FLOODS)}
TABLE = f"{__name__}:parts"
PROPER, HUNG = "imap implicit: a proper server", "imap implicit: silence in place of the greeting"


def parts() -> dict[str, Part]:
    """The servers of all scenarios."""
    return {name: one.part for name, one in ALL.items()}
