"""Values of options that several commands take."""

from typing import Any

import click

from adze.core import duration


class Duration(click.ParamType[float]):
    """A duration such as 90s or 1h30m, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        try:
            return duration.parse(value).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)


SECONDS = Duration()
