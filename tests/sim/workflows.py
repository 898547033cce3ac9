"""Small random workflows. A shape is a number: the same number is the same workflow, compiled once."""

from functools import lru_cache
from random import Random
from typing import Any

from msgspec.structs import replace

from adze.core.model import (
    Backoff,
    BackoffType,
    Concurrency,
    FailurePolicy,
    RateLimit,
    Retention,
    RunSpec,
    Step,
    StepCache,
    Strategy,
    WorkflowSpec,
)

IMAGE = "sim"
SHAPES = 300
"""Different shapes of each size. Few, so that compiling them costs nothing in the long run."""

GRAPHS: dict[int, tuple[dict[str, tuple[str, ...]], ...]] = {
    1: ({"a": ()},),
    2: ({"a": (), "b": ("a",)}, {"a": (), "b": ()}),
    3: ({"a": (), "b": ("a",), "c": ("b",)}, {"a": (), "b": ("a",), "c": ("a",)}, {"a": (), "b": (), "c": ("a", "b")}),
    4: ({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}, {"a": (), "b": ("a",), "c": (), "d": ("c",)}),
    5: (
        {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ("d",)},
        {"a": (), "b": (), "c": ("a", "b"), "d": ("b",), "e": ("c", "d")},
    ),
}


def _step(random: Random, name: str, parents: tuple[str, ...]) -> Step:
    fields: dict[str, Any] = {"name": name, "parents": parents, "image": IMAGE}
    if random.random() < 0.5:
        fields["retries"] = random.choice((1, 1, 2, 3))
    if random.random() < 0.5:
        kind = random.choice(list(BackoffType))
        fields["backoff"] = Backoff(
            type=kind, base=random.choice(("1s", "3s")), max="10s", jitter=random.choice((0, 50))
        )
    if random.random() < 0.3:
        fields["timeout"] = random.choice(("2s", "30s"))
    if random.random() < 0.5:
        fields["start_timeout"] = random.choice(("3s", "20s"))
    if random.random() < 0.1:
        fields["retry_when"] = "attempt.exitCode != 64"
    if parents and random.random() < 0.15:
        fields["when"] = f"steps.{parents[0]}.phase == 'Succeeded'"
    elif random.random() < 0.07:
        fields["when"] = "input.go == true"
    if parents and random.random() < 0.2:
        fields["args"] = (f"${{steps.{parents[-1]}.output.n}}",)
    return Step(**fields)


FANS = 6
"""The size of workflows with forEach steps."""


def _fan(shape: int) -> WorkflowSpec:
    """One or two steps for each item of a short list, perhaps with a step around them."""
    random = Random(shape)

    def each(name: str, parents: tuple[str, ...], source: str) -> Step:
        step = replace(_step(random, name, ()), parents=parents, args=None, for_each=source)
        return replace(
            step,
            max_parallel=random.choice((None, None, 1, 2)),
            failure_policy=random.choice((None, FailurePolicy.FAIL, FailurePolicy.CONTINUE)),
        )

    first = (each("a", (), "input.list"),)
    then = random.choice(
        (
            (),
            (replace(_step(random, "b", ()), parents=("a",), args=("${size(steps.a.output)}",)),),
            (each("b", ("a",), "steps.a.output"),),
            (each("b", (), "input.list"),),
        )
    )
    rest: dict[str, Any] = {"finally_": (_step(random, "tidy", ()),)} if random.random() < 0.2 else {}
    if random.random() < 0.2:
        rest["on_failure"] = each("mend", (), "input.list")
    return WorkflowSpec(steps=first + then, timeout=random.choice(("1h", "10m", "15s")), **rest)


@lru_cache(maxsize=4096)
def workflow(size: int, shape: int) -> WorkflowSpec:
    """The workflow of that size and shape; size 0 is one plain step with nothing around it."""
    if size == FANS:
        return _fan(shape)
    random = Random(size * 100_003 + shape)
    if size == 0:
        plain = Step(name="a", image=IMAGE, retries=shape % 3, start_timeout=random.choice((None, "3s")))
        return WorkflowSpec(steps=(plain,), timeout=random.choice(("1h", "20s")))
    graph = random.choice(GRAPHS[size])
    steps = tuple(_step(random, name, parents) for name, parents in graph.items())
    rest: dict[str, Any] = {}
    if random.random() < 0.25:
        rest["on_failure"] = _step(random, "mend", ())
    if random.random() < 0.3:
        rest["finally_"] = tuple(_step(random, name, ()) for name in random.choice((("tidy",), ("tidy", "tell"))))
    if random.random() < 0.2:
        rest["retention"] = Retention(
            ttl=random.choice((None, "30s")), succeeded=random.choice((None, 0)), failed=random.choice((None, 0))
        )
    if random.random() < 0.1:
        rest["output"] = {"total": "${steps.a.output.n}"}
    return WorkflowSpec(steps=steps, timeout=random.choice(("1h", "10m", "15s")), **rest)


