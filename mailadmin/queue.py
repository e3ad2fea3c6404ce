"""The doorbell: asks a runner to look into the database. The only importer of RQ.

The database is the truth. A ring that gets lost is rung again by the clock; a ring too many finds nothing to do. Job
arguments are ids and plain values, written as JSON, and only the functions listed here can run.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn
from uuid import uuid4

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.worker import HerokuWorker

FAILURES_KEPT_SECONDS = 7 * 24 * 3600
LONGEST_WAIT_SECONDS = 5  # between two tries of a worker to reach the queue again
GRACE_SECONDS = 3  # for a job to end by itself when the runner is told to stop
log = logging.getLogger(__name__)


class Line(StrEnum):
    """The queues: somebody waits at a page, for seconds or up to a minute; syncs; first syncs; and so on."""

    LOOKUP = "lookup"
    TOKEN = "token"  # noqa: S105
    INTERACTIVE = "interactive"
    SYNC = "sync"
    BULK = "bulk"
    DELETION = "deletion"
    READING = "reading"
    LOOKING = "looking"
    SENDING = "sending"


@dataclass(frozen=True, slots=True)
class Listed:
    """A function that may run as a job: its path, where it queues, and how many seconds it may take."""

    path: str
    line: Line
    seconds: int


# Nothing else runs, whatever somebody writes into the queue.
JOBS = {
    "detect": Listed("mailadmin.wizard.jobs.drain_lookups", Line.LOOKUP, 120),
    "token": Listed("mailadmin.connections.jobs.drain_tokens", Line.TOKEN, 120),
    "check": Listed("mailadmin.connections.jobs.drain_checks", Line.INTERACTIVE, 120),
    "notice": Listed("mailadmin.connections.jobs.drain_notices", Line.LOOKUP, 120),
    "text": Listed("mailadmin.sync.jobs.fetch_text", Line.READING, 120),
    "file": Listed("mailadmin.sync.jobs.fetch_files", Line.READING, 300),
    "sync": Listed("mailadmin.sync.jobs.run_sync", Line.SYNC, 7200),
    "first sync": Listed("mailadmin.sync.jobs.run_first_sync", Line.BULK, 7200),
    "look": Listed("mailadmin.sync.jobs.look_around", Line.LOOKING, 3600),
    "outgoing": Listed("mailadmin.writing.jobs.drain_outgoing", Line.SENDING, 3600),
    "purge": Listed("mailadmin.sync.jobs.purge", Line.DELETION, 3600),
}


class ListedJob(Job):
    """A job that runs nothing but listed functions, whatever somebody wrote into the queue."""

    @property
    def func(self) -> Callable[..., Any]:
        if self.func_name not in {listed.path for listed in JOBS.values()}:
            raise PermissionError(f"{self.func_name!r} is not a listed job.")
        return super().func

    success_callback = failure_callback = stopped_callback = property(lambda self: None)

    def send_webhooks(self, *args: object, **kwargs: object) -> None:
        """Never: our jobs have no web hooks."""


_connection: Redis | None = None


def open_queue(url: str, *, tls_verify: bool = True, patience: float | None = None) -> None:
    """Use the Redis-compatible server at `url`; nothing is connected yet. `patience`: see `connect`."""
    global _connection
    _connection = connect(url, tls_verify=tls_verify, patience=patience)


def connect(url: str, *, tls_verify: bool = True, patience: float | None = None) -> Redis:
    """A client for `url`. Heroku's certificates are self-signed: `tls_verify` False accepts them on this connection.

    With `patience` (seconds) an answer is awaited so long and asked for once: a page must not hang with its queue.
    """
    options: dict[str, Any] = {"socket_connect_timeout": 2} if patience is None else patient(patience)
    if url.startswith("rediss:") and not tls_verify:
        options["ssl_cert_reqs"] = "none"
    return Redis.from_url(url, **options)


def patient(seconds: float) -> dict[str, Any]:
    """The options of a client that asks once and awaits each answer for `seconds`."""
    return {"socket_connect_timeout": seconds, "socket_timeout": seconds, "retry": Retry(NoBackoff(), 0)}


def connection() -> Redis:
    """The client of this process. Raises RuntimeError before `open_queue`."""
    if _connection is None:
        raise RuntimeError("boot.start has not run in this process.")
    return _connection


def ring(job: str, *args: int | str, again: bool = False) -> bool:
    """Ask a runner to do `job`, a name of `JOBS`, with `args`; call this only after the commit.

    One ring waits per job and arguments; a job without arguments may be rung more often than it is needed. `again`
    forgets one that seems lost. False when the queue cannot be reached: nothing is lost, since the clock rings for
    whatever is still due.
    """
    listed = JOBS[job]
    # A second ring of a job that looks for work itself must not be swallowed while the first one is just ending.
    job_id = _job_id(job, args) if args else _job_id(job, [uuid4().hex])
    try:
        if Job.exists(job_id, connection()):
            waiting = ListedJob.fetch(job_id, connection=connection(), serializer=JSONSerializer)
            if not again and waiting.get_status() in (JobStatus.QUEUED, JobStatus.STARTED):
                return True
            waiting.delete()
        _queue(listed.line).enqueue_call(
            listed.path,
            args=args,
            timeout=listed.seconds,
            job_id=job_id,
            description=job_id,
            result_ttl=0,
            failure_ttl=FAILURES_KEPT_SECONDS,
        )
    except RedisError as error:
        log.warning("The queue cannot be reached (%s); %s waits for the clock.", type(error).__name__, job_id)
        return False
    return True


def take_back(job: str, *args: int | str) -> None:
    """Forget a ring that has become needless because somebody does the work already; never raises."""
    try:
        waiting = ListedJob.fetch(_job_id(job, args), connection=connection(), serializer=JSONSerializer)
        if waiting.get_status(refresh=False) == JobStatus.QUEUED:
            waiting.delete()
    except (NoSuchJobError, RedisError):
        pass


def _job_id(job: str, args: Sequence[int | str]) -> str:
    return "-".join([job.replace(" ", "-"), *map(str, args)])


def waiting() -> dict[Line, int] | None:
    """How many jobs wait in each queue, or None when the queue cannot be reached."""
    try:
        return {line: _queue(line).count for line in Line}
    except RedisError:
        return None


class _Worker(HerokuWorker):
    """A worker that nobody gives orders through the queue, so whoever writes into it cannot end what runs.

    To listen for them would be a second connection of each worker, and small queue servers allow twenty in all.
    """

    def subscribe(self) -> None:
        """Listen to nobody."""


def work(lines: Sequence[Line]) -> NoReturn:
    """Run jobs of `lines`, first named first served, until a signal ends the process."""
    worker = _Worker(
        [_queue(line) for line in lines],
        connection=connection(),
        job_class=ListedJob,
        serializer=JSONSerializer,
        log_job_description=False,
    )
    worker.max_connection_wait_time = LONGEST_WAIT_SECONDS
    worker.imminent_shutdown_delay = GRACE_SECONDS
    worker.work(logging_level="WARNING")
    raise SystemExit(0)


def _queue(line: Line) -> Queue:
    return Queue(line, connection=connection(), serializer=JSONSerializer, job_class=ListedJob)
