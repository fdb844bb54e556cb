"""An admin API on a thread of its own, for commands that ask it."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from starlette.types import ASGIApp

from sipfarm.admin.io.server import serving

T = TypeVar("T")


class Served:
    """`opened` makes the API, and closes what it stands on at the end."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[ASGIApp]]) -> None:
        self._opened = opened
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._up.wait()

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of it on that thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _serve(self) -> None:
        async with self._opened() as api, serving(api, self._listener):
            self._up.set()
            await self._end.wait()
