"""From a webhook's delivery to the event that it tells of."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from adze.core import expressions
from adze.core.cloudevents import Rejected, checked, json_body
from adze.core.expressions import BOOL, OBJECT, STRING, ExpressionError, Program, Scope, Template
from adze.core.model import EventSpec, WebhookScheme, WebhookSpec

SCOPE = Scope({"request.body": OBJECT, "request.headers": OBJECT, "request.digest": STRING})

TYPES = {
    WebhookScheme.GITHUB: "github:${request.headers['x-github-event']}",
    WebhookScheme.STRIPE: "stripe:${request.body.type}",
}
IDS = {
    WebhookScheme.GITHUB: "${request.headers['x-github-delivery']}",
    WebhookScheme.STRIPE: "${request.body.id}",
}
"""Where the services tell what happened, and which delivery it is; a repeated delivery has the same id."""

WITHHELD = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Headers that expressions don't see: what they hold would end up in an event, for all to read."""


class Compiled(NamedTuple):
    """A webhook's expressions."""

    filter: Program | None
    texts: Mapping[str, Template]


class InvalidWebhook(ValueError):
    """A webhook that takes no deliveries: for each problem its field, with line:column in an expression, and why."""

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{field}: {message}" for field, message in self.problems))


@lru_cache(maxsize=1024)
def _compiled(encoded: bytes) -> Compiled | InvalidWebhook:
    spec = msgspec.json.decode(encoded, type=WebhookSpec)
    problems: list[tuple[str, str]] = []
    texts: dict[str, Template] = {}
    fields = {
        "type": TYPES.get(spec.auth.type) if spec.type is None else spec.type,
        "id": IDS.get(spec.auth.type, "${request.digest}") if spec.id is None else spec.id,
        "subject": spec.subject,
        "data": spec.data,
    }
    for field, value in fields.items():
        try:
            texts[field] = expressions.template(value, SCOPE)
        except ExpressionError as error:
            problems.append(_problem(field, error))
    program = None
    try:
        program = SCOPE.program(spec.filter, BOOL) if spec.filter else None
    except ExpressionError as error:
        problems.append(_problem("filter", error))
    return InvalidWebhook(problems) if problems else Compiled(program, texts)


def _problem(field: str, error: ExpressionError) -> tuple[str, str]:
    return f"spec.{field}:{error.place}" if error.place else f"spec.{field}", str(error)


def compile_webhook(spec: WebhookSpec) -> Compiled:
    """Its expressions; InvalidWebhook lists what is wrong."""
    compiled = _compiled(msgspec.json.encode(spec))
    if isinstance(compiled, InvalidWebhook):
        raise compiled
    return compiled


def event(name: str, spec: WebhookSpec, headers: Mapping[str, str], body: bytes) -> EventSpec | None:
    """The event of a proven delivery, None if the filter leaves it out. Rejected if there's none to be made of it."""
    compiled = compile_webhook(spec)
    content = json_body(body)
    if not isinstance(content, dict):
        raise Rejected("body", "must be a JSON object")
    values = {
        "request.body": content,
        "request.headers": {header: value for header, value in headers.items() if header not in WITHHELD},
        "request.digest": hashlib.sha256(body).hexdigest(),
    }
    field = "filter"
    try:
        if compiled.filter and compiled.filter(values) is not True:
            return None
        found: dict[str, Any] = {"source": f"/webhooks/{name}"}
        for field, text in compiled.texts.items():
            value = text.render(values)
            if value is not None:
                found[field] = value if field == "data" else expressions.as_text(value)
    except ExpressionError as error:
        raise Rejected(f"spec.{field}", str(error)) from None
    return checked({"type": name, "data": content, **found}, EventSpec, "spec.")
