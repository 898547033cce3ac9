"""CEL: compile with types, evaluate with only what an expression names, and `${…}` in texts.

The one module that knows the CEL library. Its rules come from the CEL specification
(github.com/google/cel-spec); evaluation is bounded by the library.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from cel_expr_python import cel

from adze.core import schema

Type = cel.Type
STRING, INT, DYN, BOOL = Type.STRING, Type.INT, Type.DYN, Type.BOOL
OBJECT = Type.Map(Type.STRING, Type.DYN)
OBJECTS = Type.List(OBJECT)

_LITERAL = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_COMPILE_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_STEP = re.compile(rf"{_LITERAL}|(?<![\w.])steps\.([a-z][-a-z0-9]*)")


class ExpressionError(ValueError):
    """An expression that can't be compiled, or that failed; `place` is line:column or empty."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place


def type_of(schema: Mapping[str, Any]) -> Any:
    """The CEL type of values of a JSON Schema; DYN where CEL's static types would refuse sensible code.

    A `number` is DYN: CEL has no comparison of double and int constants, and JSON doesn't tell 5 from 5.0.
    """
    match schema.get("type"):
        case "string":
            return STRING
        case "integer":
            return INT
        case "boolean":
            return BOOL
        case "object":
            return OBJECT
        case "array":
            items = schema.get("items")
            return Type.List(type_of(items) if isinstance(items, Mapping) else DYN)
    return DYN


class Lookup(Protocol):
    """Where an expression's variables come from: a mapping, or something that computes them; KeyError if it can't."""

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression and the variables that it reads."""

    source: str
    variables: tuple[str, ...]
    compiled: Any

    def __call__(self, values: Lookup) -> Any:
        """Evaluate; `values` is asked only for the variables that the expression reads."""
        data: dict[str, Any] = {}
        for name in self.variables:
            # A variable that isn't there is left out: CEL says so, unless the expression can do without it.
            with suppress(KeyError):
                data[name] = values[name]
        if place := schema.nul(data):
            raise ExpressionError(f"{self.source}: {place} has a NUL character, which expressions can't read")
        answer = self.compiled.eval(data=data)
        if answer.type() == Type.ERROR:
            raise ExpressionError(f"{self.source}: {_readable(str(answer.plain_value()))}")
        try:
            # Only what JSON can hold leaves CEL: a value ends up in a Pod or in the status.
            return msgspec.to_builtins(answer.plain_value(), str_keys=True)
        except (TypeError, RecursionError):
            raise ExpressionError(
                f"{self.source}: gives {answer.type().name().lower()}, which JSON can't hold"
            ) from None


def type_of_items(program: Program) -> Any:
    """The type of the items of the list that an expression gives; None if it gives no list."""
    given = program.compiled.return_type()
    if given == DYN:
        return DYN
    known = (STRING, INT, BOOL, OBJECT, OBJECTS)
    if (found := next((kind for kind in known if given == Type.List(kind)), None)) is not None:
        return found
    return DYN if Type.List(DYN).is_assignable_from(given) else None


def _readable(message: str) -> str:
    return re.sub(r"^[A-Z_]+ : ", "", message)


class Scope:
    """The variables that an expression may read, with their types. A step's dashes become underscores in CEL."""

    def __init__(self, variables: Mapping[str, Any], known_steps: frozenset[str] = frozenset()) -> None:
        self.variables = variables
        self.known_steps = known_steps
        self._made: Any = None

    def _env(self) -> Any:
        # Only where there is an expression: an environment costs a millisecond.
        if self._made is None:
            self._made = cel.NewEnv(variables=dict(self.variables))
        return self._made

    def program(self, source: str, want: Any = DYN) -> Program:
        """Compile `source`, which must give `want`; ExpressionError says what and where."""
        text = self._without_certain_has(_underscored(source))
        try:
            compiled = self._env().compile(text)
        except RuntimeError as error:
            raise self._explained(str(error)) from None
        if want != DYN and compiled.return_type() not in (want, DYN):
            raise ExpressionError(
                f"must give {want.name().lower()}, not {compiled.return_type().name().lower()}", "1:1"
            )
        bare = re.sub(_LITERAL, "''", text)
        read = [name for name in self.variables if re.search(rf"(?<![\w.]){_spaced(name)}(?!\w)", bare)]
        return Program(source, tuple(read), compiled)

    def _without_certain_has(self, source: str) -> str:
        """`has(input.n)` as `true` where input.n is declared: it's there, and CEL would give its value instead."""
        for name in self.variables:
            if "." in name and "has" in source:
                certain = rf"\bhas\(\s*{_spaced(name)}\s*\)"
                source = re.sub(certain, lambda found: "true".ljust(len(found[0])), source)
        return source

    def _explained(self, error: str) -> ExpressionError:
        found = _COMPILE_ERROR.search(error)
        if not found:
            return ExpressionError(error)
        line, column, message = found.groups()
        message = message.split(" (in container")[0]
        reference = re.match(r"undeclared reference to '(\w+)(?:\.(\w+))?(?:\.(\w+))?", message)
        if reference:
            root, second, third = reference.groups()
            step = (second or "").replace("_", "-")
            members = sorted(name.partition(".")[2] for name in self.variables if name.startswith(f"{root}."))
            if root != "steps" and members:
                message = f"{root} has no {second!r} here; it has {', '.join(members)}"
            elif root != "steps" or not second:
                roots = sorted({name.split(".")[0] for name in self.variables})
                message = f"unknown name {root!r}; here are known: {', '.join(roots)}"
            elif f"steps.{second}.output" in self.variables:
                message = f"a step has output, phase and error, not {third!r}"
            elif step in self.known_steps:
                message = f"step {step!r} is not upstream of this one: add it to parents"
            else:
                message = f"there is no step {step!r}"
        return ExpressionError(message, f"{line}:{column}")


