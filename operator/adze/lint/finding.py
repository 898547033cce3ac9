"""What a check has found, and where."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """An error is what the API server or the operator would refuse; a warning is worth a look."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, both from 1."""

    line: int = 1
    column: int = 1


RULES = {
    "file": "The file can be read as text.",
    "yaml": "The document is YAML that JSON can hold.",
    "duplicate-key": "No mapping has a key twice.",
    "boolean-key": "No key is a bare y, n, yes, no, on or off, which Kubernetes reads as a boolean.",
    "kind": "apiVersion, kind and metadata.name are those of a Workflow or a WorkflowRun.",
    "unknown-field": "Every field is one of the API's.",
    "schema": "Every field has the type and bounds of the API.",
    "workflow": "The graph, the expressions, schemas and durations make sense: runs can be made of it.",
    "input": "The run's input fits the schema of its workflow.",
    "unused-input": "Every property of the input is named by an expression, a script or a command.",
    "loose-image": "Every image has a tag other than latest, or a digest.",
}
"""Each rule and what it demands."""
WARNINGS = frozenset({"boolean-key", "unused-input", "loose-image"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `field` is the path in the document, or empty."""

    file: str
    place: Place
    rule: str
    message: str
    field: str = ""

    @property
    def severity(self) -> Severity:
        """What its rule's breach is."""
        return Severity.WARNING if self.rule in WARNINGS else Severity.ERROR
