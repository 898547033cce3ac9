"""An application on a free port of this machine, for clients under test."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer


@asynccontextmanager
async def served(application: web.Application, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The address that it has meanwhile. Requests that still hang in the end are cut off."""
    server = TestServer(application)
    await server.start_server(ssl=tls, shutdown_timeout=0.1)
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()
