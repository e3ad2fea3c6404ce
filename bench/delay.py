"""A connection as long as a continent: `python -m bench.delay PORT MILLISECONDS` hands over to PORT of this machine.

It prints the port on which it listens, and ends with its standard input. Every byte comes later by half of the time,
there and back; how many there are on their way does not matter. It is a process of its own, so that its work is in
nobody's figures.
"""

import asyncio
import copy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.servers.dovecot import Dovecot

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


@contextmanager
def far_away(server: Dovecot, milliseconds: int) -> Iterator[Dovecot]:
    """`server` as it is for somebody from whom a round trip to it takes that long, over TLS."""
    command = [sys.executable, "-m", "bench.delay", str(server.ports["imaps"]), str(milliseconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        far = copy.copy(server)
        far.ports = {**server.ports, "imaps": int(process.stdout.readline())}
        try:
            yield far
        finally:
            process.communicate()


async def _pump(reader: Reader, writer: Writer, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while said := await reader.read(1 << 16):
            loop.call_later(seconds, writer.write, said)
    loop.call_later(seconds, writer.close)


async def _main(port: int, seconds: float) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, back, seconds), _pump(there, writer, seconds))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]) / 2000))
