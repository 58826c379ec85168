"""The verb ``idc-trainer patches``."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from idc_desktop.arguments import MOST, decimal, whole
from idc_desktop.errors import IdcError, OutputError, UsageError
from idc_desktop.plain_text import counted
from trainer.errors import DataError, named
from trainer.options import add_patch_size, patch_size
from trainer.progress import Progress, Say
from trainer.settings import USUAL

if TYPE_CHECKING:
    from trainer.cutting.slides import CutOptions, CutSlide

DONE_IN_PART, INPUT_REFUSED = 4, 3
_MOST_SLIDES = 100_000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.add_argument("slides", metavar="SLIDE|FOLDER", nargs="+", type=Path)
    parser.add_argument(
        "--annotations",
        metavar="FILE|FOLDER",
        required=True,
        type=Path,
        help="outlines, named like their slide: GeoJSON of QuPath, XML of ASAP or ImageScope, NDPA",
    )
    parser.add_argument(
        "--positive", nargs="+", metavar="NAME", required=True, help="classes that are IDC"
    )
    parser.add_argument(
        "--negative", nargs="+", metavar="NAME", default=(), help="classes that are not"
    )
    parser.add_argument("--out", type=Path, required=True, help="gets patches and manifest.csv")
    parser.add_argument(
        "--case-from",
        metavar="PATTERN",
        help="regular expression for the case in a slide's file name, or its first group "
        "(default: the name without suffix)",
    )
    parser.add_argument(
        "--min-cover",
        type=decimal,
        default=0.5,
        help="part of a patch that outlines of its class must cover",
    )
    parser.add_argument(
        "--unlabelled",
        choices=("ignore", "negative"),
        default="ignore",
        help="what becomes of patches of tissue that no outline reaches",
    )
    add_patch_size(parser)
    parser.add_argument("--mpp", type=decimal, help="µm per level-0 pixel, where a slide has none")
    parser.add_argument(
        "--regions-origin",
        choices=("image", "bounds"),
        default="image",
        help="where (0, 0) of the outlines lies: bounds for slides that QuPath crops",
    )
    parser.add_argument(
        "--no-tissue-mask", action="store_true", help="cut patches of background, too"
    )
    parser.add_argument(
        "--shield",
        action="store_true",
        help="leave out what the application excludes as artefacts, whatever its outline says",
    )
    parser.add_argument("--threads", type=whole, help="blocks at work at once")


def cut(arguments: argparse.Namespace, say: Say, complain: Say) -> int:
    """Run the verb; return its exit code."""
    from trainer.cutting.outlines import case_names, match_outlines
    from trainer.cutting.slides import cut_slide, make_folders, write_manifest
    from trainer.files import sole_user

    options = _options(arguments)
    slides = _slides(arguments.slides, complain)
    matched = match_outlines(slides, arguments.annotations)
    cases = case_names([*matched.outlines], arguments.case_from)
    if matched.slides_without:
        names = [it.name for it in matched.slides_without]
        complain(f"{counted(len(names), 'slide')} without a file of outlines: {named(names)}")
    if matched.files_without:
        names = [it.name for it in matched.files_without]
        complain(f"{counted(len(names), 'file')} of outlines without a slide: {named(names)}")
    make_folders(arguments.out)
    codes: list[int] = []
    found: list[CutSlide] = []
    with sole_user(arguments.out):
        for number, (slide, outlines) in enumerate(matched.outlines.items(), 1):
            progress = Progress(f"{number}/{len(matched.outlines)} {slide.name}", say)
            try:
                done = cut_slide(slide, outlines, cases[slide], options, arguments.out, progress)
            except OSError as error:
                complain(f"{slide.name}: It cannot be read ({error.strerror}).")
                codes.append(INPUT_REFUSED)
                continue
            except IdcError as error:
                if error.exit_code not in (INPUT_REFUSED, OutputError.exit_code):
                    raise
                complain(str(error))
                codes.append(error.exit_code)
                continue
            finally:
                progress.end()
            found.append(done)
            for note in done.notes:
                complain(f"note: {note}")
            say(done.line())
            codes.append(DONE_IN_PART if done.failed else 0)
        write_manifest([*matched.outlines], arguments.out, options.patch)
    _sum_up(found, arguments, say, complain)
    return next((code for code in (OutputError.exit_code, 3, 4) if code in codes), 0)


def _options(arguments: argparse.Namespace) -> CutOptions:
    from idc_desktop.processes.supervisor import usable_threads
    from trainer.cutting.labels import LabelRules
    from trainer.cutting.slides import CutOptions

    if not 0 < arguments.min_cover <= 1:
        raise UsageError("--min-cover must be above 0 and at most 1.")
    both = {it.casefold() for it in arguments.positive} & {
        it.casefold() for it in arguments.negative
    }
    if both:
        raise UsageError(f"{named(both)}: A class is either --positive or --negative.")
    if arguments.threads is not None and not 1 <= arguments.threads <= MOST:
        raise UsageError(f"--threads must be at least 1, and at most {MOST:,}.")
    rules = LabelRules(
        tuple(arguments.positive),
        tuple(arguments.negative),
        arguments.min_cover,
        arguments.unlabelled == "negative",
    )
    return CutOptions(
        patch_size(arguments) or USUAL,
        rules,
        arguments.mpp,
        arguments.regions_origin == "bounds",
        not arguments.no_tissue_mask,
        arguments.shield,
        arguments.threads or usable_threads(),
    )


def _slides(given: list[Path], complain: Say) -> list[Path]:
    from idc_desktop.export.results import as_one_folder, results_name
    from idc_desktop.slides.slide_finder import slides_in

    slides: dict[Path, None] = {}
    for path in given:
        try:
            if not path.exists():
                raise DataError(f"{path}: There is no such file or folder.")
            here = slides_in(path.absolute(), _MOST_SLIDES)
        except OSError as error:
            raise DataError(f"{path}: The folder cannot be read ({error.strerror}).") from error
        for note in here.notes:
            complain(f"note: {note}")
        slides |= dict.fromkeys(here.slides)
    if not slides:
        raise DataError(f"{given[0]}: There is no slide.")
    taken = Counter(as_one_folder(results_name(it)) for it in slides)
    twice = [it.name for it in slides if taken[as_one_folder(results_name(it))] > 1]
    if twice:
        raise UsageError(
            f"{named(twice)}: Slides of one name cannot share one folder. Cut them with two --out "
            "folders."
        )
    return [*slides]


def _sum_up(found: list[CutSlide], arguments: argparse.Namespace, say: Say, complain: Say) -> None:
    positive, negative = sum(it.positive for it in found), sum(it.negative for it in found)
    classes: Counter[str] = Counter()
    for one in found:
        classes.update(one.classes)
    known = {name.casefold() for name in classes}
    there = ", ".join(f"{name or 'no class'} ({n:,})" for name, n in classes.most_common(8))
    for name in (*arguments.positive, *arguments.negative):
        if found and name.strip().casefold() not in known:
            complain(f"WARNING: no outline is of the class {name}; there are: {there or 'none'}.")
    say(
        f"{counted(positive + negative, 'patch')} of {len(found):,} "
        f"slide{'' if len(found) == 1 else 's'}, {positive:,} positive, "
        f"{negative:,} negative: {arguments.out / 'manifest.csv'}"
    )
    if found and not (positive and negative):
        lacking = "negative" if positive else "positive"
        way = (
            "name their classes with --negative, or take what lies outside all outlines with "
            "--unlabelled negative"
            if positive
            else "see the classes above, and --min-cover"
        )
        complain(f"WARNING: no patch is {lacking}; training needs both: {way}.")
