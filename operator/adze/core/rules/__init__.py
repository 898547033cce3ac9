"""The rules of a run, in the order in which they are asked. The order is the policy:

settle   what has ended is recorded first, so that no deadline takes a success away
expire   then limits: cancel, the run's deadline, step timeouts
notice   then news for people: what runs, why something waits
gather   then items of forEach steps that have ended, before what comes after them starts
advance  then what may start now, stage by stage
hold     and what is in use stays wanted
"""

from collections.abc import Callable

from adze.core.draft import Draft
from adze.core.rules.admit import hold
from adze.core.rules.advance import advance
from adze.core.rules.expire import expire
from adze.core.rules.items import gather
from adze.core.rules.notice import notice
from adze.core.rules.settle import settle

Rule = Callable[[Draft], None]

RULES: tuple[Rule, ...] = (settle, expire, notice, gather, advance, hold)
