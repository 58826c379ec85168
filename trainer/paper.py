"""What Abdolahi et al. 2020 print in their Tables 2 to 5, and where it contradicts itself.

Only figures that could be read stand here; the others are `None` and shown as "not at hand".
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.evaluation import Confusion

CITATION = (
    "Abdolahi M, Salehi M, Shokatian I, Reiazi R. Artificial intelligence in automatic "
    "classification of invasive ductal carcinoma breast cancer in digital pathology images. "
    "Med J Islam Repub Iran 2020;34:140."
)


@dataclass(frozen=True)
class Printed:
    """A row as printed.

    Attributes
    ----------
    method : str
        The name that ``compare`` knows it by.
    title : str
    accuracy, precision, f1, minutes : float or None
    notes : tuple of str
        Keys of `NOTES`.
    """

    method: str
    title: str
    accuracy: float | None = None
    precision: float | None = None
    f1: float | None = None
    minutes: float | None = None
    notes: tuple[str, ...] = ()


TABLE_2 = {
    "baseline": Confusion(tn=43.4, fp=6.45, fn=9.7, tp=40.5),
    "vgg16-features": Confusion(tn=40.3, fp=9.9, fn=9.3, tp=40.6),
    "vgg16-finetuned": Confusion(tn=50.0, fp=0.03, fn=48.7, tp=1.8),
}
"""Confusion matrices in percent of the test patches."""

TABLE_3 = (
    Printed("baseline", "Baseline CNN", 0.85, 0.86, 0.83, 225.3, ("accuracy", "averaging")),
    Printed(
        *("vgg16-features", "VGG-16, feature extraction", 0.81, 0.81, 0.81, 21.6),
        notes=("abstract", "cached", "faster"),
    ),
    Printed(
        *("vgg16-finetuned", "VGG-16, fine-tuning", 0.51, 0.74, 0.35, 200.0),
        notes=("averaging", "collapse"),
    ),
)

_TABLE_4_NOTES = ("balanced", "natural")
TABLE_4 = (
    Printed("fuzzy-colour", "Fuzzy color histogram", 0.7874, None, 0.6753, None, _TABLE_4_NOTES),
    Printed("rgb-histogram", "RGB histogram"),
    Printed("gray-histogram", "Gray histogram"),
    Printed("hsv-histogram", "HSV histogram"),
    Printed("jpeg-coefficients", "JPEG coefficient histogram"),
    Printed("edge-histogram", "MPEG-7 edge histogram"),
    Printed("lbp", "Local binary patterns", notes=("partition",)),
    Printed("haralick", "Haralick features", notes=("haralick",)),
    Printed("spot-graph", "Graph features", notes=("graph",)),
    Printed("vgg16-features", "VGG-16, feature extraction", 0.81, None, 0.81, None, ("gain",)),
)

TABLE_5 = (
    Printed("cruz-roa", "Cruz-Roa 2014, CNN", 0.8423, None, 0.7180, None, ("balanced", "natural")),
    Printed(
        *("alexnet-resize", "Janowczyk 2016, AlexNet, resized", 0.8468, None, 0.7648, None),
        notes=("balanced", "natural"),
    ),
    Printed(
        *("alexnet-crop", "Janowczyk 2016, AlexNet, cropped", None, None, 0.7558, None),
        notes=("rotations",),
    ),
    Printed(
        *("accept-reject", "Romano 2019, accept–reject pooling", 0.8541, None, 0.8528, None),
        notes=("balanced", "romano", "reading"),
    ),
    Printed("baseline", "Baseline CNN", 0.8562, None, 0.8350, None, ("accuracy", "natural")),
)

NOTES = {
    "sums": "The rows add up to 100.05, 100.10 and 100.53, and the shares of positives differ "
    "(50.2, 49.9 and 50.2 %): the three test sets were probably not the same.",
    "half": "Half of the test patches are positive where the data have 28.4 %: SMOTE came before "
    "the split, so test patches were interpolated from patches of the training part, and patches "
    "of one slide are on both sides.",
    "last-cell": "The text gives 1.8 for the fine-tuned model's true positives; a value of 0.8 to "
    "1.3 would make the row add up.",
    "accuracy": "Table 2 gives the baseline an accuracy of 0.839; Table 3 prints 0.85 (which the "
    "text also calls the largest validation accuracy) and Table 5 0.8562.",
    "averaging": "The baseline's precision and F1 are those of the class IDC, the fine-tuned "
    "model's are means over both classes: from Table 2 its precision for IDC is 0.984 and its F1 "
    "0.069, not 0.74 and 0.35.",
    "abstract": "The abstract says that feature extraction beats the baseline; 0.81 is below 0.85.",
    "cached": "50 epochs in 21.6 min are more arithmetic than the named GPU can do, so features "
    "were computed once and kept; the time does not compare with the baseline's.",
    "faster": "The text puts feature extraction's time at 0.01 of the baseline's; 21.6 / 225.3 is "
    "0.1.",
    "collapse": "A constant answer on a half-positive test set is right half of the time: the "
    "fine-tuned model had collapsed. Adam at 0.001 on pretrained convolutions, without a warm-up "
    "of the new layers, is the likeliest reason.",
    "balanced": "What the table calls accuracy is balanced accuracy in the cited publication.",
    "natural": "The cited figures are of whole unseen cases with 28 % positives; the paper sets "
    "its own of a half-positive set beside them. At 28.4 % positives the same sensitivity and "
    "specificity give the paper's baseline an F1 of 0.756 and its feature extraction 0.704.",
    "partition": 'Printed as "Local Binary Partition".',
    "haralick": "The paper's source computes Haralick's statistics on nuclei, in all likelihood. "
    "Here they are of the whole patch, which is another feature.",
    "graph": "The paper's source connects nuclei. At 8 µm/px a nucleus is about one pixel, so the "
    "patches hold no nuclei to connect. Ours is a graph over spots of haematoxylin (clumps of "
    "nuclei): the closest that a patch offers, and another feature.",
    "gain": 'The gains of "20.9 %" and "3.84 %" over the best handcrafted feature divide by the '
    "rounded 0.67 and 0.78; with 0.6753 and 0.7874 they are 19.9 % and 2.9 %, of a half-positive "
    "against a natural test set at that.",
    "rotations": "The printed F1 is that of the network trained with additional rotations.",
    "romano": "At 28 % positives a balanced accuracy of 0.854 allows an F1 of at most 0.829: the "
    "test set was balanced, or the F1 averaged over classes.",
    "reading": "The publication could not be read. Accept–reject pooling is taken to mean: of "
    "each window, values below its mean are rejected and the others averaged.",
}
"""Inconsistencies of the paper and limits of the comparison, by key."""
