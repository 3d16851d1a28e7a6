"""The main job in three lines: a bundle, a source, a result per keyframe.

with ClipRunner("bundle") as runner:
for result in runner.stream(source=0):
...
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from runtime.artifact_table import fit_command, guessed_threshold
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.clip_stream import ClipStream, StreamConfig
from runtime.engine import load_engine
from runtime.errors import ConfigError
from runtime.profiling import Profile
from runtime.results import Event, FrameStatus, KeyframeResult
from runtime.sampler import Sampler
from runtime.sources import Frame, Source, SourceConfig, open_source
from runtime.sources.grabber import Opener
from runtime.sources.opencv import open_capture
from runtime.tubes import PersonTracks
from runtime.turns import Turns

logger = logging.getLogger(__name__)

DEFAULT_STRIDE_SAMPLES = 2


class ClipRunner:
    """Run a bundle on sources, one after the other; a context manager.

    Results are generated, never collected: memory stays flat however long the source runs. Sources
    that run at the same time have a runner each: `sibling`.

    Attributes:
        source: The source that is open now, or None.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_BUNDLE,
        *,
        artifact: str | None = None,
        conf: float | None = None,
        action_conf: float | None = None,
        stride: int | None = None,
        device: str = "auto",
        num_threads: int = 0,
        max_age_ms: float = 500.0,
        self_test: bool = True,
    ) -> None:
        """Load a bundle and test it.

        Args:
            model: Bundle folder or zip.
            artifact: Which program of the bundle; None takes the best that runs here.
            conf: Threshold on the actor score; None takes the artifact's own.
            action_conf: Threshold on each action's probability; None takes the artifact's own for
                each action, 0.5 where it has none.
            stride: Frames, at the bundle's fps, from one decision to the next; rounded up to a
                multiple of `sampling_rate`. None takes two samples.
            device: Where to run: `cpu`, `cuda`, or `auto`, the best that the bundle has a program
                for.
            num_threads: Threads of the engine; 0 takes one per core.
            max_age_ms: Live sources: a newest frame older than this is reported as stale.
            self_test: Compare with the bundle's golden clip before the first result.

        Raises:
            ConfigError: A value is out of range.
            ArtifactError: The bundle is broken or does not fit this machine.
            BackendUnavailableError: No artifact of the bundle runs here.
        """
        self.source: Source | None = None
        self._state: ClipStream | None = None
        self._turns: Turns | None = None
        given = _thresholds(conf, action_conf)
        if num_threads < 0:
            raise ConfigError(f"num_threads is {num_threads}; it must be 0 (all cores) or more")
        self.max_age_ms = max_age_ms
        self.bundle = Bundle.load(model)
        try:
            self.spec = self.bundle.spec
            stride_samples = _stride_samples(stride, self.spec.clip.sampling_rate)
            self.engine = load_engine(
                self.bundle,
                artifact=artifact,
                num_threads=num_threads,
                stride=stride_samples,
                self_test=self_test,
                device=device,
            )
        except BaseException:
            self.bundle.close()
            raise
        self.stride = stride_samples * self.spec.clip.sampling_rate
        self.config = StreamConfig(
            conf=self.engine.artifact.conf,
            action_conf=self.engine.artifact.action_confs(self.spec.class_names),
            stride_samples=stride_samples,
        )
        self.config = replace(self.config, **given)
        # Here and not above: where it does not import, load_engine has said so in our words.
        from runtime import _native

        size = self.spec.clip
        self._preprocess = _native.Preprocess(size.height, size.width, size.mean, size.std)
        self.new_profile: Callable[[], Profile] = Profile
        self.profile = self.new_profile()
        guessed = guessed_threshold(self.engine.artifact)
        if not self.spec.trained:
            logger.warning("%s: the weights are UNTRAINED; results mean nothing", self.spec.name)
        elif guessed is not None and conf is None:
            logger.warning("%s. Give --conf, or fit it: %s", guessed, fit_command(model))

    def __enter__(self) -> ClipRunner:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the runner."""
        self.close()

    @property
    def state(self) -> str:
        """Return `idle`, `warming_up`, `running` or `stale`."""
        return "idle" if self._state is None else self._state.state

    @property
    def samples(self) -> int:
        """Return how many of the clip's samples are there."""
        return 0 if self._state is None else self._state.samples

    @property
    def progress(self) -> tuple[int, int | None]:
        """Return frames read so far, and how many a file announces (None for a live source)."""
        return (0, None) if self._state is None else self._state.progress

    def sibling(self, turns: Turns) -> ClipRunner:
        """Return a runner for another source at the same time, in a thread of its own.

        Both use one bundle and one engine; thresholds and profile are its own.

        Args:
            turns: The same for all of them: who may use the engine.
        """
        other = copy.copy(self)
        other.source = other._state = None
        other.new_profile, other.profile = Profile, Profile()
        other._turns = turns
        return other

    def set_thresholds(
        self, *, conf: float | None = None, action_conf: float | tuple[float, ...] | None = None
    ) -> None:
        """Use other thresholds from the next decision on; from any thread.

        Raises:
            ConfigError: One is not from 0 to 1.
        """
        self.config = replace(self.config, **_thresholds(conf, action_conf))
        state = self._state
        if state is not None:
            state.config = self.config

    def stream(
        self,
        source: str | int | Path,
        *,
        conf: float | None = None,
        action_conf: float | None = None,
        config: SourceConfig | None = None,
        on_frame: Callable[[Frame, FrameStatus], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        every_frame: bool = True,
        track: bool | PersonTracks = False,
        opener: Opener = open_capture,
    ) -> Generator[KeyframeResult, None, None]:
        """Yield one result per keyframe.

        Args:
            source: Camera, stream, file or folder; see `runtime.sources.open_source`.
            conf: Threshold on the actor score; None takes the runner's.
            action_conf: Threshold on each action's probability; None takes the runner's.
            config: How to read it. `max_age_ms` is the runner's, `live_queue` at least a clip.
            on_frame: Called with every frame and what is known of it, before the result that it
                completes. Without it, frames that no clip wants are not even converted.
            on_event: Called when the state changes; the same is logged.
            every_frame: Give `on_frame` also the frames that no clip wants. Without, that begins
                when `source.keep_all` is set.
            track: Number the people (`KeyframeResult.people`); see `runtime.tubes`. Behind a gap
                everybody is new. Tracks that are given go on counting from stream to stream.
            opener: How a capture is opened; tests put a scripted camera here.

        Yields:
            Results in order of time. Stop iterating to stop the source.

        Raises:
            ConfigError: A threshold is not from 0 to 1.
            CaptureError: The source cannot be opened or read, or gave no keyframe at all.
            CameraLostError: A live source was lost and did not come back.
        """
        thresholds = replace(self.config, **_thresholds(conf, action_conf))
        clip = self.spec.clip
        config = config or SourceConfig(image_fps=clip.fps)
        config = replace(
            config,
            max_age_ms=self.max_age_ms,
            live_queue=max(config.live_queue, clip.num_frames),
            keep_all=config.keep_all or (on_frame is not None and every_frame),
            clip_wh=(clip.width, clip.height),
            full_frames=on_frame is not None,
        )
        sampler = Sampler(sampling_rate=clip.sampling_rate, fps=clip.fps)
        tracks = track if isinstance(track, PersonTracks) else PersonTracks() if track else None
        if tracks is not None:
            on_event = _restart_at_gaps(tracks, on_event)
        self.profile = self.new_profile()
        with open_source(source, config, sampler=sampler, opener=opener) as opened:
            self._state = ClipStream(
                self.spec, self.engine, self._preprocess, opened, sampler, thresholds,
                profile=self.profile, on_frame=on_frame, on_event=on_event, turns=self._turns,
            )  # fmt: skip
            self.source = opened
            try:
                with closing(self._state.results()) as results:
                    for result in results:
                        if tracks is not None:
                            numbers = tracks.update(result)
                            result = replace(result, people=tuple(numbers.tolist()))
                        yield result
            finally:
                self.profile.dropped_frames = opened.dropped
                self.source = self._state = None

    def summary(self) -> list[str]:
        """Return the closing lines of the last stream: `Speed: ...` and percentiles by stage."""
        return self.profile.lines(self.spec.clip.input_shape)

    def close(self) -> None:
        """Let go of the bundle."""
        self.bundle.close()


def _thresholds(
    conf: float | None, action_conf: float | tuple[float, ...] | None
) -> dict[str, Any]:
    """Return those that are given, checked."""
    given = {"conf": conf, "action_conf": action_conf}
    for name, value in given.items():
        values = value if isinstance(value, tuple) else (value,)
        if not all(one is None or 0.0 <= one <= 1.0 for one in values):
            raise ConfigError(f"{name} is {value}; it must be from 0 to 1")
    return {name: value for name, value in given.items() if value is not None}


def _restart_at_gaps(
    tracks: PersonTracks, told: Callable[[Event], None] | None
) -> Callable[[Event], None]:
    """Return what is called with events: nobody is the same person behind a gap."""

    def tell(event: Event) -> None:
        if event.kind == "gap":
            tracks.restart()
        if told is not None:
            told(event)

    return tell


def _stride_samples(stride: int | None, sampling_rate: int) -> int:
    if stride is None:
        return DEFAULT_STRIDE_SAMPLES
    if stride < 1:
        raise ConfigError(f"--stride is {stride}; it must be at least 1 frame")
    samples = math.ceil(stride / sampling_rate)
    if samples * sampling_rate != stride:
        logger.warning(
            "--stride %d rounded up to %d, a multiple of sampling_rate %d",
            stride,
            samples * sampling_rate,
            sampling_rate,
        )
    return samples
