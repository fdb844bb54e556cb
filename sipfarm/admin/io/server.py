"""Serving HTTP on the event loop that is there: a guest, which takes no signals and no settings."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

CONNECTIONS_MAX: Final = 128
HEADER_BYTES_MAX: Final = 16_384
IDLE_S: Final = 5
STOP_S: Final = 1


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals belong to the member."""
        yield


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncGenerator[None]:
    """Serve on a listening socket until the block is left."""
    server = _Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=STOP_S,
        )
    )
    async with asyncio.TaskGroup() as group:
        served = group.create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            # Before the group may cancel it: only a server that has stopped has closed its sockets.
            server.should_exit = True
            await asyncio.wait([served])
