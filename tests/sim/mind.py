"""The real engine without an event loop: its coroutines yield batches of calls, and are sent the answers."""

from collections.abc import Coroutine, Generator, Sequence
from datetime import datetime
from typing import Any

from adze.core import calls, protocol
from adze.core.policy import Policy
from adze.shell.engine import Engine
from tests.sim.api import Api

Work = Coroutine[Any, Any, None]


class _Ask:
    """What the engine's coroutines wait for."""

    def __init__(self, batch: Sequence[calls.Call]) -> None:
        self._batch = batch

    def __await__(self) -> Generator[Sequence[calls.Call], list[Any], list[Any]]:
        return (yield self._batch)


class _Asking:
    """Stands where the engine has its driver."""

    async def do(self, call: calls.Call) -> Any:
        (answer,) = await _Ask([call])
        return answer


class Mind(Engine):
    """The engine with its event loop taken out: whoever drives it looks at `pending` and rings its alarms."""

    def __init__(self, api: Api, policy: Policy) -> None:
        super().__init__(_Asking(), policy, clock=lambda: api.now)
        self.alarms: dict[str, datetime] = {}
        self.error: BaseException | None = None

    async def _drive(self, steps: protocol.Steps | None) -> protocol.Pass | None:
        try:
            return await super()._drive(steps)
        except Exception as error:
            self.error = error
            raise

    def look(self, uid: str) -> None:
        """Remember that a run needs a look."""
        if self._running:
            self._dirty.add(uid)

    def _wake(self, uid: str, moment: datetime | None) -> None:
        if moment is None:
            self.alarms.pop(uid, None)
        else:
            self.alarms[uid] = moment

    async def _do(self, batch: Sequence[calls.Call]) -> list[Any]:
        return await _Ask(batch)

    def learn(self, call: calls.Call, answer: Any) -> None:
        """An answer has come, as `_do_one` hears of it."""
        self._learn(call, answer)

    def begin(self, uid: str) -> Work:
        """A pass over a run that needs a look, as `_work` makes it."""
        self._dirty.discard(uid)
        return self._pass(uid)

    def ring(self, now: datetime) -> None:
        """What alarms are due means that their runs need a look."""
        if self.alarms:
            for uid in [uid for uid, moment in self.alarms.items() if moment <= now]:
                del self.alarms[uid]
                self._dirty.add(uid)

    def pending(self) -> list[str]:
        """The runs that need a look, in a fixed order."""
        return sorted(self._dirty)

    def failed(self, uid: str) -> bool:
        """Whether the last pass over a run raised."""
        return uid in self._failures
