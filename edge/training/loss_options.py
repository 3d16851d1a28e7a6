"""Options of matching and losses; no torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from runtime.errors import ConfigError
from runtime.options import check_options, option

ActorCost = Literal["focal", "probability"]
LossForm = Literal["focal", "bce"]
WeakLoss = Literal["mil", "copy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Options whose values are checked against their ranges."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatcherConfig(Section):
    """Weights of the matching cost.

    Attributes:
        alpha: Weight of an actor in the focal form, against 1 - alpha for background.
        gamma: Focus of the focal form on what is wrong.
    """

    set_cost_class: float = option(2.0, "matching: weight of the actor term", least=0)
    set_cost_bbox: float = option(5.0, "matching: weight of the L1 distance of boxes", least=0)
    set_cost_giou: float = option(2.0, "matching: weight of the generalised overlap", least=0)
    actor_cost: ActorCost = option(
        "focal", "matching: form of the actor term", choices=("focal", "probability")
    )
    alpha: float = 0.25
    gamma: float = 2.0

    def __post_init__(self) -> None:
        check_options(self)
        if self.set_cost_class == self.set_cost_bbox == self.set_cost_giou == 0:
            raise ConfigError(
                "set_cost_class, set_cost_bbox and set_cost_giou are all 0: nothing would tell "
                "one matching from another"
            )
        _check_focal(self.alpha, self.gamma)


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionConfig(Section):
    """Weights and forms of the losses.

    Attributes:
        alpha: Weight of a positive in the focal forms, against 1 - alpha.
        gamma: Focus of the focal forms on what is wrong.
        class_weights: Weight of a positive of each class in the action loss; none are 1.
    """

    loss_actor: float = option(2.0, "weight of the actor loss", least=0)
    loss_bbox: float = option(5.0, "weight of the L1 loss of boxes", least=0)
    loss_giou: float = option(2.0, "weight of the overlap loss of boxes", least=0)
    loss_action: float = option(1.0, "weight of the action loss", least=0)
    actor_loss: LossForm = option("focal", "form of the actor loss", choices=("focal", "bce"))
    action_loss: LossForm = option("bce", "form of the action loss", choices=("focal", "bce"))
    eos_coef: float = option(
        0.1, "weight of tokens without a person, with --actor-loss bce", least=0
    )
    duplicate_weight: float = option(
        1.0, "weight of unmatched tokens whose box overlaps (IoU 0.5 or more) a person matched to "
             "another token", least=0, former="rival_weight",
    )  # fmt: skip
    weak_loss: WeakLoss = option(
        "mil", "labels of whole videos mean that somebody does the action (mil) or everybody does "
               "(copy)", choices=("mil", "copy"),
    )  # fmt: skip
    alpha: float = 0.25
    gamma: float = 2.0
    class_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_options(self)
        _check_focal(self.alpha, self.gamma)
        if not all(math.isfinite(weight) and weight > 0 for weight in self.class_weights):
            raise ConfigError(f"class_weights are {self.class_weights}, expected numbers above 0")


def _check_focal(alpha: float, gamma: float) -> None:
    if not (0 <= alpha <= 1 and 0 <= gamma < math.inf):
        raise ConfigError(f"alpha is {alpha} and gamma {gamma}, expected [0, 1] and 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOptions(Section):
    """Losses beside those of the criterion."""

    class_balance: float = option(
        0.0, "exponent of median count / count for the weight of rare classes; 0 = equal weights",
        least=0, most=1,
    )  # fmt: skip
    loss_aux: float = option(
        0.0, "weight of the same losses on the features before the last stage", least=0,
        former="loss_early",
    )  # fmt: skip
    loss_one_to_many: float | None = option(
        None, "weight of the losses of the one-to-many heads; by default 1, with --qat 0",
        metavar="WEIGHT", least=0, former="loss_many",
    )  # fmt: skip
