"""`mailadmin up`: queue server, migrations, web, runner and watcher as one foreground process with one data folder."""

import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import click

from mailadmin.cli import queue_server
from mailadmin.cli.children import Child, say, stop
from mailadmin.cli.data_folder import DataFolder, default_folder
from mailadmin.config import read_settings, without_password
from mailadmin.errors import MailAdminError

STEP_SECONDS = 0.05
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where we ask when we listen everywhere


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, envvar="PORT", type=click.IntRange(1, 65535))
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="The folder that holds everything.")
@click.pass_context
def up(ctx: click.Context, host: str, port: int, data: Path | None) -> None:
    """Start everything: queue server, migrations, web, runner and watcher. Ctrl-C stops it."""
    os.umask(0o077)  # What is written below is for its owner alone, wherever it is copied to.
    folder = DataFolder(data or ctx.find_object(Path) or default_folder(os.environ))
    folder.make()
    folder.lock()
    folder.make_key()
    environ = folder.environ(os.environ)
    read_settings(environ)  # What is wrong with them is said before anything starts.
    _await_port(host, port)
    Supervisor(folder, environ, host, port).run()


class Supervisor:
    """Starts the children, looks after them, and stops them when it is told to."""

    def __init__(self, folder: DataFolder, environ: Mapping[str, str], host: str, port: int) -> None:
        us = [sys.executable, "-m", "mailadmin"]
        # Links that leave the console, and the way back from a provider, need an address: this one, if nobody says.
        environ = {**environ, "PUBLIC_URL": environ.get("PUBLIC_URL", "").strip().rstrip("/") or _address(host, port)}
        self._folder, self._environ, self._host, self._port = folder, environ, host, port
        self._interrupts, self._interrupted_at = 0, 0.0
        self._web = Child("web", [*us, "web", "--host", host, "--port", str(port)], environ, grace=8)
        watcher = Child("watcher", [*us, "watcher"], environ, grace=5)
        self._children = [self._web, Child("runner", [*us, "runner"], environ, grace=12), watcher]
        self._has_queue = not os.environ.get("REDIS_URL")
        if self._has_queue:
            self._children.append(Child("queue", queue_server.argv(folder), environ, grace=5))

    def run(self) -> None:
        """Everything, until a signal says stop. Raises MailAdminError when it cannot start."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._interrupt)
        try:
            link = self._start()
            self._await_all()
            if not self._interrupts:
                self._announce(link)
            while not self._interrupts:
                for child in self._children:
                    child.look_after()
                time.sleep(STEP_SECONDS)
        finally:
            begun = time.monotonic()
            for children in (self._children[:3], self._children[3:]):  # The queue last: the others need it to the end.
                stop(children, is_urgent=lambda: self._interrupts > 1)
            say(f"All stopped in {time.monotonic() - begun:.1f} s.")

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        # A second Ctrl-C does not wait; the same one may come twice, from the terminal and from whoever started us.
        if self._interrupts == 0 or time.monotonic() - self._interrupted_at > 0.5:
            self._interrupts += 1
            self._interrupted_at = time.monotonic()

    def _start(self) -> int:
        """Start all children at once; the answer is the file from which the path of a set-up link can be read.

        The first web process brings the database up to date before it serves; the others wait for that.
        """
        if self._has_queue:
            self._folder.make_socket_folder()
            queue_server.clear(self._folder.socket)
        reader, writer = os.pipe()
        for child in reversed(self._children):
            if child is self._web:
                child.start("--migrate", "--tell", str(writer), pass_fds=[writer])
            else:
                child.start()
        os.close(writer)
        return reader

    def _await_all(self) -> None:
        """Come back when everything answers. Raises MailAdminError when a child ends before."""
        while not self._interrupts and not self._all_answer():
            for child in self._children:
                if not child.is_running():
                    raise MailAdminError(self._why_not(child))
            time.sleep(STEP_SECONDS)

    def _all_answer(self) -> bool:
        has_queue = not self._has_queue or queue_server.answers(self._folder.socket)
        return has_queue and _is_answering(self._host, self._port)

    def _why_not(self, child: Child) -> str:
        log = self._folder.queue / "valkey.log"
        words = f"its last words are in {log}" if child.name == "queue" and log.exists() else "the lines above say why"
        return f"The {child.name} process did not start; {words}."

    def _announce(self, reader: int) -> None:
        with open(reader, encoding="ascii") as told:
            link = told.read()
        address = self._environ["PUBLIC_URL"]
        lines = ["", f"mailadmin is ready: {click.style(address, bold=True)}", ""]
        if link:
            lines += ["Make the first administrator with this link. It works once:", f"{address}{link}", ""]
        lines += [f"Data: {self._folder.path}", "Stop: Ctrl-C", ""]
        database = self._environ.get("DATABASE_URL")
        if database:
            lines.insert(-2, f"Database: {without_password(database)}")
        click.echo("\n".join(f"  {line}".rstrip() for line in lines), color=sys.stdout.isatty())


def _address(host: str, port: int) -> str:
    shown = ANYWHERE.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _await_port(host: str, port: int) -> None:
    """Come back when `port` is free. Raises MailAdminError if it is not within a second: a killed web lets go soon."""
    end = time.monotonic() + 1
    while True:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            return
        except socket.gaierror as error:
            raise MailAdminError(f"{host} is not an address of this machine. Choose another with --host.") from error
        except OSError as error:
            if time.monotonic() > end:
                raise MailAdminError(
                    f"Port {port} on {host} cannot be used: {error.strerror}. Choose another with --port."
                ) from error
        time.sleep(0.05)


def _is_answering(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(ANYWHERE.get(host, host), port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