def _input(shape: int) -> dict[str, Any]:
    return {"go": shape % 2 == 0, "list": list(range(shape % 5))}


@lru_cache(maxsize=4096)
def inline(size: int, shape: int) -> RunSpec:
    """A run that brings its workflow along."""
    return RunSpec(workflow_spec=workflow(size, shape), input=_input(shape))


@lru_cache(maxsize=4096)
def queued(size: int, kind: int, shape: int) -> RunSpec:
    """A run that shares keys with all others of that kind. A key tells its limit: `run-2` has two slots."""
    random = Random(kind)
    strategy = list(Strategy)[kind % 5]
    limits = [random.choice((1, 1, 2)) for _ in range(3)]
    entries = [Concurrency(key=f"run-{limits[0]}", max_runs=limits[0], strategy=strategy, scope="pool")]
    if kind // 5 % 3 == 0:
        entries.append(Concurrency(key=f"other-{limits[1]}", max_runs=limits[1], scope="pool"))
    base = workflow(size, shape)
    waits = Concurrency(key=f"step-{limits[2]}", max_runs=limits[2], scope="pool")
    steps = tuple(
        replace(step, concurrency=(waits,)) if (kind // 15 + index) % 2 else step
        for index, step in enumerate(base.steps)
    )
    spec = replace(base, steps=steps, concurrency=tuple(entries) if kind // 30 % 4 else ())
    return RunSpec(workflow_spec=spec, input=_input(shape), priority=shape % 3)


@lru_cache(maxsize=4096)
def rated(size: int, kind: int, shape: int) -> RunSpec:
    """A run whose steps share allowances with those of all others of that kind: `rate-2-5` are 2 units in 5 s."""
    random = Random(kind)
    entries = [
        RateLimit(
            key=f"rate-{limit}-{per}", limit=limit, per=f"{per}s", units=random.choice((1, 1, limit)), scope="pool"
        )
        for limit, per in ((random.choice((1, 2, 3)), random.choice((1, 5, 20))) for _ in range(1 + kind % 2))
    ]
    base = workflow(size, shape)
    waits = (Concurrency(key="step-1", max_runs=1, scope="pool"),) if kind // 2 % 4 == 0 else ()
    steps = tuple(
        replace(step, rate_limit=tuple(entries), concurrency=waits) if (kind // 8 + index) % 3 else step
        for index, step in enumerate(base.steps)
    )
    return RunSpec(workflow_spec=replace(base, steps=steps), input=_input(shape), priority=shape % 3)


@lru_cache(maxsize=4096)
def cached(size: int, shape: int, word: int) -> RunSpec:
    """A run whose steps keep what they hand over, for so short that it matters; `word` is what it depends on."""
    base = workflow(size, shape)
    steps = tuple(
        replace(step, cache=StepCache(key="${input.word}", ttl=("5s", "1h")[word % 2])) for step in base.steps
    )
    return RunSpec(workflow_spec=replace(base, steps=steps), input={**_input(shape), "word": word // 2})


@lru_cache(maxsize=4096)
def large(size: int, shape: int) -> RunSpec:
    """A run most of whose steps may hand over large outputs."""
    base = workflow(size, shape)
    steps = tuple(
        replace(step, large_output=True) if (shape + index) % 3 else step for index, step in enumerate(base.steps)
    )
    return RunSpec(workflow_spec=replace(base, steps=steps), input=_input(shape))


@lru_cache(maxsize=4096)
def limited(limit: int, size: int, kind: int) -> WorkflowSpec:
    """A workflow with a run key that has `limit` slots, of three at most."""
    strategy = list(Strategy)[kind % 5]
    entry = Concurrency(key="run-3", max_runs=limit, strategy=strategy)
    return replace(workflow(size, kind), concurrency=(entry,))


def named(name: str, shape: int) -> RunSpec:
    """A run of a Workflow."""
    return RunSpec(workflow=name, input=_input(shape))
