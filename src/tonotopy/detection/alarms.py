"""From scores of windows to alarms that people can live with."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

from tonotopy._errors import DataError, UsageError


@dataclass(frozen=True)
class AlarmEvent:
    """An alarm begins or ends.

    Args:
        kind: `"raised"` or `"cleared"`.
        time: In seconds of the stream.
        score: The smoothed score at that moment.
    """

    kind: Literal["raised", "cleared"]
    time: float
    score: float


class AlarmLogic:
    """Raise an alarm when enough of the latest windows are anomalous, clear it when few are.

    Scores x of windows at times t are smoothed by a moving average whose weights fall off with
    time, s <- s + (1 - exp(-dt / tau)) (x - s), where dt is the time since the window judged
    before; it starts at the first score. A window votes for an alarm if its smoothed score exceeds
    the threshold. Of the last `n` votes, `m` in favour raise the alarm; it is cleared when `n -
    m_off` are against, so a smaller `m_off` makes it more stubborn.

    Windows that could not be judged do not vote, and nothing they leave out counts as calm: an
    alarm outlasts a gap. Votes older than `vote_seconds` expire, so that a fault before a long gap
    and one after it do not add up; the moving average forgets by itself.

    Args:
        m: Votes that raise an alarm, 1 to n.
        n: Votes that are looked at.
        m_off: Votes in favour that may be left when an alarm is cleared, below m.
        smoothing_seconds: Time constant tau; 0 for none.
        vote_seconds: Life of a vote. At a hop of h seconds, n h lets exactly n votes live.
        cool_down_seconds: After the end of an alarm, none is raised for this long.

    Raises:
        UsageError: An argument is out of range.

    Examples:
        >>> alarms = AlarmLogic(m=2, n=3, m_off=0)
        >>> for time, score in enumerate([0.0, 5.0, 5.0, 0.0, 0.0, 0.0]):
        ...     if event := alarms.update(time, score, threshold=1.0):
        ...         print(event.kind, event.time)
        raised 2
        cleared 5
    """

    def __init__(
        self,
        *,
        m: int = 3,
        n: int = 5,
        m_off: int = 1,
        smoothing_seconds: float = 0.0,
        vote_seconds: float = math.inf,
        cool_down_seconds: float = 0.0,
    ) -> None:
        if not 1 <= m <= n:
            raise UsageError(f"an alarm needs m of n votes with 1 <= m <= n, got {m} of {n}")
        if not 0 <= m_off < m:
            raise UsageError(f"m_off must be at least 0 and below m ({m}), got {m_off}")
        if smoothing_seconds < 0 or cool_down_seconds < 0 or not vote_seconds > 0:
            raise UsageError(
                "smoothing and cool-down must not be negative and votes must live: got "
                f"{smoothing_seconds:g}, {cool_down_seconds:g} and {vote_seconds:g} seconds"
            )
        self.m = m
        self.n = n
        self.m_off = m_off
        self.smoothing_seconds = smoothing_seconds
        self.vote_seconds = vote_seconds
        self.cool_down_seconds = cool_down_seconds
        self.smoothed: float | None = None
        """The smoothed score; None before the first judged window."""
        self.raised_at: float | None = None
        """When the alarm was raised that is on; None while there is none."""
        self._cleared_at: float | None = None
        self._judged_at: float | None = None
        self.time = -math.inf
        """Of the last window; minus infinity before the first."""
        self._votes: deque[tuple[float, bool]] = deque(maxlen=n)

    @property
    def active(self) -> bool:
        """An alarm is on."""
        return self.raised_at is not None

    def update(self, time: float, score: float | None, threshold: float) -> AlarmEvent | None:
        """Take the next window.

        Args:
            time: When, in seconds; never less than before.
            score: The window's score; None if it could not be judged.
            threshold: What normal windows seldom exceed.

        Returns:
            What happens, if anything does.

        Raises:
            UsageError: Time runs backwards, or a score is not a finite number.
        """
        if time < self.time:
            raise UsageError(f"windows must come in order of time, got {time} after {self.time}")
        self.time = time
        while self._votes and time - self._votes[0][0] >= self.vote_seconds:
            self._votes.popleft()
        if score is None:
            return None
        if not math.isfinite(score):
            raise UsageError(f"a score must be finite, got {score}: leave such windows out")
        smoothed = self._smooth(time, score)
        self._votes.append((time, smoothed > threshold))
        for_alarm = sum(vote for _, vote in self._votes)
        if self.raised_at is None:
            if for_alarm >= self.m and not self._cooling(time):
                self.raised_at = time
                return AlarmEvent("raised", time, smoothed)
        elif len(self._votes) - for_alarm >= self.n - self.m_off:
            self.raised_at, self._cleared_at = None, time
            return AlarmEvent("cleared", time, smoothed)
        return None

    def _smooth(self, time: float, score: float) -> float:
        if self.smoothed is None or self._judged_at is None or self.smoothing_seconds == 0:
            self.smoothed = score
        else:
            weight = -math.expm1(-(time - self._judged_at) / self.smoothing_seconds)
            self.smoothed += weight * (score - self.smoothed)
        self._judged_at = time
        return self.smoothed

    def _cooling(self, time: float) -> bool:
        return self._cleared_at is not None and time - self._cleared_at < self.cool_down_seconds

    def settings(self) -> dict[str, Any]:
        """Give the arguments as plain JSON (an endless `vote_seconds` as null)."""
        endless = math.isinf(self.vote_seconds)
        return {
            "m": self.m,
            "n": self.n,
            "m_off": self.m_off,
            "smoothing_seconds": self.smoothing_seconds,
            "vote_seconds": None if endless else self.vote_seconds,
            "cool_down_seconds": self.cool_down_seconds,
        }

    def to_dict(self) -> dict[str, Any]:
        """Give settings and state as plain JSON, for `from_dict`."""
        return {
            "settings": self.settings(),
            "smoothed": self.smoothed,
            "raised_at": self.raised_at,
            "cleared_at": self._cleared_at,
            "judged_at": self._judged_at,
            "time": None if math.isinf(self.time) else self.time,
            "votes": [list(vote) for vote in self._votes],
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> AlarmLogic:
        """Go on exactly where `to_dict` was called.

        Raises:
            DataError: The state is incomplete.
        """
        try:
            settings = dict(state["settings"])
            if settings["vote_seconds"] is None:
                settings["vote_seconds"] = math.inf
            alarms = cls(**settings)
            alarms.smoothed = state["smoothed"]
            alarms.raised_at = state["raised_at"]
            alarms._cleared_at = state["cleared_at"]
            alarms._judged_at = state["judged_at"]
            alarms.time = -math.inf if state["time"] is None else state["time"]
            alarms._votes.extend((time, bool(vote)) for time, vote in state["votes"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the saved state of an alarm is damaged: {error!r}") from error
        return alarms
