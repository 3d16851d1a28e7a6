"""Turn decoded frames of PyAV into the pixels that the project works on."""

from __future__ import annotations

from typing import Any

from runtime.sources.depth import DepthRange, keeps_8_bits

_LEAST_REDUCTION = 4


class PixelConverter:
    """Convert the frames of one video."""

    def __init__(self, shown: str) -> None:
        """Take the video's name for messages."""
        from av.video.reformatter import VideoReformatter

        # One converter for all frames: a frame's own would be set up anew for each.
        self._converter: Any = VideoReformatter()
        self._reducer: Any = VideoReformatter()
        self._deep: Any = VideoReformatter()
        self._depth = DepthRange(shown)

    def to_bgr(self, frame: Any) -> Any:
        """Return a frame as uint8 BGR (H, W, 3)."""
        if not self._keeps_8_bits(frame):
            if len(frame.format.components) == 1:
                return self._depth.to_bgr(frame.to_ndarray(format="gray16le"))
            # Luma is said to use all values, so that none is cut off at the ends. Old versions of
            # PyAV look at the ranges only where they differ; RGB has no other.
            colours = self._deep.reformat(
                frame, format="rgb48le", src_color_range="JPEG", dst_color_range="MPEG"
            ).to_ndarray()[:, :, ::-1]
            if self._depth.uses_part(colours):
                return self._depth.to_bgr(colours)
        return self._converter.reformat(frame, format="bgr24").to_ndarray()

    def _keeps_8_bits(self, frame: Any) -> bool:
        return self._depth.whole or keeps_8_bits(frame.format)

    def reduced(self, frame: Any, clip_wh: tuple[int, int]) -> Any | None:
        """Return a frame, reduced to a little more than a clip needs.

        Colour conversion and area averaging in one pass: a frame of 3840x2160 costs less than half
        of conversion and resize one after the other. The clip differs by about one grey level.

        Args:
            frame: As decoded.
            clip_wh: Width and height of the network's input, pixels.

        Returns:
            uint8 BGR (H, W, 3); None for a frame that is less than four times as large, or has
            values that may have to be stretched.
        """
        if not self._keeps_8_bits(frame):
            return None
        by = min(frame.width // clip_wh[0], frame.height // clip_wh[1])
        if by < _LEAST_REDUCTION:
            return None
        by = 1 << by.bit_length() - 1  # powers of two are the fast ones
        return self._reducer.reformat(
            frame, width=frame.width // by, height=frame.height // by, format="bgr24",
            interpolation="AREA",
        ).to_ndarray()  # fmt: skip
