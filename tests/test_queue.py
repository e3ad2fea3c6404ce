"""The doorbell: what runs, what is refused, and what happens while the queue is away."""

import time

import pytest
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import SimpleWorker

from mailadmin import queue
from mailadmin.config import Settings
from tests.servers.silent import Listener, silence

proofs: list[object] = []


def work_off(line: queue.Line) -> None:
    """Run what waits in `line`, in this process."""
    connection = queue.connection()
    waiting = Queue(line, connection=connection, serializer=JSONSerializer, job_class=queue.ListedJob)
    worker = SimpleWorker([waiting], connection=connection, serializer=JSONSerializer, job_class=queue.ListedJob)
    worker.work(burst=True, logging_level="CRITICAL")


def test_a_ring_waits_once_per_job_and_arguments(booted: Settings) -> None:
    assert queue.ring("sync", 7)
    assert queue.ring("sync", 7)
    assert queue.ring("sync", 8)
    waiting = queue.waiting()
    assert waiting
    assert waiting[queue.Line.SYNC] == 2


def test_a_job_that_looks_for_work_itself_is_rung_every_time(booted: Settings) -> None:
    assert queue.ring("check")
    assert queue.ring("check")
    waiting = queue.waiting()
    assert waiting
    assert waiting[queue.Line.INTERACTIVE] == 2


def test_a_ring_that_seems_lost_is_rung_again(booted: Settings) -> None:
    queue.ring("sync", 7)
    queue.connection().delete(f"rq:queue:{queue.Line.SYNC}")
    queue.ring("sync", 7, again=True)
    waiting = queue.waiting()
    assert waiting
    assert waiting[queue.Line.SYNC] == 1


def test_a_function_that_is_not_listed_does_not_run(booted: Settings, tmp_path) -> None:  # type: ignore[no-untyped-def]
    proof = tmp_path / "proof"
    forged = Queue(queue.Line.SYNC, connection=queue.connection(), serializer=JSONSerializer)
    job = forged.enqueue_call("pathlib.Path.touch", args=[str(proof)], result_ttl=60)
    work_off(queue.Line.SYNC)
    assert not proof.exists()
    assert Job.fetch(job.id, connection=queue.connection(), serializer=JSONSerializer).is_failed


def test_a_callback_that_somebody_wrote_into_the_queue_does_not_run(booted: Settings) -> None:
    queue.ring("purge", 999)
    for when in ("success", "failure", "stopped"):
        queue.connection().hset("rq:job:purge-999", f"{when}_callback_name", f"{__name__}.proofs.append")
    work_off(queue.Line.DELETION)
    waiting = queue.waiting()
    assert waiting
    assert (waiting[queue.Line.DELETION], proofs) == (0, [])


def test_an_unknown_job_cannot_be_rung(booted: Settings) -> None:
    with pytest.raises(KeyError):
        queue.ring("format the disk")


def test_a_queue_that_is_away_is_no_error(booted: Settings) -> None:
    queue.open_queue("unix:///nowhere/queue.sock")
    assert queue.ring("sync", 7) is False
    assert queue.waiting() is None
    queue.open_queue(booted.redis_url)


def test_a_queue_that_hangs_is_given_up_soon(booted: Settings) -> None:
    with Listener(silence) as hanging:
        queue.open_queue(f"redis://127.0.0.1:{hanging.port}", patience=0.2)
        began = time.monotonic()
        assert queue.ring("sync", 7) is False
        assert queue.waiting() is None
        assert time.monotonic() - began < 10
    queue.open_queue(booted.redis_url)
