"""The engine's own memory and manners; what it decides is the core's and the simulator's affair."""

import asyncio
from typing import Any

import msgspec

from adze.core import calls, names
from adze.core.calls import Failure, Problem
from adze.core.pods import Pod
from adze.shell.engine import AT_A_TIME, Engine
from tests.builders import NOW, POLICY, Drive, opened, pod, released, step, succeeded, workflow


class Busy:
    """A driver that fails every call after some turns of the loop, and counts how many were in flight."""

    def __init__(self) -> None:
        self.flying = 0
        self.most = 0
        self.done = 0

    async def do(self, call: calls.Call) -> Any:
        """Take a while."""
        self.flying += 1
        self.most = max(self.most, self.flying)
        for _ in range(3):
            await asyncio.sleep(0)
        self.flying -= 1
        self.done += 1
        return Problem(Failure.UNKNOWN)


def engine(driver: Any) -> Engine:
    return Engine(driver, POLICY, clock=lambda: NOW)


def test_one_run_leaves_room_for_others() -> None:
    async def one_pass() -> Busy:
        driver = Busy()
        mind = engine(driver)
        mind.see_run(Drive(workflow(*(step(f"s{n}") for n in range(40)))).until_quiet().run)
        await mind._pass(next(iter(mind.runs)))
        return driver

    driver = asyncio.run(one_pass())
    assert (driver.most, driver.done) == (AT_A_TIME, 40)


def done(one: Pod) -> Pod:
    """The Pod as the patch leaves it that lets it go after its end."""
    labels = {**one.metadata.labels, names.RELEASED: "true"}
    metadata = msgspec.structs.replace(released(one).metadata, labels=labels, resource_version="99")
    return msgspec.structs.replace(one, metadata=metadata)


def test_a_pod_that_was_let_go_after_its_end_is_forgotten() -> None:
    mind = engine(None)
    mind.see_run(Drive(workflow(step("a"))).until_quiet().run)
    ended = succeeded(opened(pod()))
    mind.see_pod(None, ended)
    assert mind._pods
    mind._learn(calls.Release(ended), done(ended))
    assert mind._pods == {}
    mind.see_pod(ended, None)
    assert not mind._vanished, "it has left the watch, and is no loss"


def test_a_pod_that_vanishes_unrecorded_is_a_loss() -> None:
    mind = engine(None)
    run = Drive(workflow(step("a"))).until_quiet().run
    mind.see_run(run)
    ended = succeeded(opened(pod()))
    mind.see_pod(None, ended)
    mind.see_pod(ended, None)
    assert mind._vanished[run.metadata.uid] == {ended.name}
