"""Chaos in short, on a node of its own: it kills the API server under everybody's feet. About four minutes."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos import crash, havoc, scenarios, shapes, table
from tests.chaos.arena import Result
from tests.chaos.checker import Word
from tests.chaos.lab import Lab, say

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="chaos needs root, for a node of its own"),
]

SEED = 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    lab = Lab()
    ours = not lab.node.is_ready()
    try:
        await lab.open()
        yield lab
        await lab.close()
    finally:
        if ours:
            lab.node.down()


def _holds(result: Result) -> None:
    say("\n" + table.render([result]))
    report = f"{table.render([result])}\n{table.details([result])}"
    assert result.verdict.word is Word.HELD, report
    assert not [note for note in result.notes if "ended by itself" in note], report


async def test_a_crash_at_every_write_doubles_and_loses_nothing(lab: Lab) -> None:
    result = await crash.every_write(lab, shapes.pair, SEED)
    _holds(result)
    assert result.faults.total() >= 20


async def test_an_operator_killed_again_and_again_brings_its_runs_to_their_end(lab: Lab) -> None:
    _holds(await havoc.kills(lab, SEED, seconds=60, runs=30))


async def test_two_operators_at_once_double_nothing_unless_their_writes_are_blind(lab: Lab) -> None:
    """The second pair's writes are no compare-and-swap: if that went unnoticed, the rest would prove nothing."""
    sound, blind = await asyncio.gather(havoc.two_operators(lab, SEED, seconds=20, runs=8), scenarios.no_cas(lab, SEED))
    _holds(sound)
    assert blind.verdict.word is Word.BROKEN, table.details([blind])


async def test_an_api_server_and_an_etcd_that_die_are_outlived(lab: Lab) -> None:
    _holds(await havoc.control_plane(lab, SEED, seconds=5, runs=5))


async def test_an_etcd_that_is_full_for_a_while_is_outlived(lab: Lab) -> None:
    _holds(await havoc.full(lab, SEED, seconds=8, runs=6))
