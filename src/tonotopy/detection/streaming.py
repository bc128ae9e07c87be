"""A stream of audio in, a row for every window out, for as long as the sensor lives."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy._files import write_json
from tonotopy.detection.alarms import AlarmEvent, AlarmLogic
from tonotopy.detection.conditions import SCORED, Condition, Faults, decide, window_condition
from tonotopy.detection.drift import DriftMonitor
from tonotopy.detection.pcm import Block, Gap
from tonotopy.detection.ring_buffer import RingBuffer

STATE_FORMAT = 1


@dataclass(frozen=True)
class WindowScore:
    """What a detector says of a window.

    Args:
        score: Higher is more anomalous.
        p_value: Share of normal windows that score at least this high.
        threshold: An anomaly's score is above.
        nearest: Name and cosine similarity of the normal examples most alike, best first.
        embedding: (D,), for a drift monitor; None to leave it out.
        confidence: Probability of the machine's own class, for a drift monitor; None without one.
    """

    score: float
    p_value: float
    threshold: float
    nearest: tuple[tuple[str, float], ...] = ()
    embedding: Tensor | None = None
    confidence: float | None = None


Judge = Callable[[Tensor], WindowScore]
"""Score a waveform (T,) at the model's rate."""


class StreamDetector:
    """Judge a stream window by window, raise and clear alarms, and remember all of it on disk.

    Memory does not grow with the stream: there is a window of samples, a few numbers of the alarm
    and the histograms of drift.

    With a `state` file, a restarted detector goes on where the last one was: its clock, alarm,
    counts and drift. Samples are not kept; what the sensor said meanwhile is a gap.

    Args:
        judge: Scores a window.
        sample_rate: Of the windows, in hertz.
        window_seconds: Length of a window.
        hop_seconds: From the start of a window to the start of the next.
        alarms: Turns scores into alarms.
        low_rate: The stream has a lower rate than the model; see `Condition`.
        drift: Takes the accepted windows that do not overlap.
        state: A JSON file. Default: nothing is kept.
        identity: What the state belongs to, such as model and machine, as plain JSON. It and the
            settings must be the same at a restart.
        save_every: Windows between two saved states; what a power cut costs at most.
        now: Wall-clock time in seconds since 1970.

    Raises:
        UsageError: The state belongs to another detector.
        DataError: The state is damaged.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        sample_rate: int,
        window_seconds: float,
        hop_seconds: float,
        alarms: AlarmLogic,
        low_rate: bool = False,
        drift: DriftMonitor | None = None,
        state: Path | None = None,
        identity: dict[str, Any] | None = None,
        save_every: int = 10,
        now: Callable[[], float] = time.time,
    ) -> None:
        if save_every < 1:
            raise UsageError(f"the state is saved every 1 or more windows, got {save_every}")
        self._judge = judge
        self._sample_rate = sample_rate
        window, hop = round(window_seconds * sample_rate), round(hop_seconds * sample_rate)
        self._ring = RingBuffer(window, hop)
        self._low_rate = low_rate
        self._state = state
        self._identity = {
            **(identity or {}),
            "window_seconds": window_seconds,
            "hop_seconds": hop_seconds,
            "alarms": alarms.settings(),
        }
        self._save_every = save_every
        self._now = now
        self._faults: deque[tuple[float, float, Faults]] = deque()  # start, end, counts
        self._segment_start = 0.0
        self._segment_judged = False
        self._drift_free = 0.0
        self.alarms = alarms
        self.drift = drift
        self.position = 0.0
        """Seconds of the stream that have been heard or missed."""
        self.counts = {"windows": 0, "anomalous": 0, "unusable": 0, "alarms": 0}
        """Totals since the stream began, over restarts."""
        self._restarted_after: float | None = None
        if state is not None and state.is_file():
            self._resume(state)

    def run(self, stream: Iterable[Block | Gap]) -> Generator[dict[str, Any], None, None]:
        """Judge a stream to its end; close the generator to stop before, with the state saved.

        Args:
            stream: Blocks and gaps, e.g. a `PcmReader` that starts at `position`.

        Yields:
            A row for every window, and for every piece of a gap:

            `start`, `seconds`: the window's place in the stream.
            `time`: when the row was made, ISO 8601 in UTC.
            `condition`: see `Condition`.
            `decision`: "normal", "anomaly", or "unknown", see `SCORED`.
            `score`, `p_value`, `threshold`: null where nothing was scored.
            `smoothed`: what the alarm goes by; windows that are "unknown" have no part in it.
            `alarm`: whether one is on, after this row.
            `event`: "raised" or "cleared" where this row did that.
            `nearest`: pairs of name and cosine similarity.
        """
        self._segment_start = self.position
        try:
            if self._restarted_after is not None:
                missed, self._restarted_after = self._restarted_after, None
                yield self._gap_row(Gap(self.position - missed, missed))
            for part in stream:
                if isinstance(part, Gap):
                    yield from self._end_segment()
                    self._segment_start = self.position = part.start + part.seconds
                    yield self._gap_row(part)
                else:
                    yield from self._block(part)
            yield from self._end_segment()
        finally:
            self.save()

    def _block(self, block: Block) -> Iterator[dict[str, Any]]:
        self.position = block.start + block.seconds
        self._faults.append((block.start, self.position, block.faults))
        for first, window in self._ring.push(block.samples):
            start = self._segment_start + first / self._sample_rate
            self._segment_judged = True
            yield self._window_row(start, window)

    def _end_segment(self) -> Iterator[dict[str, Any]]:
        """Before a gap or the end: samples too few for a window are heard of, but not judged."""
        if not self._segment_judged and self._ring.pushed:
            seconds = self._ring.pushed / self._sample_rate
            yield self._row(self._segment_start, seconds, "too short", None)
        self._ring.clear()
        self._faults.clear()
        self._segment_judged = False

    def _gap_row(self, gap: Gap) -> dict[str, Any]:
        return self._row(gap.start, gap.seconds, "missing", None)

    def _window_row(self, start: float, window: NDArray[np.float32]) -> dict[str, Any]:
        seconds = len(window) / self._sample_rate
        condition = window_condition(
            window,
            self._faults_of(start, start + seconds),
            expected=self._ring.window,
            low_rate=self._low_rate,
        )
        if condition not in SCORED:
            return self._row(start, seconds, condition, None)
        found = self._judge(torch.from_numpy(window))
        accepted = found.score <= found.threshold and condition == "usable"
        if self.drift is not None and start >= self._drift_free:
            if accepted:
                self.drift.add(found.score, found.embedding, found.confidence)
            elif condition == "usable":
                self.drift.reject()
            self._drift_free = start + seconds
        return self._row(start, seconds, condition, found)

    def _faults_of(self, start: float, end: float) -> Faults:
        while self._faults and self._faults[0][1] <= start:
            self._faults.popleft()
        return sum((faults for begin, _, faults in self._faults if begin < end), Faults())

    def _row(
        self, start: float, seconds: float, condition: Condition, found: WindowScore | None
    ) -> dict[str, Any]:
        anomalous = None if found is None else found.score > found.threshold
        decision = decide(condition, anomalous)
        event = self._update_alarm(start + seconds, found if decision != "unknown" else None)
        self.counts["windows"] += 1
        self.counts["anomalous"] += decision == "anomaly"
        self.counts["unusable"] += decision == "unknown"
        self.counts["alarms"] += event is not None and event.kind == "raised"
        if self.counts["windows"] % self._save_every == 0:
            self.save()
        return {
            "start": round(start, 6),
            "seconds": round(seconds, 6),
            "time": datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds"),
            "condition": condition,
            "decision": decision,
            "score": found and found.score,
            "p_value": found and found.p_value,
            "threshold": found and found.threshold,
            "smoothed": self.alarms.smoothed if decision != "unknown" else None,
            "alarm": self.alarms.active,
            "event": event and event.kind,
            "nearest": list(found.nearest) if found else [],
        }

    def _update_alarm(self, end: float, found: WindowScore | None) -> AlarmEvent | None:
        end = max(end, self.alarms.time)  # resampling rounds the end of a stretch to a sample
        if found is None:
            return self.alarms.update(end, None, 0.0)
        return self.alarms.update(end, found.score, found.threshold)

    def save(self) -> None:
        """Write the state file, whole or not at all; nothing happens without one.

        Raises:
            DataError: The disk refuses.
        """
        if self._state is None:
            return
        write_json(
            self._state,
            {
                "format": STATE_FORMAT,
                "identity": self._identity,
                "position": self.position,
                "saved_at": self._now(),
                "counts": self.counts,
                "alarms": self.alarms.to_dict(),
                "drift": self.drift and self.drift.to_dict(),
            },
        )

    def _resume(self, path: Path) -> None:
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            known, identity = state["format"] == STATE_FORMAT, state["identity"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is no state of a detector: delete it, or name another file"
            ) from error
        if not known or identity != json.loads(json.dumps(self._identity)):
            raise UsageError(
                f"{path} is the state of a detector with other settings: use the same options, "
                f"or start anew with another --state (it has {identity})"
            )
        try:
            self.alarms = AlarmLogic.from_dict(state["alarms"])
            self.counts = {name: int(state["counts"][name]) for name in self.counts}
            missed = max(0.0, self._now() - float(state["saved_at"]))
            self.position = self._drift_free = float(state["position"]) + missed
            self._restarted_after = missed
            if self.drift is not None and state["drift"] is not None:
                self.drift.restore(state["drift"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error!r}): delete it to start anew") from error
