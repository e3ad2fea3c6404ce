"""The web server: gunicorn with threads, set up for our application."""

import gc
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from mailadmin.config import Settings
from mailadmin.factory import create_app  # Here, so that a new worker process has it at once.
from mailadmin.processes import die_with_parent

THREADS = 8


class _Server(BaseApplication):
    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self._settings = settings
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        app = create_app(self._settings)
        # What is here now stays: the collector shall not walk over it again and again while somebody waits for a page.
        gc.collect()
        gc.freeze()
        return app


def serve(settings: Settings, *, host: str, port: int, processes: int) -> None:
    """Answer requests at `host` and `port` in `processes` worker processes, until a signal ends this one."""
    options = {
        "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "workers": processes,
        "worker_class": "gthread",
        "threads": THREADS,
        "loglevel": "warning",
        "graceful_timeout": 6,
        "control_socket_disable": True,  # It would want to write to the home directory.
        "post_fork": _after_fork,
    }
    _Server(settings, options).run()


def _after_fork(_arbiter: object, worker: Any) -> None:
    die_with_parent(worker.ppid)
