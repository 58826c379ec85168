"""What a training can be told; free of TensorFlow, so that ``--help`` answers at once.

`RECIPES` is the one place that says what each recipe does to each network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from idc_desktop.errors import UsageError
from idc_desktop.models.patch_size import PatchSize

USUAL = PatchSize(50, 8.0)
"""What a patch of the public data set is (the ``ps50`` of its layout; pages of 32:1)."""

SPLITS = ("official", "grouped-kfold", "held-out", "all-cases", "random-patch")
IMBALANCES = ("none", "class-weights", "oversample", "smote", "smote-before-split")
VGG16_NAMES = ("vgg16-features", "vgg16-finetuned")
COMPARATOR_NAMES = ("cruz-roa", "alexnet-resize", "alexnet-crop", "accept-reject")
NETWORK_NAMES = ("baseline", *VGG16_NAMES, *COMPARATOR_NAMES)
RECIPE_NAMES = ("corrected", "paper")
LARGEST_SEED = 2**32 - 1
"""Of the generators that take the smallest ones."""
TAKEN = ("best", "last")
POLICY_NAMES = ("wide", "corrected", "turns", "paper", "none")


def _option(
    kind: type,
    text: str,
    default: object = None,
    choices: tuple[str, ...] | None = None,
) -> Any:  # noqa: ANN401
    return field(default=default, metadata={"type": kind, "help": text, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """Everything that decides the weights, besides the data; each is an option of ``train``.

    `None` and `False` mean "not used"; such settings are left out of cards and logs.
    """

    network: str = _option(str, "network to train", "baseline", NETWORK_NAMES)
    recipe: str = _option(str, "where the other settings come from", "corrected", RECIPE_NAMES)
    augmentation: str = _option(str, "random variants of training patches", "wide", POLICY_NAMES)
    epochs: int = _option(int, "epochs; a cosine takes the rate to 0", 30)
    batch: int = _option(int, "real patches per step", 64)
    learning_rate: float = _option(float, "peak, after a warm-up", 2e-3)
    weight_decay: float = _option(float, "AdamW's, per unit of rate", 0.02)
    taken: str = _option(
        str, "epoch whose network is taken: of the largest AUPRC, or the", "best", TAKEN
    )
    patience: int = _option(
        int, "where the best is taken: epochs without a better AUPRC, then stop", 15
    )
    painted: float = _option(float, "painted background patches per real patch", 0.06)
    balance: float = _option(
        float, "exponent of the natural-count weights in the loss; 0: all alike", 0.5
    )
    seed: int = _option(int, "of all randomness", 1)
    mixup: float | None = _option(
        float, "mix pairs of a batch, by shares drawn from Beta(MIXUP, MIXUP); 0: do not"
    )
    variants: int | None = _option(int, "random variants that are cached")
    taught: float | None = _option(
        float, "share of the --teacher's answers in the labels of a network without frozen part"
    )
    pretrained_rate: float | None = _option(float, "peak rate of ImageNet layers that are trained")
    head_epochs: int | None = _option(int, "epochs at the start that train only the new layers")
    clipnorm: float | None = _option(float, "largest norm of the gradient of a step")
    beta_2: float | None = _option(float, "Adam's second decay, where not 0.999")
    plain: bool = _option(bool, "constant rate, no running mean of the weights", False)
    mixed_precision: bool = _option(bool, "compute in bfloat16", False)

    def __post_init__(self) -> None:
        for one in fields(self):
            value, choices = getattr(self, one.name), one.metadata["choices"]
            option = f"--{one.name.replace('_', '-')}"
            if choices and value is not None and value not in choices:
                raise UsageError(f"{option} must be one of: {', '.join(choices)}.")
            if value is None or one.name not in _BOUNDS:
                continue
            least, most = _BOUNDS[one.name]
            if not value >= least:
                raise UsageError(f"{option} must be at least {least:g}.")
            if not value <= most:
                raise UsageError(f"{option} must be at most {most:.10g}.")
        if not self.learning_rate > 0 or self.pretrained_rate == 0:
            raise UsageError("--learning-rate and --pretrained-rate must be above 0.")
        frozen = self.network in VGG16_NAMES
        if frozen and self.taught is not None:
            raise UsageError("--taught belongs to the networks without a frozen part.")
        if (self.variants is None) != (not frozen and self.taught is None):
            raise UsageError(
                "--variants belongs to the VGG-16 networks and to what is --taught; these need it."
            )
        if (self.pretrained_rate is None) != (self.network != "vgg16-finetuned"):
            raise UsageError("--pretrained-rate belongs to vgg16-finetuned, which needs it.")

    def recorded(self) -> dict[str, Any]:
        """Return the settings that are in use, by name."""
        return {
            name: value
            for name, value in asdict(self).items()
            if value is not None and value is not False
        }


_BOUNDS = {
    "epochs": (1, 1_000_000),
    "batch": (1, 1_000_000),
    "learning_rate": (0, 1000),
    "weight_decay": (0, 1000),
    "patience": (1, 1_000_000),
    "painted": (0, 10),
    "balance": (0, 10),
    "seed": (0, LARGEST_SEED),
    "mixup": (0, 1000),
    "variants": (1, 1000),
    "taught": (0, 1),
    "pretrained_rate": (0, 1000),
    "head_epochs": (0, 1_000_000),
    "clipnorm": (1e-6, 1_000_000),
    "beta_2": (0.5, 0.999999),
}
"""Smallest and largest value of each number: what is beyond computes nothing, or never ends."""

TAUGHT = {"taught": 0.7, "variants": 8}
"""What a network with a teacher has besides its recipe, where not given."""

OPTIONS = fields(Settings)
"""The settings as fields, for the command line."""

_PAPER = Settings(
    recipe="paper",
    augmentation="none",
    epochs=50,
    batch=32,
    learning_rate=1e-3,
    weight_decay=0.0,
    painted=0.0,
    balance=0.0,
    taken="last",
    plain=True,
)

RECIPES: dict[tuple[str, str], Settings] = {
    ("corrected", "baseline"): Settings(),
    ("corrected", "vgg16-features"): Settings(
        network="vgg16-features",
        mixup=1.0,
        variants=8,
        learning_rate=1e-3,
        weight_decay=0.2,
    ),
    ("corrected", "vgg16-finetuned"): Settings(
        network="vgg16-finetuned",
        variants=8,
        epochs=16,
        learning_rate=1e-3,
        weight_decay=0.2,
        pretrained_rate=5e-5,
        head_epochs=10,
        clipnorm=1.0,
        patience=10,
    ),
    ("paper", "baseline"): replace(_PAPER, augmentation="paper", epochs=20),
    ("paper", "vgg16-features"): replace(_PAPER, network="vgg16-features", variants=1, beta_2=0.99),
    ("paper", "vgg16-finetuned"): replace(
        _PAPER, network="vgg16-finetuned", variants=1, pretrained_rate=1e-3
    ),
    **{
        ("corrected", name): Settings(
            network=name, augmentation="turns", learning_rate=1e-3, painted=0.0
        )
        for name in COMPARATOR_NAMES
    },
    **{("paper", name): replace(_PAPER, network=name, epochs=20) for name in COMPARATOR_NAMES},
}
"""(recipe, network) -> its settings; options of the command line replace single ones."""


_PAPER_INPUT = (
    "input: the text names gray level (0, 1) as well as mean 0 and deviation 1; RGB / 255 is taken"
)
_PAPER_LOSS = (
    "loss: of two softmax neurons, binary and categorical cross-entropy are the same; it is "
    "computed from the difference of the two"
)
_PAPER_REST = (
    "no weighting of cases, no class weights, a constant rate; glorot-uniform initial weights "
    "(Keras' default)",
    "the checkpoint rule is not stated: the network of the last epoch is taken",
    "validation patches are those of the split; the text gives the share of its own (19 % of the "
    "training patches) for the features only",
    "neither seed nor repeats are stated: one run of one seed",
)

_COMPARATOR_REST = (
    "optimiser, epochs and batch are those of the recipe, not of the publication",
    "one logit and a sigmoid, where theirs has two neurons and a softmax",
)

ASSUMPTIONS: dict[str, tuple[str, ...]] = {
    "baseline": (
        "filters of convolutions 2-4: 64, 128, 128, 3x3; padding same, stride 1, max-pooling 2x2 "
        "after each; ReLU after all four (the text excepts the last layer, read as the softmax)",
        "dropout after the four poolings: 0.25, 0.25, 0.25, 0.5; no hidden dense layer",
        "augmentation: Table 1 as the Keras 2 generator reads it: shear 0.2 degrees, zoom of x and "
        "y apart, nearest fill; shifts of 0.2 are shares of the width, not per cent",
        _PAPER_INPUT,
        _PAPER_LOSS,
        *_PAPER_REST,
    ),
    "vgg16-features": (
        "Dense 512: ReLU, dropout 0.5; flatten and global average pooling are the same at 50 px",
        "no augmentation: 50 epochs in 21.6 minutes need features computed once",
        "preprocessing is not stated: the same RGB / 255 as the baseline, not VGG's own",
        _PAPER_LOSS,
        *_PAPER_REST,
    ),
    "vgg16-finetuned": (
        "Dense 512: ReLU, no dropout (the text names none here); blocks 4 and 5 are trained from "
        "the first step on together with the new layers, all at rate 0.001 (not stated: whether "
        "that was tuned)",
        "no augmentation is stated for this network",
        "beta 0.9 and 0.999 (the text gives 0.99 for the features only)",
        "preprocessing is not stated: the same RGB / 255 as the baseline, not VGG's own",
        _PAPER_LOSS,
        *_PAPER_REST,
    ),
    "cruz-roa": (
        "two convolutions of 16 and 32 filters 8x8 on YUV, 2x2 pooling after each, 128 hidden "
        "units, as remembered of a publication that could not be read; theirs took 100x100 px at "
        "twice the resolution",
        "tanh, maximum pooling, no padding, no dropout",
        *_COMPARATOR_REST,
    ),
    "alexnet-resize": (
        "layers as in the published configuration; patches resized bilinearly to 32x32 px",
        *_COMPARATOR_REST,
    ),
    "alexnet-crop": (
        "layers as in the published configuration; the middle 32x32 px, where theirs crops at "
        "random in training",
        *_COMPARATOR_REST,
    ),
    "accept-reject": (
        "the publication could not be read: of each 2x2 window, values below its mean are "
        "rejected and the others averaged",
        "four convolutions of 24, 48, 96 and 128 filters 3x3 with batch normalisation, one hidden "
        "layer of 64, dropout 0.4",
        *_COMPARATOR_REST,
    ),
}
"""What the paper leaves open and the recipe `paper` had to decide, by network."""


def recipe_settings(recipe: str, network: str, **given: Any) -> Settings:  # noqa: ANN401
    """Return a recipe's settings with single ones replaced; `None` keeps the recipe's.

    Raises
    ------
    UsageError
        No such recipe or network, or a value that cannot be used.
    """
    for name, value, choices in (
        ("recipe", recipe, RECIPE_NAMES),
        ("network", network, NETWORK_NAMES),
    ):
        if value not in choices:
            raise UsageError(f"--{name} must be one of: {', '.join(choices)}.")
    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(RECIPES[recipe, network], **chosen)
