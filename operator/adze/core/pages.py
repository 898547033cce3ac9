"""Pages of outputs are read when somebody asks what is in them, and not before."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from adze.core.calls import Call, Failure, Problem, ReadPage
from adze.core.model import Run
from adze.core.observed import Observed
from adze.core.values import PagesNeeded

T = TypeVar("T")


def with_pages(
    run: Run, observed: Observed, ask: Callable[[Observed], T]
) -> Generator[Sequence[Call], Sequence[Any], tuple[T | None, Observed]]:
    """What `ask` answers once the pages of outputs that it needs have been read; None if one can't be read now."""
    while True:
        try:
            return ask(observed), observed
        except PagesNeeded as lacking:
            names = list(lacking.names)
        answers = yield [ReadPage(run.metadata.namespace, name) for name in names]
        pages = dict(observed.pages)
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, Problem) and answer.failure is not Failure.NOT_FOUND:
                return None, observed
            pages[name] = None if isinstance(answer, Problem) else answer
        observed = replace(observed, pages=pages)
