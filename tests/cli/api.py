"""An API server that says what a test wants it to, over HTTP: for errors that a real one doesn't make to order."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

CLUSTER = "/apis/adze.dev/v1alpha1/namespaces/shop"


@dataclass(frozen=True)
class Answer:
    """What is said: a status code and a body, whole or in chunks. `broken` ends it in the middle, `hangs_up` before."""

    body: Any = None
    code: int = 200
    chunks: tuple[str, ...] | None = None
    broken: bool = False
    hangs_up: bool = False
    headers: tuple[tuple[str, str], ...] = ()


def refusal(code: int, reason: str, message: str, kind: str = "") -> Answer:
    """A Status, as the API server says no."""
    return Answer(
        {"kind": "Status", "code": code, "reason": reason, "message": message, "details": {"kind": kind}}, code
    )


def events(*pairs: tuple[str, dict[str, Any]], broken: bool = False) -> Answer:
    """A watch that tells of these changes and ends."""
    lines = (json.dumps({"type": kind, "object": item}) + "\n" for kind, item in pairs)
    return Answer(chunks=tuple(lines), broken=broken)


@dataclass
class Api:
    """Answers in turn; the last one stays. `asked` is what came in."""

    server: str = ""
    asked: list[tuple[str, str, dict[str, str], dict[str, str], Any]] = field(default_factory=list)
    _answers: list[tuple[str, str, list[Answer]]] = field(default_factory=list)

    def on(self, method: str, pattern: str, *answers: Answer) -> None:
        """What to say to requests whose path and query match."""
        self._answers.append((method, pattern, list(answers)))

    def answer(self, method: str, path: str) -> Answer:
        """What to say now."""
        for wanted, pattern, answers in self._answers:
            if wanted == method and re.fullmatch(pattern, path):
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return Answer("404 page not found", 404)

    def kubeconfig(self, path: Any, user: dict[str, Any] | None = None, **cluster: Any) -> str:
        """A kubeconfig for it, in the namespace shop."""
        document = {
            "clusters": [{"name": "fake", "cluster": {"server": self.server, **cluster}}],
            "users": [{"name": "me", "user": user or {}}],
            "contexts": [{"name": "here", "context": {"cluster": "fake", "user": "me", "namespace": "shop"}}],
            "current-context": "here",
        }
        path.write_text(yaml.safe_dump(document))
        return str(path)


@contextmanager
def serving() -> Iterator[Api]:
    """An Api that answers."""
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            api.asked.append((self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers), body))
            self.say(api.answer(self.command, f"{parts.path}?{parts.query}" if parts.query else parts.path))

        def say(self, answer: Answer) -> None:
            if answer.hangs_up:
                self.close_connection = True
                return
            self.send_response(answer.code)
            for header in answer.headers:
                self.send_header(*header)
            if answer.chunks is not None:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for chunk in answer.chunks:
                    data = chunk.encode()
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                if not answer.broken:
                    self.wfile.write(b"0\r\n\r\n")
                self.close_connection = True
                return
            data = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body)).encode()
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    for method in ("GET", "POST", "PATCH"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.server = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
