"""Results become events: thresholds with hysteresis, durations, pauses, clocks that are set."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import ConfigError
from runtime.events import ActionEvent, ActionSettings, ActionTracker
from tests.runtime.events.made import NAMES, result

NOW = 1_700_000_000.0
Seen = Mapping[int, Mapping[str, float]]


def tracker(**settings: object) -> ActionTracker:
    given = {"min_duration_s": 1.0, "max_gap_s": 2.0, "continue_s": 0.0, **settings}
    return ActionTracker("door", ActionSettings(**given), NAMES)  # type: ignore[arg-type]


def play(
    actions: ActionTracker, steps: Sequence[tuple[float, Seen]], *, end: bool = False
) -> list[ActionEvent]:  # fmt: skip
    events = []
    for at, people in steps:
        events += actions.update(result(people), now=NOW + at, monotonic=at)
    if end:
        at = steps[-1][0]
        events += actions.lost(now=NOW + at, monotonic=at)
    return events


def told(events: Sequence[ActionEvent]) -> list[tuple[str, str, int, float]]:
    return [(e.phase.value, e.action, e.person, round(e.time - NOW, 3)) for e in events]


def walk(score: float, person: int = 7) -> Seen:
    return {person: {"walk": score}}


def test_an_action_begins_continues_and_ends() -> None:
    steps = [(t / 2, walk(0.9)) for t in range(9)] + [(5.0, {}), (6.5, {})]
    events = play(tracker(continue_s=2.0), steps)
    assert told(events) == [
        ("begin", "walk", 7, 1.0), ("continue", "walk", 7, 3.0), ("end", "walk", 7, 6.5),
    ]  # fmt: skip
    begin, _, end = events
    assert {e.event_id for e in events} == {begin.event_id}
    assert (begin.started, begin.duration_s) == (NOW, 1.0)
    assert (end.started, end.duration_s) == (NOW, 4.0)  # until it was last seen
    assert begin.box == (0.1, 0.1, 0.5, 1.0)  # shares of the frame, clipped at its edge
    assert begin.camera == "door"
    assert end.score == pytest.approx(0.9)


def test_between_the_thresholds_an_action_goes_on_but_does_not_begin() -> None:
    low = [(float(t), walk(0.4)) for t in range(4)]
    assert play(tracker(), low, end=True) == []
    high = [(0.0, walk(0.6)), *[(float(t), walk(0.4)) for t in range(1, 9)]]
    assert told(play(tracker(), high, end=True)) == [
        ("begin", "walk", 7, 1.0), ("end", "walk", 7, 8.0),
    ]  # fmt: skip
    below = [(0.0, walk(0.6)), *[(float(t), walk(0.34)) for t in range(1, 9)]]
    assert play(tracker(), below, end=True) == []


def test_given_thresholds_take_the_place_of_the_artifacts() -> None:
    steps = [(float(t), walk(0.6)) for t in range(3)]
    assert play(tracker(start=0.7, end=0.2), steps) == []
    assert len(play(tracker(start=0.6 - 1e-6, end=0.2), steps)) == 1


def test_each_action_has_the_threshold_of_the_artifact() -> None:
    actions = tracker(min_duration_s=0.0)
    people = {1: {"stand": 0.5, "walk": 0.5, "fall": 0.5}}
    events = actions.update(
        result(people, action_conf=(0.6, 0.5, 0.4)), now=NOW, monotonic=0.0
    )  # fmt: skip
    assert [e.action for e in events] == ["walk", "fall"]


def test_a_short_action_is_not_told_and_a_pause_does_not_end_one() -> None:
    assert play(tracker(), [(0.0, walk(0.9)), (0.5, walk(0.9)), (4.0, {})]) == []
    paused = [(0.0, walk(0.9)), (1.0, walk(0.9)), (2.0, {}), (3.0, walk(0.9)), (3.5, {})]
    assert [e.phase.value for e in play(tracker(), paused)] == ["begin"]


def test_behind_a_longer_pause_it_is_another_action() -> None:
    steps = [(0.0, walk(0.9)), (1.0, walk(0.9)), (5.0, walk(0.9)), (6.0, walk(0.9))]
    events = play(tracker(), steps)
    assert [e.phase.value for e in events] == ["begin", "end", "begin"]
    assert len({e.event_id for e in events}) == 2


def test_people_and_actions_are_apart() -> None:
    both = {1: {"walk": 0.9, "stand": 0.8}, 2: {"walk": 0.9}}
    events = play(tracker(min_duration_s=0.0), [(0.0, both)], end=True)
    assert sorted(told(events)[:3]) == [
        ("begin", "stand", 1, 0.0), ("begin", "walk", 1, 0.0), ("begin", "walk", 2, 0.0),
    ]  # fmt: skip
    assert len(events) == 6
    assert len({e.event_id for e in events}) == 3


def test_classes_of_interest_and_second_boxes() -> None:
    people = {1: {"walk": 0.9, "fall": 0.9}, -1: {"fall": 0.9}}
    actions = tracker(min_duration_s=0.0, classes=("fall",))
    assert told(play(actions, [(0.0, people)])) == [("begin", "fall", 1, 0.0)]
    assert actions.classes == ("fall",)


def test_a_lost_camera_ends_what_was_told_and_forgets_the_rest() -> None:
    actions = tracker()
    play(actions, [(0.0, walk(0.9)), (1.0, {**walk(0.9), 8: {"fall": 0.9}})])
    events = actions.lost(now=NOW + 9, monotonic=9.0)
    assert told(events) == [("end", "walk", 7, 9.0)]
    assert events[0].duration_s == 1.0
    assert actions.lost(now=NOW + 9, monotonic=9.0) == []


def test_durations_do_not_follow_the_wall_clock_and_starts_do() -> None:
    actions = tracker(continue_s=1.0)
    wall = [0.0, 1.0, NOW, NOW + 1, NOW - 7200]  # 1970, set, and set back by two hours
    events = []
    for at, now in enumerate(wall):
        events += actions.update(result(walk(0.9)), now=now, monotonic=float(at))
    events += actions.lost(now=NOW - 7199, monotonic=5.0)
    assert [e.duration_s for e in events] == [1.0, 2.0, 3.0, 4.0, 4.0]
    starts = [0.0, NOW - 2, NOW - 2, NOW - 7204, NOW - 7204]
    assert [e.started for e in events] == starts
    assert [e.time for e in events] == [*wall[1:], NOW - 7199]
    assert len({e.event_id for e in events}) == 1


def test_a_slewed_clock_leaves_the_start_alone() -> None:
    actions = tracker(continue_s=1.0)
    events = []
    for at in range(5):
        events += actions.update(result(walk(0.9)), now=NOW + at * 1.01, monotonic=float(at))
    assert {e.started for e in events} == {NOW}


def test_a_stream_that_begins_again_ends_all() -> None:
    actions = tracker()
    play(actions, [(10.0, walk(0.9)), (11.0, walk(0.9))])
    events = actions.update(result(walk(0.9)), now=NOW + 12, monotonic=0.0)
    assert [(e.phase.value, e.duration_s, e.started) for e in events] == [("end", 1.0, NOW + 10)]


def test_an_action_begins_at_the_keyframe_that_shows_it() -> None:
    actions = tracker(min_duration_s=0.0)
    late = [replace(result(walk(0.9)), t=t, keyframe_t=t - 0.5, latency_ms=ms)
            for t, ms in ((10.0, 250.0), (11.0, 1250.0))]  # fmt: skip
    (begin,) = actions.update(late[0], now=NOW, monotonic=100.0)
    assert (begin.time, begin.started) == (NOW, NOW - 0.75)
    actions.update(late[1], now=NOW + 2, monotonic=102.0)
    (end,) = actions.lost(now=NOW + 2, monotonic=102.0)
    assert end.duration_s == 1.0  # whatever the latency


def test_memory_holds_open_actions_only() -> None:
    actions = tracker()
    for at in range(1000):
        actions.update(result(walk(0.9, person=at)), now=NOW + at, monotonic=float(at))
    assert len(actions.lost(now=NOW, monotonic=1000.0)) == 0  # none lasted, three wait
    assert told(play(actions, [(0.0, walk(0.9)), (1.0, walk(0.9))])) == [("begin", "walk", 7, 1.0)]


def test_settings_can_be_changed_while_it_runs() -> None:
    actions = tracker()
    play(actions, [(0.0, walk(0.6)), (1.0, walk(0.6))])
    actions.configure(ActionSettings(start=0.95, end=0.9, max_gap_s=2.0))
    assert told(play(actions, [(2.0, walk(0.6)), (3.5, walk(0.6))])) == [("end", "walk", 7, 3.5)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classes": ("wlak",)}, "no action 'wlak'. Did you mean 'walk'"),
        ({"start": 1.5}, "start is 1.5, expected 0 to 1"),
        ({"start": float("nan")}, "start is nan"),
        ({"end": 0.5}, "give both"),
        ({"start": 0.4, "end": 0.5}, "end at most as large as start"),
        ({"max_gap_s": 0.0}, "max_gap_s is 0.0, expected a number above 0"),
        ({"min_duration_s": -1.0}, "min_duration_s is -1.0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        tracker(**settings)


def test_results_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ConfigError, match="turn tracking on"):
        tracker().update(result(None), now=NOW, monotonic=0.0)
    other = ActionTracker("door", ActionSettings(), ("a", "b"))
    with pytest.raises(ConfigError, match="another model"):
        other.update(result({}), now=NOW, monotonic=0.0)


STEP = st.tuples(
    st.floats(0.0, 3.0),
    st.dictionaries(
        st.integers(0, 2), st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1)), max_size=2
    ),
)


@given(st.lists(STEP, max_size=30), st.floats(0.0, 2.0), st.floats(0.1, 2.5), st.floats(0.0, 2.0))
def test_every_action_begins_and_ends_once(
    steps: list[tuple[float, Seen]], least: float, gap: float, interval: float
) -> None:
    actions = tracker(min_duration_s=least, max_gap_s=gap, continue_s=interval)
    at, times, seen = 0.0, [], {}
    for wait, people in steps:
        at += wait
        times.append((at, people))
        for person, scores in people.items():
            for action, score in scores.items():
                seen.setdefault((person, action), []).append((at, score))
    events = play(actions, times, end=True) if times else []
    of: dict[str, list[ActionEvent]] = {}
    for one in events:
        of.setdefault(one.event_id, []).append(one)
    spans: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for told_of in of.values():
        first, *middle, last = told_of
        assert (first.phase.value, last.phase.value) == ("begin", "end")
        assert {e.phase.value for e in middle} <= {"continue"}
        durations = [e.duration_s for e in told_of]
        assert durations == sorted(durations)
        assert durations[0] >= least
        assert [e.score for e in told_of] == sorted(e.score for e in told_of)
        key = (first.person, first.action)
        start, end = first.started - NOW, first.started - NOW + last.duration_s
        spans.setdefault(key, []).append((start, end))
        # It starts where the higher threshold is reached, and pauses are short.
        shows = [t for t, score in seen[key] if start - 1e-5 <= t <= end + 1e-5]
        assert any(abs(t - start) < 1e-5 and score >= 0.5 for t, score in seen[key])
        assert abs(shows[-1] - end) < 1e-5
    for key, found in spans.items():
        found.sort()
        assert all(a[1] < b[0] for a, b in itertools.pairwise(found)), key
