"""The real engine without an event loop: its coroutines yield batches of calls, and are sent the answers."""

from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from datetime import datetime, timedelta
from typing import Any

from adze.core import calls, protocol
from adze.core.policy import Policy
from adze.shell.engine import Engine
from adze.shell.workers import Workers
from tests.sim.api import Api

Work = Coroutine[Any, Any, timedelta]


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


class _Alarms(Workers[str]):
    """Workers with the event loop taken out: they remember who needs a look, and when."""

    def __init__(self, look: Callable[[str], Awaitable[timedelta]], clock: Callable[[], datetime]) -> None:
        super().__init__(look, clock)
        self.alarms: dict[str, datetime] = {}

    def look(self, key: str) -> None:
        """Remember that a run needs a look."""
        if self.running:
            self.dirty.add(key)

    def _set(self, key: str, moment: datetime | None) -> None:
        if moment is None:
            self.alarms.pop(key, None)
        else:
            self.alarms[key] = moment


class Mind(Engine):
    """The engine with its event loop taken out: whoever drives it looks at `pending` and rings its alarms."""

    def __init__(self, api: Api, policy: Policy) -> None:
        super().__init__(_Asking(), policy, clock=lambda: api.now)
        self._workers: _Alarms = _Alarms(self._pass, lambda: api.now)
        self.error: BaseException | None = None

    async def _drive(self, steps: protocol.Steps | None) -> protocol.Pass | None:
        try:
            return await super()._drive(steps)
        except Exception as error:
            self.error = error
            raise

    async def _do(self, batch: Sequence[calls.Call]) -> list[Any]:
        return await _Ask(batch)

    def learn(self, call: calls.Call, answer: Any) -> None:
        """An answer has come, as `_do_one` hears of it."""
        self._learn(call, answer)

    def begin(self, uid: str) -> Work:
        """A pass over a run that needs a look."""
        return self._workers.begin(uid)

    @property
    def alarms(self) -> dict[str, datetime]:
        """When a run needs a look though nothing happens."""
        return self._workers.alarms

    def ring(self, now: datetime) -> None:
        """What alarms are due means that their runs need a look."""
        for uid in [uid for uid, moment in self.alarms.items() if moment <= now]:
            del self.alarms[uid]
            self._workers.dirty.add(uid)

    def pending(self) -> list[str]:
        """The runs that need a look, in a fixed order."""
        return sorted(self._workers.dirty)

    def failed(self, uid: str) -> bool:
        """Whether the last pass over a run raised."""
        return uid in self._workers.failures
