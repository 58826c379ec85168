"""What a training can be told; free of TensorFlow, so that ``--help`` answers at once."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from trainer.errors import DataError


@dataclass(frozen=True)
class Settings:
    """Everything that decides the weights, besides the data; each is an option of ``train``."""

    network: str = field(default="baseline", metadata={"help": "network to train"})
    recipe: str = field(default="corrected", metadata={"help": "name of the recipe, for the card"})
    augmentation: str = field(
        default="corrected",
        metadata={"help": "corrected (flips, turns, stain, light, sharpness) or turns"},
    )
    epochs: int = field(default=30, metadata={"help": "epochs; a cosine takes the rate to 0"})
    batch: int = field(default=64, metadata={"help": "real patches per step"})
    learning_rate: float = field(default=2e-3, metadata={"help": "peak, after a warm-up"})
    weight_decay: float = field(default=0.02, metadata={"help": "AdamW's, per unit of rate"})
    patience: int = field(default=15, metadata={"help": "epochs without a better AUPRC, then stop"})
    painted: float = field(
        default=0.06, metadata={"help": "painted background patches per real patch"}
    )
    balance: float = field(
        default=0.5,
        metadata={"help": "exponent of the natural-count weights in the loss; 0: all alike"},
    )
    seed: int = field(default=1, metadata={"help": "of all randomness"})

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "learning_rate", "patience"):
            if not getattr(self, name) > 0:
                raise DataError(f"--{name.replace('_', '-')} must be above 0.")
        for name in ("weight_decay", "painted", "balance", "seed"):
            if not getattr(self, name) >= 0:
                raise DataError(f"--{name.replace('_', '-')} must not be negative.")
        known = {"network": NETWORK_NAMES, "augmentation": POLICY_NAMES, "recipe": RECIPES}
        for name, choices in known.items():
            if getattr(self, name) not in choices:
                raise DataError(f"--{name} must be one of: {', '.join(choices)}.")


NETWORK_NAMES = ("baseline",)
POLICY_NAMES = ("corrected", "turns")
RECIPES = ("corrected",)

OPTIONS = fields(Settings)
"""The settings as fields, for the command line."""
