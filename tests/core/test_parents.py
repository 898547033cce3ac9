"""When a step starts, is skipped or is cancelled by what became of its parents (design, section 4.1)."""

import pytest

from adze.core.model import Phase
from tests.builders import Drive, Phase as _Phase, step, workflow
