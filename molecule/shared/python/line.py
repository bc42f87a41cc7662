"""A port of this machine that leads to another one, at once or slowly."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType


class Line:
    """As a context manager; whatever comes through it arrives `delay` seconds later, in both directions."""

    port: int

    def __init__(self, address: str, port: int) -> None:
        self.target = (address, port)
        self.delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Line:
        self._thread.start()
        listening = asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _end(self) -> None:
        self._server.close()
        connections = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_target = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._carry(reader, to_target[1]), self._carry(to_target[0], writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Every piece by itself, so that a slow line is not a narrow one."""
        while True:
            try:
                piece = await reader.read(65536)
            except OSError:
                piece = b""
            if not piece:
                self._loop.call_later(self.delay, writer.close)
                return
            self._loop.call_later(self.delay, writer.write, piece)
