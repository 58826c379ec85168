"""What Abdolahi et al. 2020 print in their Tables 2 to 5, and where it contradicts itself.

Only figures that could be read stand here; the others are `None` and shown as "not at hand".
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.scoring.metrics import Confusion

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

TABLE_2_NOTES = {"vgg16-finetuned": ("last-cell",)}
"""Keys of `NOTES` for rows of Table 2."""

TITLE_NOTES = {
    "Table 2": ("sums", "half", "women", "sizes", "numbering"),
    "Table 3": ("input",),
    "Table 4": ("numbering",),
    "Table 5": ("lymphoma",),
}
"""Keys of `NOTES` for what concerns a table, or the whole paper."""

TABLE_3 = (
    Printed(
        *("baseline", "Baseline CNN", 0.85, 0.86, 0.83, 225.3),
        notes=("accuracy", "averaging", "loss", "dropout", "shift"),
    ),
    Printed(
        *("vgg16-features", "VGG-16, feature extraction", 0.81, 0.81, 0.81, 21.6),
        notes=("abstract", "cached", "faster", "beta", "geometry", "frozen"),
    ),
    Printed(
        *("vgg16-finetuned", "VGG-16, fine-tuning", 0.51, 0.74, 0.35, 200.0),
        notes=("averaging", "collapse", "geometry", "frozen"),
    ),
)

_CITED = ("balanced", "natural")
TABLE_4 = (
    Printed("fuzzy-colour", "Fuzzy color histogram", 0.7874, None, 0.6753, None, _CITED),
    Printed("rgb-histogram", "RGB histogram", notes=_CITED),
    Printed("gray-histogram", "Gray histogram", notes=_CITED),
    Printed("hsv-histogram", "HSV histogram", notes=_CITED),
    Printed("jpeg-coefficients", "JPEG coefficient histogram", notes=_CITED),
    Printed("edge-histogram", "MPEG-7 edge histogram", notes=_CITED),
    Printed("lbp", "Local binary patterns", notes=(*_CITED, "partition")),
    Printed("haralick", "Haralick features", notes=(*_CITED, "haralick")),
    Printed("spot-graph", "Graph features", notes=(*_CITED, "graph")),
    Printed(
        *("vgg16-features", "VGG-16, feature extraction", 0.81, None, 0.81, None),
        notes=("gain", "frozen"),
    ),
)

TABLE_5 = (
    Printed("cruz-roa", "Cruz-Roa 2014, CNN", 0.8423, None, 0.7180, None, _CITED),
    Printed(
        *("alexnet-resize", "Janowczyk 2016, AlexNet, resized", 0.8468, None, 0.7648, None),
        notes=_CITED,
    ),
    Printed(
        *("accept-reject", "Romano 2019, accept–reject pooling", 0.8541, None, 0.8528, None),
        notes=("balanced", "romano", "reading"),
    ),
    Printed("baseline", "Baseline CNN", 0.8562, None, 0.8350, None, ("accuracy", "natural")),
)

BESIDE = (Printed("alexnet-crop", "AlexNet of Janowczyk 2016, on cropped patches"),)
"""What the paper has no row of."""

NOTES = {
    "sums": "The rows add up to 100.05, 100.10 and 100.53, and the shares of positives differ "
    "(50.2, 49.9 and 50.2 %): the three test sets were probably not the same.",
    "half": "Half of the test patches are positive where the data have 28.4 %: SMOTE came before "
    "the split, so test patches were interpolated from patches of the training part, and patches "
    "of one slide are on both sides.",
    "women": 'The "162 women" are 162 slides. The public archive holds 279 case ids, and nothing '
    "in it says which of them are of one patient.",
    "sizes": 'The text gives images of "2040×1536" pixels: those are of another data set '
    "(Bioimaging 2015, 200×, 0.42 µm/px).",
    "numbering": 'The text refers to Table 2 as "Table 1" and to Table 4 as "Table 3", and '
    "describes Figure 9, a t-SNE, as a validation curve.",
    "last-cell": "The text gives 1.8 for the fine-tuned model's true positives; a value of 0.8 to "
    "1.3 would make the row add up. At 0.8 the accuracy, macro precision and macro F1 are 0.510, "
    "0.735 and 0.352, close to what Table 3 prints, and the F1 of IDC is 0.032.",
    "accuracy": "Table 2 gives the baseline an accuracy of 0.839; Table 3 prints 0.85 (which the "
    "text also calls the largest validation accuracy) and Table 5 0.8562.",
    "averaging": "The baseline's precision and F1 are those of the class IDC, the fine-tuned "
    "model's are means over both classes: from Table 2 its precision for IDC is 0.984 and its F1 "
    "0.069, not 0.74 and 0.35.",
    "input": 'Patches are said to be "rescaled to gray level (0, 1)" and also to have mean 0 and '
    "deviation 1, where the first layer takes three colours.",
    "loss": "The loss is named binary cross-entropy, where the last layer is a softmax of two "
    "neurons.",
    "dropout": "Dropout is said to reduce the trainable parameters; it leaves out some activations "
    "of each step, and no parameter.",
    "shift": 'Shifts are given as "0.2 percent"; the generator takes 0.2 for a share, 20 %. The '
    "shear of 0.2 it takes for degrees, which move no pixel by more than a fifth of its width.",
    "abstract": "The abstract says that feature extraction beats the baseline; 0.81 is below 0.85.",
    "cached": "50 epochs in 21.6 min at 1.45 GFLOP per patch are 10 to 14 TFLOP/s, more than the "
    "named GPU, a GTX 1080, can do (near 9): features were computed once and kept, and the time "
    "does not compare with the baseline's.",
    "faster": 'The text calls feature extraction\'s time "0.01 less"; 21.6 / 225.3 is 0.1.',
    "beta": "Adam's β₂ = 0.99 is called the standard value; that is 0.999.",
    "geometry": 'VGG is spelled out as "Geometry Group", for Visual Geometry Group.',
    "frozen": "Our minutes leave out the frozen part of VGG-16, which is run once over all patches "
    "before the training, and kept.",
    "collapse": "A constant answer on a half-positive test set is right half of the time: the "
    "fine-tuned model had collapsed. Adam at 0.001 on pretrained convolutions, without a warm-up "
    "of the new layers, is the likeliest reason.",
    "balanced": "What the table calls accuracy is balanced accuracy in the cited publication, and "
    "in the paper's own text.",
    "natural": "The cited figures are of whole unseen cases with 28 % positives; the paper sets "
    "its own of a half-positive set beside them. At 28.4 % positives the same sensitivity and "
    "specificity give the paper's baseline an F1 of 0.756 and its feature extraction 0.704, "
    "beside 0.718 (Cruz-Roa) and 0.765 (AlexNet).",
    "partition": 'Printed as "Local Binary Partition".',
    "haralick": "The paper cites one source for these and for graph features, which computes "
    "Haralick's statistics on nuclei, in all likelihood. Here they are of the whole patch, which "
    "is another feature.",
    "graph": "The paper's source connects nuclei. At 8 µm/px a nucleus is about one pixel, so the "
    "patches hold no nuclei to connect. Ours is a graph over spots of haematoxylin (clumps of "
    "nuclei): the closest that a patch offers, and another feature.",
    "gain": 'The gains of "20.9 %" and "3.84 %" over the best handcrafted feature divide by the '
    "rounded 0.67 and 0.78; with 0.6753 and 0.7874 they are 19.9 % and 2.9 %, of a half-positive "
    "against a natural test set at that.",
    "lymphoma": "The difference of 1.09 % that the text gives for Brancati et al. 2019 is theirs "
    "on lymphoma, not on IDC.",
    "romano": "At 28 % positives a balanced accuracy of 0.854 allows an F1 of at most 0.829: the "
    "test set was balanced, or the F1 averaged over classes.",
    "reading": "The publication could not be read. Accept–reject pooling is taken to mean: of "
    "each window, values below its mean are rejected and the others averaged.",
}
"""Inconsistencies of the paper and limits of the comparison, by key."""
