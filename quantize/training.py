"""What `edge train --qat` asks for, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibration.cli import require_export_extra

if TYPE_CHECKING:
    from quantize.qat import QatWrapper


def training_wrapper(*, freeze_ranges: float, freeze_norms: float) -> QatWrapper:
    """Return the form in which a model is trained for int8; see `quantize.qat.QatConfig`.

    Raises:
        BackendUnavailableError: torchao or ExecuTorch is not installed.
    """
    require_export_extra()
    from quantize.qat import QatConfig, QatWrapper

    return QatWrapper(QatConfig(freeze_ranges=freeze_ranges, freeze_norms=freeze_norms))
