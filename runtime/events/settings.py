"""From which score, for how long: what makes an action an event."""

from __future__ import annotations

from dataclasses import dataclass

from runtime._option import check_options, option
from runtime.errors import ConfigError

# Of the threshold at which an action starts.
END_SHARE = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSettings:
    """When an action of a tracked person begins and ends; `ActionTracker` follows it.

    Attributes:
        start: Probability from which an action starts, 0..1; None takes the artifact's own for each
            action.
        end: Probability below which a result no longer shows it, at most `start`; None takes
            `END_SHARE` of `start`.
        min_duration_s: An action is told once it lasted that long. 0 tells it at once.
        max_gap_s: It has ended when no result showed it for longer. Must be longer than the time
            from result to result.
        continue_s: A lasting action is told again at this interval; 0 does not.
        classes: Names of the actions to tell; empty for all.
    """

    start: float | None = option(None, "probability at which an action starts", least=0, most=1)
    end: float | None = option(None, "probability below which it pauses", least=0, most=1)
    min_duration_s: float = option(
        0.5, "shortest action that is told, seconds", least=0, most=86400
    )
    max_gap_s: float = option(2.0, "longest pause within an action, seconds", above=0, most=86400)
    continue_s: float = option(10.0, "interval of `continue`, seconds", least=0, most=86400)
    classes: tuple[str, ...] = option((), "actions to tell; empty: all")

    def __post_init__(self) -> None:
        check_options(self, named=str)
        if self.end is not None and (self.start is None or self.end > self.start):
            given = "not given" if self.start is None else f"{self.start:g}"
            raise ConfigError(
                f"end is {self.end:g} and start {given}; give both, end at most as large as start"
            )