def _underscored(source: str) -> str:
    """`steps.send-email` as `steps.send_email`, of the same length so that columns stay true."""
    return _STEP.sub(lambda found: found[0].replace("-", "_") if found[1] else found[0], source)


def _spaced(name: str) -> str:
    """A pattern for a dotted name, which CEL lets blanks stand in."""
    return r"\s*\.\s*".join(map(re.escape, name.split(".")))


def variable(step: str, member: str) -> str:
    """The CEL variable for a step's output, phase or error."""
    return f"steps.{step.replace('-', '_')}.{member}"


def fields_read(source: str, owner: str) -> Iterator[tuple[str, str]]:
    """Name and line:column of the fields of `owner` (such as `input`) that an expression reads by dot."""
    # Literals are blanked out, not cut out, so that columns stay true.
    bare = re.sub(_LITERAL, lambda literal: " " * len(literal[0]), _underscored(source))
    for found in re.finditer(rf"(?<![\w.]){re.escape(owner)}\.([A-Za-z_]\w*)\b(?!\s*\()", bare):
        line = bare.count("\n", 0, found.start())
        yield found[1], f"{line + 1}:{found.start() - bare.rfind(chr(10), 0, found.start())}"


def read_by(program: Program) -> frozenset[str]:
    """What an expression reads, as dotted names: fields of a variable where it reads only fields."""
    read: set[str] = set()
    for name in program.variables:
        read |= {f"{name}.{field}" for field, _ in fields_read(program.source, name)} or {name}
    return frozenset(read)


def _pieces(text: str) -> Iterator[str | tuple[str, int]]:
    """Literal pieces, and (expression, offset) for each `${…}`; `$${` is a literal `${`."""
    position = 0
    for found in re.finditer(r"\$?\$\{", text):
        if found.start() < position:
            continue
        yield text[position : found.start()]
        if found[0] == "$${":
            yield "${"
            position = found.end()
            continue
        end = _closing_brace(text, found.end())
        yield text[found.end() : end], found.end()
        position = end + 1
    yield text[position:]


def _closing_brace(text: str, start: int) -> int:
    depth = 0
    for token in re.finditer(rf"{_LITERAL}|[{{}}]", text[start:]):
        if token[0] == "}" and depth == 0:
            return start + token.start()
        depth += {"{": 1, "}": -1}.get(token[0], 0)
    raise ExpressionError("${ has no closing brace", f"1:{start - 1}")


@dataclass(frozen=True, slots=True)
class Template:
    """A text with `${…}`, or any JSON value that holds such texts."""

    value: Any
    programs: Mapping[str, tuple[str | Program, ...]]

    def sources(self, text: str) -> Iterator[str]:
        """The expressions in one of its texts."""
        yield from (piece.source for piece in self.programs.get(text, ()) if isinstance(piece, Program))

    def render(self, values: Lookup) -> Any:
        """The value with each text filled in. A text that is one `${…}` and nothing else keeps its type."""
        return self._fill(self.value, values, None)

    def texts(self, values: Lookup, escape: Callable[[str], str]) -> Any:
        """The value with each text filled in and nothing but texts; `escape` is applied to what an expression gave."""
        return self._fill(self.value, values, escape)

    def _fill(self, value: Any, values: Lookup, escape: Callable[[str], str] | None) -> Any:
        if isinstance(value, str):
            pieces = self.programs.get(value)
            if pieces is None:
                return value
            if len(pieces) == 1 and isinstance(pieces[0], Program) and escape is None:
                return pieces[0](values)
            safe = escape or str
            return "".join(piece if isinstance(piece, str) else safe(as_text(piece(values))) for piece in pieces)
        if isinstance(value, Mapping):
            return {key: self._fill(member, values, escape) for key, member in value.items()}
        if isinstance(value, list | tuple):
            return [self._fill(member, values, escape) for member in value]
        return value


def template(value: Any, scope: Scope) -> Template:
    """Compile each `${…}` in `value`; ExpressionError's column counts within the text."""
    programs: dict[str, tuple[str | Program, ...]] = {}
    for text in _texts(value):
        if "${" not in text:
            continue
        pieces: list[str | Program] = []
        for piece in _pieces(text):
            if isinstance(piece, str):
                pieces += [piece] if piece else []
                continue
            source, offset = piece
            try:
                pieces.append(scope.program(source))
            except ExpressionError as error:
                raise ExpressionError(str(error), _place_in(text, offset, error.place)) from None
        programs[text] = tuple(pieces)
    return Template(value, programs)


def _place_in(text: str, offset: int, place: str) -> str:
    """line:column in `text` of a place in the expression that starts at `offset`."""
    if not place:
        return ""
    line, column = map(int, place.split(":"))
    if line == 1:
        column += offset - (text.rfind("\n", 0, offset) + 1)
    return f"{text.count(chr(10), 0, offset) + line}:{column}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _texts(member)


def as_text(value: Any) -> str:
    """A string as it is, everything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
