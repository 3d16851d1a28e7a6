"""The one tree of errors a user can meet; `edge` re-exports it.

EdgeError
├── ConfigError                 a value the user gave cannot be used
├── ExportError                 a model could not become an artifact
│   ├── UnsupportedOpError      an operator the target does not have
│   └── PartitionError          too much of the graph stayed outside the delegate
├── BackendUnavailableError     an engine or package is missing here (also an ImportError)
├── ArtifactError               a bundle, artifact or checkpoint is broken
│   └── ArtifactMismatchError   it is whole, but not the one that is described or needed
├── CalibrationError            calibration data cannot stand for the deployment
├── TrainingError               learning went wrong: losses that are no numbers, a lost process
├── CaptureError                a camera, stream or file gives no frames
│   ├── CameraLostError         it gave frames, then stopped, and did not come back
│   └── StaleFrameError         its newest frame is older than the limit
├── DecodeError                 the engine's output is not a set of triplets
└── SinkError                   a result cannot be written

A message says what came, what was expected, and what to do. The command line prints it as one
line and exits 1 (2 for a `ConfigError`); a traceback needs `--verbose`.
"""

from __future__ import annotations


class EdgeError(Exception):
    """Base of every error that is the user's to act on."""


class ConfigError(EdgeError):
    """A value the user gave cannot be used."""


class ExportError(EdgeError):
    """A model could not become an artifact."""


class UnsupportedOpError(ExportError):
    """The graph holds an operator that the target does not have."""


class PartitionError(ExportError):
    """Too much of the graph stayed outside the delegate."""


class BackendUnavailableError(EdgeError, ImportError):
    """An engine or package is missing on this machine."""


class ArtifactError(EdgeError):
    """A bundle, artifact or checkpoint is broken."""


class ArtifactMismatchError(ArtifactError):
    """An artifact is whole, but not the one that is described or needed."""


class CalibrationError(EdgeError):
    """Calibration data cannot stand for the deployment."""


class TrainingError(EdgeError):
    """Learning cannot go on from here."""


class CaptureError(EdgeError):
    """A camera, stream or file gives no frames."""


class CameraLostError(CaptureError):
    """A source gave frames, then stopped, and did not come back."""


class StaleFrameError(CaptureError):
    """The newest frame is older than the limit."""


class DecodeError(EdgeError):
    """The engine's output is not a set of triplets."""


class SinkError(EdgeError):
    """A result cannot be written."""
