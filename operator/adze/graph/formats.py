"""A workflow as a tree for terminals, as Mermaid, as DOT, and as SVG."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise

from adze.core import dag
from adze.core.model import Step, WorkflowSpec
from adze.graph.layout import Cell, Layout, layout

CHARACTER = 7.8
"""Width of a character of the SVG's font, in its units."""
HEIGHT, LEVEL, GAP, MARGIN = 30.0, 64.0, 24.0, 16.0
"""Of a box, from layer to layer, between boxes, around all."""


def parents_of(spec: WorkflowSpec) -> dict[str, tuple[str, ...]]:
    """Each step of the graph and its parents."""
    return {step.name: step.parents for step in spec.steps}


def handlers(spec: WorkflowSpec) -> Iterator[tuple[str, Sequence[Step]]]:
    """The stages after the graph, and their steps."""
    if spec.on_failure:
        yield "onFailure", [spec.on_failure]
    if spec.finally_:
        yield "finally", spec.finally_


def as_text(spec: WorkflowSpec) -> str:
    """Each step below the one of its parents that comes last; further parents are named beside it.

    `↓` marks an only child, so that a long chain stays narrow.
    """
    parents = parents_of(spec)
    order = {name: index for index, name in enumerate(dag.order(parents))}
    steps = {step.name: step for step in spec.steps}
    children: dict[str, list[str]] = {name: [] for name in parents}
    roots: list[str] = []
    for name in order:
        last = max(parents[name], key=order.__getitem__, default=None)
        (roots if last is None else children[last]).append(name)
    lines = [line for root in roots for line in _tree(root, steps, children, "", "")]
    for stage, members in handlers(spec):
        lines += ["", f"{stage}:", *(f"  {step.name}{_note(step, ())}" for step in members)]
    return "\n".join(lines)


def _tree(
    name: str, steps: Mapping[str, Step], children: Mapping[str, Sequence[str]], first: str, rest: str
) -> Iterator[str]:
    others = [parent for parent in steps[name].parents if name not in children[parent]]
    yield f"{first}{name}{_note(steps[name], others)}"
    below = children[name]
    for child in below:
        if len(below) == 1:
            yield from _tree(child, steps, children, f"{rest}↓ ", rest)
        elif child == below[-1]:
            yield from _tree(child, steps, children, f"{rest}└─ ", f"{rest}   ")
        else:
            yield from _tree(child, steps, children, f"{rest}├─ ", f"{rest}│  ")


def _note(step: Step, others: Sequence[str]) -> str:
    notes = [f"after {', '.join(others)} too"] if others else []
    notes += [f"when {' '.join(step.when.split())}"] if step.when else []
    return f"  ({'; '.join(notes)})" if notes else ""


def as_mermaid(spec: WorkflowSpec) -> str:
    """A flowchart that Markdown pages of code hosts show."""
    numbers = {step.name: f"s{index}" for index, step in enumerate(spec.steps)}
    lines = ["flowchart TD"]
    lines += [f'  {numbers[step.name]}["{step.name}"]' for step in spec.steps]
    lines += [
        f"  {numbers[parent]} -.->|when| {numbers[step.name]}"
        if step.when
        else f"  {numbers[parent]} --> {numbers[step.name]}"
        for step in spec.steps
        for parent in step.parents
    ]
    for stage, members in handlers(spec):
        lines += [f"  subgraph {stage}", *(f'    {stage}{n}["{s.name}"]' for n, s in enumerate(members)), "  end"]
    return "\n".join(lines)


def as_dot(spec: WorkflowSpec) -> str:
    """Graphviz."""
    lines = ["digraph workflow {", "  node [shape=box, style=rounded, fontname=sans]"]
    lines += [f'  "{step.name}"' for step in spec.steps]
    lines += [
        f'  "{parent}" -> "{step.name}"{" [style=dashed, label=when]" if step.when else ""}'
        for step in spec.steps
        for parent in step.parents
    ]
    for stage, members in handlers(spec):
        lines += [f'  subgraph "cluster_{stage}" {{', f'    label="{stage}"', "    style=dashed"]
        lines += [*(f'    "{step.name}"' for step in members), "  }"]
    return "\n".join([*lines, "}"])


def as_svg(spec: WorkflowSpec) -> str:
    """A picture that needs nothing else; black on white, or white on black where the reader's page is dark."""
    widths = {step.name: len(step.name) * CHARACTER + 24 for step in spec.steps}
    placed = layout(parents_of(spec), widths, GAP)
    conditional = {step.name for step in spec.steps if step.when}
    shapes = [_edge(edge, placed, dashed=edge[-1] in conditional) for edge in placed.edges]
    for row, layer in enumerate(placed.layers):
        shapes += [
            _box(cell, placed.centres[cell], row * LEVEL, widths[cell]) for cell in layer if isinstance(cell, str)
        ]
    right = max((placed.centres[name] + widths[name] / 2 for name in widths), default=0.0)
    bottom = len(placed.layers) * LEVEL
    for stage, members in handlers(spec):
        shapes.append(f'<text x="0" y="{bottom + HEIGHT / 2:.0f}" class="stage">{stage}</text>')
        left = 10 * CHARACTER
        for step in members:
            width = len(step.name) * CHARACTER + 24
            shapes.append(_box(step.name, left + width / 2, bottom, width))
            left += width + GAP
        right = max(right, left - GAP)
        bottom += LEVEL
    width, height = right + 2 * MARGIN, bottom - LEVEL + HEIGHT + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-MARGIN:g} {-MARGIN:g} {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}">',
            f"<style>{_STYLE}</style>",
            *shapes,
            "</svg>",
        ]
    )


_STYLE = (
    "rect,path{fill:none;stroke:#456}text{font:13px monospace;fill:#123}.name{text-anchor:middle}"
    ".stage{fill:#678}.dashed{stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){rect,path{stroke:#9ab}text{fill:#def}}"
)


def _box(name: str, centre: float, top: float, width: float) -> str:
    return (
        f'<rect x="{centre - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{HEIGHT:g}" rx="6"/>'
        f'<text x="{centre:.1f}" y="{top + HEIGHT / 2 + 4:.1f}" class="name">{escape(name)}</text>'
    )


def _edge(edge: Sequence[Cell], placed: Layout, *, dashed: bool) -> str:
    """Curves from layer to layer, upright where a layer is passed, so that no box is touched."""
    rows = {cell: row for row, layer in enumerate(placed.layers) for cell in layer}
    path = ""
    for upper, lower in pairwise(edge):
        x1, x2 = placed.centres[upper], placed.centres[lower]
        y1, y2 = rows[upper] * LEVEL + HEIGHT, rows[lower] * LEVEL
        middle = (y1 + y2) / 2
        path += f"V{y1:.1f}" if path else f"M{x1:.1f} {y1:.1f}"
        path += f"C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
    style = ' class="dashed"' if dashed else ""
    return f'<path d="{path}"{style}/>'


FORMATS: dict[str, Callable[[WorkflowSpec], str]] = {
    "text": as_text,
    "mermaid": as_mermaid,
    "dot": as_dot,
    "svg": as_svg,
}
"""Name to format."""
