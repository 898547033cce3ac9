"""A minimal client of the node's API server: enough to watch it come up without a process per question."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

from .layout import API_PORT, Layout


class ApiError(OSError):
    """The API server answered with an error; ``status`` is the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status


class Api:
    """Requests as the cluster's administrator. Every failure, of transport or answer, is an OSError."""

    def __init__(self, layout: Layout, timeout: float = 5.0) -> None:
        self._host = layout.node_ip
        self._timeout = timeout
        self._tls = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
        self._tls.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")

    def text(self, path: str) -> str:
        """GET a path that answers in plain text, such as /readyz."""
        return self._request("GET", path, None)

    def get(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._request("GET", path, None))
        return answer

    def ensure(self, collection: str, body: dict[str, Any]) -> None:
        """Create the object; one that is there already is left as it is."""
        try:
            self._request("POST", collection, json.dumps(body))
        except ApiError as error:
            if error.status != http.client.CONFLICT:
                raise

    def _request(self, method: str, path: str, body: str | None) -> str:
        connection = http.client.HTTPSConnection(self._host, API_PORT, timeout=self._timeout, context=self._tls)
        headers = {"User-Agent": "adze-test-cluster", "Content-Type": "application/json"}
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise ApiError(answer.status, f"{method} {path}: {text[:500]}")
        return text
