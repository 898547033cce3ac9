"""The receiver of large outputs of a local run: `shell.outputs` without a cluster, for this machine alone.

A process proves whose attempt it is by the token in its folder. The address outlives adze: a process that goes on while
nobody is there finds the next adze under it.
"""

import asyncio
import hmac
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from adze.core import fanout, names, outputs
from adze.local.api import Api
from adze.local.state import Folder

PATH = "/v1/outputs"
DRAINED = 8 * outputs.LARGEST
"""Bytes of a body that is too large which are read, so that its sender gets to the answer."""
POLL = 0.05
"""Seconds that `stop` takes at most."""
BUSY = 30.0
"""Seconds after which a sender may take adze for stuck."""


class _Refused(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Receiver:
    """Listens on the loopback address until stopped."""

    def __init__(self, api: Api, folder: Folder) -> None:
        self._api = api
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._server = self._bind()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def _bind(self) -> ThreadingHTTPServer:
        handler = _handler(self._taken)
        try:
            return ThreadingHTTPServer(("127.0.0.1", self._folder.load("port", int)), handler)
        except (OSError, msgspec.MsgspecError):  # none yet, or somebody else's by now
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            self._folder.save("port", server.server_port)
            return server

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more. What waits for an answer gets none."""
        self._server.shutdown()
        self._server.server_close()

    def _taken(self, token: str, read: Callable[[int], bytes]) -> dict[str, Any]:
        """The reference to an output; `read` gets its body, of at most so many bytes."""
        pod = self._ask(self._sender, token)
        content = read(outputs.LARGEST if names.ITEM not in pod.metadata.labels else fanout.PAGE_LIMIT)
        try:
            text = outputs.checked(content)
        except ValueError as error:
            raise _Refused(400, str(error)) from None
        if not self._ask(self._api.hand_over, pod.name, text):
            raise _Refused(409, "this attempt has handed over another output before")
        return outputs.refer(content)

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function answers in the event loop, where everything else of the run happens."""

        async def ask() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(BUSY)

    def _sender(self, token: str) -> Any:
        for pod in self._api.pods.values():
            path = self._folder.pod(pod.name) / "adze" / "token"
            if not pod.ended and path.exists() and hmac.compare_digest(path.read_bytes(), token.encode()):
                return pod
        raise _Refused(401, "no step that runs has this token")


def _handler(taken: Callable[[str, Callable[[int], bytes]], dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = BUSY

        def do_POST(self) -> None:
            """Take an output."""
            try:
                if self.path != PATH:
                    raise _Refused(404, "outputs are sent elsewhere")
                self._answer(200, taken(self.headers.get("Authorization", "").removeprefix("Bearer "), self._read))
            except _Refused as refused:
                self._answer(refused.status, {"status": refused.status, "detail": str(refused)})
            except TimeoutError:
                self._answer(503, {"status": 503, "detail": "adze doesn't answer"})

        def _read(self, limit: int) -> bytes:
            length = self.headers.get("Content-Length", "")
            if not length.isdigit():
                raise _Refused(411, "send the header Content-Length")
            content = self.rfile.read(min(int(length), DRAINED))
            if int(length) > limit:
                raise _Refused(413, f"an output has at most {limit} bytes")
            return content

        def _answer(self, status: int, content: Any) -> None:
            data = msgspec.json.encode(content)
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Nothing: the step's own log says what came of it."""

    return Handler
