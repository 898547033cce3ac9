"""Pages of outputs and entries of the cache are read when somebody asks what is in them, and not before."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from adze.core.cache import EntryNeeded
from adze.core.calls import Call, Failure, Problem, ReadEntry, ReadPage
from adze.core.model import Run
from adze.core.observed import Observed
from adze.core.values import PagesNeeded

T = TypeVar("T")


def unwritten(answers: Sequence[Any]) -> Problem | None:
    """What keeps the first of some pages from being there once all were to be created; None if all are there."""
    problems = (answer for answer in answers if isinstance(answer, Problem) and answer.failure is not Failure.EXISTS)
    return next(problems, None)


def with_pages(
    run: Run, observed: Observed, ask: Callable[[Observed], T]
) -> Generator[Sequence[Call], Sequence[Any], tuple[T | None, Observed]]:
    """What `ask` answers once the pages and entries that it needs have been read; None if a page can't be now."""
    while True:
        try:
            return ask(observed), observed
        except PagesNeeded as lacking:
            digests = lacking.digests
        except EntryNeeded as lacking:
            (answer,) = yield [ReadEntry(run.metadata.namespace, lacking.name)]
            entry = None if isinstance(answer, Problem) else answer
            observed = replace(observed, entries={**observed.entries, lacking.name: entry})
            continue
        answers = yield [ReadPage(run.metadata.namespace, *page) for page in digests.items()]
        pages = dict(observed.pages)
        for name, answer in zip(digests, answers, strict=True):
            if isinstance(answer, Problem) and answer.failure is not Failure.NOT_FOUND:
                return None, observed
            pages[name] = None if isinstance(answer, Problem) else answer
        observed = replace(observed, pages=pages)
