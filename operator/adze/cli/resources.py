"""The resources that the commands read and write, and what people call them."""

from dataclasses import dataclass

from adze.cli.exits import BadInput, did_you_mean


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of the API: what comes before its namespace in a path, its plural, and the word that people use."""

    prefix: str
    plural: str
    word: str

    @property
    def full(self) -> str:
        """As in messages of the API server: `workflowruns.adze.dev`."""
        group = self.prefix.split("/")[2] if self.prefix.startswith("/apis/") else ""
        return f"{self.plural}.{group}" if group else self.plural

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Where the API server has it; `namespace` None is all of them."""
        place = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(part for part in (f"{self.prefix}{place}/{self.plural}", name, subresource) if part)


RUNS = Resource("/apis/adze.dev/v1alpha1", "workflowruns", "run")
WORKFLOWS = Resource("/apis/adze.dev/v1alpha1", "workflows", "workflow")
WORKFLOW_EVENTS = Resource("/apis/adze.dev/v1alpha1", "workflowevents", "WorkflowEvent")
PODS = Resource("/api/v1", "pods", "Pod")
EVENTS = Resource("/api/v1", "events", "Event")
REVIEWS = Resource("/apis/authentication.k8s.io/v1", "selfsubjectreviews", "SelfSubjectReview")

KINDS = {
    **dict.fromkeys(("runs", "run", "workflowruns", "workflowrun", "awr"), RUNS),
    **dict.fromkeys(("workflows", "workflow", "awf"), WORKFLOWS),
}
"""What people call those that have commands of their own."""


def kind(word: str) -> Resource:
    """The resource that a word means; BadInput if it means none."""
    if word not in KINDS:
        raise BadInput(f"there is no kind {word!r}: it's runs or workflows{did_you_mean(word, KINDS)}")
    return KINDS[word]
