"""What a slot is called, and whose key is which."""

from typing import Any

import msgspec
import pytest

from adze.core import slots
from adze.core.groups import Group
from adze.core.model import Concurrency, Run
from adze.core.revision import Revision
from adze.core.rules.admit import idle_slots
from adze.core.observed import Observed
from adze.core.slots import RUN, InvalidKey, LeaseMetadata, LeaseSpec, Need, Slot, Want
from adze.core.values import Values
from tests.builders import NOW, revision, run, step
from tests.core.dialogue import claimed

