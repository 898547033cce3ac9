"""The pieces of a workflow: expressions, texts, schemas, durations. What is wrong with one is noted with its field."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from adze.core import duration, expressions, schema
from adze.core.cache import LONGEST, Cache, definition
from adze.core.expressions import INT, ExpressionError, Program, Scope, Template
from adze.core.model import Concurrency, Step
from adze.core.schema import Validator
from adze.core.slots import Entry


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a workflow: the field (with line:column in an expression) and why."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class Pieces:
    """Checks and compiles pieces; a piece that is wrong adds a problem and gives None, or nothing that can be used.

    `closed` holds the fields of those objects, by the variable that an expression reads, whose schema allows no others.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.closed: dict[str, frozenset[str]] = {}

    def complain(self, field: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(field, message))

    def program(self, source: str | None, scope: Scope, field: str, want: Any) -> Program | None:
        """An expression; `want` is the type that it must give."""
        if source is None:
            return None
        try:
            program = scope.program(source, want)
        except ExpressionError as error:
            self.complain(f"{field}:{error.place}" if error.place else field, str(error))
            return None
        self.check_fields(source, field)
        return program

    def queues(self, entries: Sequence[Concurrency], scope: Scope, field: str) -> tuple[Entry, ...]:
        """The `concurrency` entries of `field`."""
        compiled = []
        for index, entry in enumerate(entries):
            place = f"{field}.concurrency[{index}]"
            key = self.template(entry.key, scope, f"{place}.key")
            if isinstance(entry.max_runs, int):
                compiled.append(Entry(entry, key, entry.max_runs))
            elif limit := self.program(entry.max_runs, scope, f"{place}.maxRuns", INT):
                compiled.append(Entry(entry, key, limit))
        return tuple(compiled)

    def cache(self, step: Step, scope: Scope, field: str) -> Cache | None:
        """The `cache` of a step."""
        if step.cache is None:
            return None
        ttl = self.limit(step.cache.ttl, f"{field}.ttl") or LONGEST
        if ttl > LONGEST:
            self.complain(f"{field}.ttl", f"must be at most {duration.show(LONGEST)}")
        return Cache(self.template(step.cache.key, scope, f"{field}.key"), ttl, definition(step))

    def template(self, value: Any, scope: Scope, field: str) -> Template:
        """Any value whose texts may hold `${…}`."""
        try:
            template = expressions.template(value, scope)
        except ExpressionError:
            # Once more, text by text, to name the one that is wrong.
            for place, part in _members(value):
                try:
                    expressions.template(part, scope)
                except ExpressionError as error:
                    self.complain(f"{field}{place}:{error.place}" if error.place else f"{field}{place}", str(error))
            return Template(None, {})
        for place, text in _members(value):
            for source in template.sources(text):
                self.check_fields(source, f"{field}{place}")
        return template

    def check_fields(self, source: str, field: str) -> None:
        """Refuse fields that a closed schema rules out; CEL itself sees only a map."""
        for owner, known in self.closed.items():
            for name, place in expressions.fields_read(source, owner):
                if name not in known:
                    self.complain(f"{field}:{place}", f"{owner} has no field {name!r}: its schema allows no others")

    def validator(self, value: Mapping[str, Any] | None, field: str) -> Validator | None:
        """A JSON Schema."""
        if value is None:
            return None
        try:
            return Validator(value)
        except schema.SchemaError as error:
            self.complain(field, f"not a JSON Schema: {error}")
            return None

    def limit(self, text: str | None, field: str) -> timedelta | None:
        """A duration that is longer than nothing."""
        limit = self.duration(text, field)
        if limit == timedelta(0):
            self.complain(field, "must be longer than 0s; leave it out for the default")
        return limit

    def duration(self, text: str | None, field: str) -> timedelta | None:
        """A duration."""
        if text is None:
            return None
        try:
            return duration.parse(text)
        except ValueError as error:
            self.complain(field, str(error))
            return None


def _members(value: Any, place: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _members(member, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _members(member, f"{place}[{index}]")
    elif isinstance(value, str):
        yield place, value
