"""The command line: arguments in, the supervised engine at work, files and exit codes out.

Imports are made where they are needed, so that a child process is at work while this one loads.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from idc_desktop import RESEARCH_USE_NOTICE, __version__
from idc_desktop.arguments import count, decimal, probability, shard
from idc_desktop.commands.batch import FORMAT_NAMES, analyze_slides
from idc_desktop.console import (
    EXIT_CANCELLED,
    EXIT_OUTPUT,
    Parser,
    absolute,
    complain,
    print_json,
    print_line,
    printing,
    report_defect,
)
from idc_desktop.errors import DefectError, DisplayError, IdcError, ModelError, UsageError
from idc_desktop.export.results import results_name
from idc_desktop.models import DEFAULT_MODEL
from idc_desktop.plain_text import counted
from idc_desktop.processes.engine_messages import (
    Doctor,
    DoctorJob,
    InfoJob,
    ModelVerified,
    VerifyJob,
)
from idc_desktop.processes.message import SlideOpened
from idc_desktop.processes.supervisor import ask, usable_threads
from idc_desktop.streams import open_missing_streams

_QT_PACKAGES = "libegl1 libgl1 libxkbcommon-x11-0 libdbus-1-3 libfontconfig1 libxcb-cursor0"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        # A file name may hold bytes that are no text; it is shown, and ends nothing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with printing():  # the help, too
            options = _parser().parse_args(arguments)
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except DefectError as error:
        return report_defect(str(error))
    except IdcError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        complain("Cancelled.")
        return EXIT_CANCELLED
    except BrokenPipeError:  # whoever read our output has left; nothing more can be said
        return EXIT_OUTPUT
    except Exception:  # noqa: BLE001 - the edge of the program
        return report_defect(traceback.format_exc())


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="idc-desktop",
        description="Probability maps of invasive ductal carcinoma (IDC) on breast whole-slide "
        f"images. {RESEARCH_USE_NOTICE}",
    )
    parser.add_argument("--version", action="version", version=f"idc-desktop {__version__}")
    # Alone: the window.
    parser.set_defaults(run=_open, slides=[], model=None, screenshot=None)
    commands = parser.add_subparsers(metavar="COMMAND")

    info = commands.add_parser("info", help="say what is known of a slide")
    info.add_argument("slide", metavar="SLIDE")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(run=_info)

    analyze = commands.add_parser("analyze", help="compute the map of slides and write six files")
    _add_run_options(analyze)
    _add_threads(analyze)
    analyze.add_argument("--restart", action="store_true", help="forget what was computed before")
    analyze.set_defaults(run=analyze_slides, recall=False)

    cohort = commands.add_parser(
        "cohort",
        help="analyze folders of slides, and put all figures into one table",
        description="Analyzes every slide as analyze does, into folders that lie as the slides do, "
        "and writes cohort.csv and cohort.html. The same command goes on where it stopped, and "
        "takes up new slides.",
    )
    _add_run_options(
        cohort,
        slides="SLIDE|FOLDER|LIST.csv|PROJECT",
        about="folders are searched; a list has the columns slide, mpp, regions, group",
    )
    _add_threads(cohort)
    cohort.add_argument("--restart", action="store_true", help="forget what was computed before")
    cohort.add_argument("--retry", choices=("failed",), help="try again what was refused or failed")
    cohort.add_argument(
        "--shard",
        metavar="I/N",
        type=shard,
        help="one of N commands that share the work: begin with the I-th part of the slides",
    )
    cohort.add_argument(
        "--scheduler",
        metavar="local|tls://ADDRESS",
        help="share the work by Dask distributed: workers started here, or those of a scheduler",
    )
    cohort.add_argument(
        "--insecure", action="store_true", help="take a scheduler at tcp://, open to anybody"
    )
    cohort.set_defaults(run=_analyze_cohort, recall=False)

    export = commands.add_parser(
        "export",
        help="write the files of slides that are analyzed already, in more formats",
        description="Writes what analyze writes, and more, from the analysis that is stored; "
        "computes nothing. Without --model, it is the newest finished analysis of each slide; its "
        "model's file is not needed.",
    )
    _add_run_options(export, is_export=True)
    export.set_defaults(
        model=None, run=analyze_slides, recall=True, restart=False, threads=usable_threads()
    )

    models = commands.add_parser("models", help="list, show or verify models")
    models.set_defaults(run=_list_models)
    verbs = models.add_subparsers(metavar="VERB")
    verbs.add_parser("list", help="the bundled models").set_defaults(run=_list_models)
    show = verbs.add_parser("show", help="print a model's card")
    show.add_argument("model", metavar="NAME|FILE.onnx")
    show.add_argument("--json", action="store_true", help="print the whole card as JSON")
    show.set_defaults(run=_show_model)
    check = verbs.add_parser("verify", help="check a model against the contract on this machine")
    check.add_argument("model", metavar="NAME|FILE.onnx")
    check.add_argument("--provider", choices=("auto", "cpu", "cuda"), default="auto")
    check.set_defaults(run=_verify_model)

    verify = commands.add_parser("verify", help="prove an exported folder intact")
    verify.add_argument("folder", metavar="FOLDER")
    verify.set_defaults(run=_verify)

    demo = commands.add_parser("demo", help="analyze a painted phantom slide and show it")
    demo.add_argument("--out", metavar="DIR", help="folder for the results")
    demo.set_defaults(run=_demo)

    window = commands.add_parser("open", help="open the window")
    window.add_argument(
        "slides",
        metavar="SLIDE|FOLDER|PROJECT",
        nargs="*",
        help="the first one is shown, all are listed; folders with all below them; a project "
        "(.idcproject) takes the place of the list",
    )
    window.add_argument("--model", metavar="NAME|FILE.onnx")
    window.add_argument("--screenshot", metavar="PNG", help="analyze, save a picture, quit")
    window.set_defaults(run=_open)

    doctor = commands.add_parser("doctor", help="say what this installation can do")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.set_defaults(run=_doctor)
    return parser


def _add_threads(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--threads",
        metavar="N",
        type=count,
        default=usable_threads(),
        help="blocks at work at once; does not change the results",
    )


def _add_run_options(
    command: argparse.ArgumentParser,
    *,
    slides: str = "SLIDE",
    about: str = "slide file or DICOM folder",
    is_export: bool = False,
) -> None:
    """Add what names a run, and what is to be written of it."""
    command.add_argument("slides", metavar=slides, nargs="+", help=about)
    command.add_argument("--out", metavar="DIR", required=True, help="folder for the results")
    default = "that of the newest analysis" if is_export else DEFAULT_MODEL
    command.add_argument(
        "--model", metavar="NAME|FILE.onnx", default=DEFAULT_MODEL, help=f"default: {default}"
    )
    command.add_argument(
        "--format",
        metavar="NAME",
        dest="formats",
        action="append",
        default=[],
        choices=FORMAT_NAMES,
        help=f"write more than the six files; may be repeated: {', '.join(FORMAT_NAMES)}",
    )
    command.add_argument(
        "--regions",
        metavar="FILE",
        help="add rows to regions.csv; GeoJSON, XML of ASAP or ImageScope, or NDPA",
    )
    command.add_argument(
        "--regions-origin",
        choices=("image", "bounds"),
        default="image",
        help="where (0, 0) of that file is: bounds for files of QuPath where it crops the slide",
    )
    command.add_argument(
        "--regions-for-all", action="store_true", help="lay that file on each of several slides"
    )
    command.add_argument(
        "--threshold", metavar="P", type=probability, help="IDC is p >= P; default: the model's"
    )
    command.add_argument(
        "--map",
        choices=("patch", "context"),
        help="what figures are of: context, patches seen together with those around them (the "
        "default of models that can), or patch, each by itself",
    )
    command.add_argument("--mpp", metavar="UM", type=decimal, help="µm per level-0 pixel")
    command.add_argument(
        "--provider",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: CUDA where it works, else the CPU",
    )
    command.add_argument(
        "--no-tissue-mask", action="store_true", help="analyze glass and background too"
    )
    command.add_argument(
        "--no-shield",
        action="store_true",
        help="count patches with pen, blur, folds, bubbles, ink or wrong colours, too",
    )
    command.add_argument("--anonymous", action="store_true", help="no slide names in the results")
    command.add_argument(
        "--overwrite", action="store_true", help="replace results of another slide, too"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")


def _analyze_cohort(options: argparse.Namespace) -> int:
    from idc_desktop.commands.cohort import analyze_cohort

    return analyze_cohort(options)


def _info(options: argparse.Namespace) -> int:
    slide = absolute(options.slide)
    answer = ask(InfoJob(str(slide)), SlideOpened, slide.name).slide
    answer = replace(answer, file=slide.name)  # a DICOM slide goes by its folder's name
    if options.json:
        document = answer.as_dict()
        del document["identity_kind"]  # the document's keys are fixed; the text below has it
        print_json(document)
        return 0
    mpp = "unknown"
    if answer.mpp_xy is not None:
        mpp = f"{answer.mpp_x:g} x {answer.mpp_y:g} µm/px (from the {answer.mpp_source})"
    power = f"{answer.objective_power:g}x" if answer.objective_power else "unknown"
    print_line(f"{answer.file}")
    print_line(f"  vendor       {answer.vendor}")
    print_line(f"  dimensions   {answer.width_l0} x {answer.height_l0} px")
    print_line(f"  resolution   {mpp}")
    print_line(f"  objective    {power}")
    if answer.bounds:
        print_line("  bounds       x {} y {} width {} height {}".format(*answer.bounds))
    for number, level in enumerate(answer.levels):
        scale = f"  {level.mpp_x:,.4f} µm/px" if level.mpp_x is not None else ""
        size = f"{level.width} x {level.height} px"
        print_line(f"  level {number:<2}     {size}  downsample {level.downsample:.6g}{scale}")
    print_line(f"  identity     {answer.identity}")
    print_line(f"               {answer.identity_kind}")
    for warning in answer.warnings:
        print_line(f"  warning      {warning}")
    return 0


def _list_models(options: argparse.Namespace) -> int:
    from idc_desktop.models.model_file import bundled_models, read_model

    for name, path in bundled_models().items():
        model = read_model(path)
        card = model.card
        print_line(
            f"{name:<18} version {card.version}  {card.spacing_um_px:g} µm/px  threshold "
            f"{card.operation(card.best_map).threshold:.4f} ({card.best_map} map)  "
            f"{len(model.data) / 1e6:.1f} MB  {model.sha256[:12]}"
        )
    return 0


def _show_model(options: argparse.Namespace) -> int:
    from idc_desktop.models.card import figure_text
    from idc_desktop.models.model_file import find_model, read_model

    model = read_model(find_model(options.model))
    card = model.card
    if options.json:
        print_json({"sha256": model.sha256, **card.without_golden()})
        return 0
    idc = card.document["idc"]
    training, calibration, use = idc["training"], idc["calibration"], idc["intended_use"]
    print_line(
        f"{card.name} {card.version}, recipe {card.recipe}, {card.created}, {idc['licence']}"
    )
    print_line(f"  SHA-256      {model.sha256}")
    print_line(f"  use          {use['tissue']}; {use['stain']}; {use['scanner']}")
    print_line(f"  input        {card.spacing_um_px:g} µm/px, patches of {card.patch_size_um:g} µm")
    print_line(
        f"  training     {counted(training['patches'], 'patch')} of "
        f"{counted(training['cases'], 'case')}"
    )
    print_line(f"  calibration  {calibration['method']}, fitted on {calibration['fitted_on']}")
    print_line(f"  threshold    {card.threshold}, of the patch map")
    if card.context is not None:
        context = idc["context"]
        print_line(f"  context map  threshold {context['threshold']}; {context['fitted_on']}")
    for sentence in card.beyond_its_archive():
        print_line(f"  beyond       {sentence}")
    for cases, figures in idc["metrics"].items():
        if isinstance(figures, dict):
            print_line(f"  {cases}")
            for name, figure in figures.items():
                print_line(f"    {name:<18} {figure_text(figure)}")
    for limit in idc.get("limitations", []):
        print_line(f"  limit        {limit}")
    return 0


def _verify_model(options: argparse.Namespace) -> int:
    from idc_desktop.models.model_file import find_model, read_model

    model = read_model(find_model(options.model))
    job = VerifyJob(str(model.path), options.provider)
    answer = ask(job, ModelVerified, model.path.name)
    print_line(f"{model.path.name}: {model.card.name} {model.card.version} keeps the contract")
    print_line(f"  SHA-256      {model.sha256}")
    print_line(f"  provider     {answer.provider.used}")
    if answer.provider.fallback_reason:
        print_line(f"  not CUDA     {answer.provider.fallback_reason}")
    print_line(
        f"  golden |Δp|  {answer.golden_error:.2g} on "
        f"{counted(len(model.card.golden_patches), 'patch')}"
    )
    return 0


def _verify(options: argparse.Namespace) -> int:
    from idc_desktop.export.verify import verify_folder

    provenance = verify_folder(Path(options.folder))
    slide, model = provenance["slide"], provenance["model"]
    print_line(f"{options.folder}: intact, {len(provenance['files'])} files as exported")
    print_line(f"  slide        {slide['identity']}")
    print_line(f"  model        {model['name']} {model['version']} {model['sha256']}")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from idc_desktop.phantom.making import cache_folder, make_phantom
    from idc_desktop.storage.user_data import data_folder

    print_line("Painting the phantom slide (synthetic: no patient, no tissue) …")
    phantom = make_phantom(cache_folder())
    print_line(f"  {phantom.slide}")
    out = options.out or str(data_folder() / "demo")
    command = ["analyze", str(phantom.slide), "--out", out, "--regions", str(phantom.regions)]
    # Our own folder may hold the results of another version's phantom.
    code = main(command if options.out else [*command, "--overwrite"])
    if code != 0:
        return code
    if has_display():
        return main(["open", str(phantom.slide)])
    folder = Path(out) / results_name(phantom.slide)
    print_line("There is no display for the window. Look at")
    print_line(f"  {folder / 'overlay.png'}")
    print_line(f"  {folder / 'regions.csv'}")
    return 0


def _open(options: argparse.Namespace) -> int:
    try:
        from idc_desktop.ui import app
    except ImportError as error:  # a missing system library, said by Qt's own import
        raise DisplayError(
            f"The window cannot be opened: {error}. On Debian and Ubuntu: "
            f"apt-get install {_QT_PACKAGES}"
        ) from error
    if options.screenshot and len(options.slides) != 1:
        raise UsageError("--screenshot needs one SLIDE.")
    slides = [absolute(it) for it in options.slides]
    screenshot = Path(options.screenshot) if options.screenshot else None
    if screenshot is not None and not has_display():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    elif not has_display():
        raise DisplayError(
            "There is no display for the window (neither DISPLAY nor WAYLAND_DISPLAY is set). "
            "idc-desktop analyze needs none."
        )
    return app.run(slides, options.model, screenshot)


def has_display() -> bool:
    """Whether a window could be shown, as far as the environment tells."""
    if sys.platform in ("win32", "darwin") or os.environ.get("QT_QPA_PLATFORM") == "offscreen":
        return True
    return bool(os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY"))


def _doctor(options: argparse.Namespace) -> int:
    from idc_desktop.models.model_file import bundled_models, read_model
    from idc_desktop.storage.user_data import data_folder

    answer = ask(DoctorJob(), Doctor, "doctor")
    models: dict[str, str] = {}
    for name, path in bundled_models().items():
        try:
            models[name] = read_model(path).sha256
        except ModelError as error:
            models[name] = str(error)
    problem = answer.cuda_problem
    display = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    report = {
        "versions": answer.versions,
        "providers": list(answer.providers),
        "cuda": {"usable": problem is None, "reason": problem},
        "display": sys.platform if sys.platform in ("win32", "darwin") else display,
        "data_dir": str(data_folder()),
        "models": models,
    }
    if options.json:
        print_json(report)
        return 0
    for name, value in report.items():
        entries = value.items() if isinstance(value, dict) else [("", value)]
        for key, entry in entries:
            print_line(
                f"{name:<10} {key:<18} {', '.join(entry) if isinstance(entry, list) else entry}"
            )
    return 0
