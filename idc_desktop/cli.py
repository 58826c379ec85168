"""The command line: arguments in, the supervised engine at work, files and exit codes out.

Imports are made where they are needed, so that a child process is at work while this one loads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from idc_desktop import RESEARCH_USE_NOTICE, __version__
from idc_desktop.errors import (
    DefectError,
    DisplayError,
    IdcError,
    ModelError,
    OutputError,
    UsageError,
)
from idc_desktop.supervisor import Job, ask, usable_threads

if TYPE_CHECKING:
    from idc_desktop.export import Analysis
    from idc_desktop.model_file import ModelFile
    from idc_desktop.regions import Region

EXIT_DEFECT, EXIT_INPUT, EXIT_PARTIAL, EXIT_OUTPUT, EXIT_CANCELLED = 1, 3, 4, 5, 130

_QT_PACKAGES = "libegl1 libgl1 libxkbcommon-x11-0 libdbus-1-3 libfontconfig1 libxcb-cursor0"
_PLAIN_PROGRESS_EVERY_S = 5.0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except DefectError as error:
        return _report_defect(str(error))
    except IdcError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("Cancelled.")
        return EXIT_CANCELLED
    except BrokenPipeError:
        # Whoever read our output has left; nothing more can be said.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OUTPUT
    except Exception:  # noqa: BLE001 - the edge of the program
        return _report_defect(traceback.format_exc())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="idc-desktop",
        description="Probability maps of invasive ductal carcinoma (IDC) on breast whole-slide "
        f"images. {RESEARCH_USE_NOTICE}",
    )
    parser.add_argument("--version", action="version", version=f"idc-desktop {__version__}")
    # Alone: the window.
    parser.set_defaults(run=_open, slide=None, model=None, screenshot=None)
    commands = parser.add_subparsers(metavar="COMMAND")

    info = commands.add_parser("info", help="say what is known of a slide")
    info.add_argument("slide", metavar="SLIDE")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(run=_info)

    analyze = commands.add_parser("analyze", help="compute the map of slides and write six files")
    analyze.add_argument("slides", metavar="SLIDE", nargs="+", help="slide file or DICOM folder")
    analyze.add_argument("--out", metavar="DIR", required=True, help="folder for the results")
    analyze.add_argument(
        "--model", metavar="NAME|FILE.onnx", default="baseline", help="default: baseline"
    )
    analyze.add_argument("--regions", metavar="FILE.geojson", help="add rows to regions.csv")
    analyze.add_argument(
        "--threshold", metavar="P", type=_probability, help="IDC is p >= P; default: the model's"
    )
    analyze.add_argument("--map", choices=("patch", "context"), default="patch")
    analyze.add_argument("--mpp", metavar="UM", type=float, help="µm per level-0 pixel")
    analyze.add_argument("--provider", choices=("auto", "cpu", "cuda"), default="auto")
    analyze.add_argument("--threads", metavar="N", type=_positive_count, default=usable_threads())
    analyze.add_argument("--no-tissue-mask", action="store_true", help="infer background too")
    analyze.add_argument("--anonymous", action="store_true", help="no slide names in the results")
    analyze.add_argument("--restart", action="store_true", help="forget what was computed before")
    analyze.add_argument("--json", action="store_true", help="print one JSON object")
    analyze.set_defaults(run=_analyze)

    models = commands.add_parser("models", help="list, show or verify models")
    models.set_defaults(run=_list_models)
    verbs = models.add_subparsers(metavar="VERB")
    verbs.add_parser("list", help="the bundled models").set_defaults(run=_list_models)
    show = verbs.add_parser("show", help="print a model's card")
    show.add_argument("model", metavar="NAME|FILE.onnx")
    show.set_defaults(run=_show_model)
    check = verbs.add_parser("verify", help="check a model against the contract on this machine")
    check.add_argument("model", metavar="FILE")
    check.add_argument("--provider", choices=("auto", "cpu", "cuda"), default="auto")
    check.set_defaults(run=_verify_model)

    verify = commands.add_parser("verify", help="prove an exported folder intact")
    verify.add_argument("folder", metavar="FOLDER")
    verify.set_defaults(run=_verify)

    demo = commands.add_parser("demo", help="analyze a painted phantom slide and show it")
    demo.add_argument("--out", metavar="DIR", help="folder for the results")
    demo.set_defaults(run=_demo)

    window = commands.add_parser("open", help="open the window")
    window.add_argument("slide", metavar="SLIDE", nargs="?")
    window.add_argument("--model", metavar="NAME|FILE.onnx")
    window.add_argument("--screenshot", metavar="PNG", help="analyze, save a picture, quit")
    window.set_defaults(run=_open)

    doctor = commands.add_parser("doctor", help="say what this installation can do")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.set_defaults(run=_doctor)
    return parser


def _probability(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a probability from 0 to 1")
    return value


def _positive_count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _info(options: argparse.Namespace) -> int:
    slide = _absolute(options.slide)
    answer = ask({"job": "info", "slide": str(slide)}, slide.name)
    del answer["event"]
    if options.json:
        _print_json(answer)
        return 0
    mpp = "unknown"
    if answer["mpp_x"] is not None:
        mpp = f"{answer['mpp_x']:g} x {answer['mpp_y']:g} µm/px (from the {answer['mpp_source']})"
    power = f"{answer['objective_power']:g}x" if answer["objective_power"] else "unknown"
    print(f"{answer['file']}")
    print(f"  vendor       {answer['vendor']}")
    print(f"  dimensions   {answer['width_l0']} x {answer['height_l0']} px")
    print(f"  resolution   {mpp}")
    print(f"  objective    {power}")
    if answer["bounds"]:
        print("  bounds       x {} y {} width {} height {}".format(*answer["bounds"]))
    for number, level in enumerate(answer["levels"]):
        scale = f"  {level['mpp_x']:.4g} µm/px" if level["mpp_x"] is not None else ""
        size = f"{level['width']} x {level['height']} px"
        print(f"  level {number:<2}     {size}  downsample {level['downsample']:.6g}{scale}")
    print(f"  identity     {answer['identity']}")
    for warning in answer["warnings"]:
        print(f"  warning      {warning}")
    return 0


@dataclass
class _Run:
    """One slide of an ``analyze`` command and what became of it."""

    slide: Path
    given: str
    status: str = "pending"
    out: Path | None = None
    counts: dict[str, int] | None = None
    provider: str | None = None
    seconds: float | None = None
    patches_per_second: float | None = None
    error: str | None = None
    exit_code: int = 0

    def fail(self, error: IdcError) -> None:
        """Note an expected failure."""
        self.error, self.exit_code = str(error), error.exit_code
        names = {EXIT_OUTPUT: "not written", EXIT_CANCELLED: "cancelled", EXIT_DEFECT: "defect"}
        self.status = names.get(error.exit_code, "refused")

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "slide": self.given,
            "status": self.status,
            "out": str(self.out) if self.out else None,
            "counts": self.counts,
            "provider": self.provider,
            "seconds": self.seconds,
            "patches_per_second": self.patches_per_second,
            "error": self.error,
        }


def _analyze(options: argparse.Namespace) -> int:
    runs = [_Run(_absolute(given), given) for given in options.slides]
    stems: dict[str, str] = {}
    for run in runs:
        stem = _stem(run.slide)
        if stem in stems:
            raise UsageError(
                f"{stems[stem]} and {run.given}: Both results would go to the folder {stem}. "
                "Analyze them with two --out folders."
            )
        stems[stem] = run.given
    # The first engine is at work while this process reads what all slides have in common.
    job: Job | None = _start(runs[0], options)
    try:
        common = _read_common(options)
    except IdcError as error:
        assert job is not None
        job.close()
        for run in runs:
            run.fail(error)
        _complain(str(error))
    else:
        for run in runs:
            try:
                _analyze_slide(run, job or _start(run, options), common, options)
            except IdcError as error:
                run.fail(error)
                if isinstance(error, DefectError):
                    _report_defect(str(error))
                else:
                    _complain(str(error))
            job = None
            if run.exit_code in (EXIT_CANCELLED, EXIT_DEFECT):
                break
    if options.json:
        _print_json({"slides": [run.as_dict() for run in runs]})
    codes = {run.exit_code for run in runs}
    severest = (EXIT_CANCELLED, EXIT_DEFECT, EXIT_OUTPUT, EXIT_INPUT, EXIT_PARTIAL)
    return next((code for code in severest if code in codes), 0)


def _start(run: _Run, options: argparse.Namespace) -> Job:
    from idc_desktop.store import data_folder

    job = {
        "job": "analyze",
        "slide": str(run.slide),
        "model": options.model,
        "mpp": options.mpp,
        "provider": options.provider,
        "threads": options.threads,
        "tissue": not options.no_tissue_mask,
        "restart": options.restart,
        "data_folder": str(data_folder()),
    }
    return Job(job, run.slide.name)


@dataclass(frozen=True)
class _Common:
    """What all slides of one command have in common."""

    out: Path
    model: ModelFile
    regions: list[Region]


def _read_common(options: argparse.Namespace) -> _Common:
    out = Path(options.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{out}: The folder cannot be made ({error.strerror}). Choose another with --out."
        ) from error
    return _Common(out, _read_model(options), _read_regions(options))


def _analyze_slide(run: _Run, job: Job, common: _Common, options: argparse.Namespace) -> None:
    began = time.monotonic()
    with contextlib.closing(job), _cancelling(job):
        # Loads the libraries of the export while the engine is at work.
        from idc_desktop.export import write_folder

        analysis = _collect(job, common.model, run, options)
        name = analysis.slide["identity"][:12] if options.anonymous else _stem(run.slide)
        write_folder(common.out / name, analysis, common.regions)
    counts = analysis.map.counts()
    failed = counts["failed"] + counts["invalid_output"]
    run.status, run.out, run.counts = ("partial" if failed else "done"), common.out / name, counts
    run.provider = analysis.provider["used"]
    run.seconds = round(time.monotonic() - began, 3)
    run.patches_per_second = round(counts["ok"] / max(run.seconds, 1e-3), 1)
    if failed:
        run.exit_code = EXIT_PARTIAL
        (row, col), why = min(analysis.map.reasons.items())
        _complain(
            f"{run.slide.name}: {failed:,} patches failed, the first at row {row}, column {col} "
            f"({why}). They are listed in patches.csv and left out of statistics."
        )
    if not options.json:
        print(
            f"{run.slide.name}: {counts['ok']:,} patches analyzed, {counts['background']:,} "
            f"background, {failed:,} failed, {run.seconds:.1f} s on the {run.provider}"
        )
        print(f"  results in {run.out}   ({RESEARCH_USE_NOTICE})")


def _read_model(options: argparse.Namespace) -> ModelFile:
    from idc_desktop.model_file import find_model, read_model

    model = read_model(find_model(options.model))
    if options.map == "context":
        if not model.card.has_context_map:
            raise ModelError(
                f"{model.path.name}: The model has no context map. Leave out --map context."
            )
        raise ModelError(
            f"{model.path.name}: This version of IDC Desktop computes no context maps. Leave out "
            "--map context."
        )
    return model


def _read_regions(options: argparse.Namespace) -> list[Region]:
    if options.regions is None:
        return []
    from idc_desktop.regions import read_regions

    regions, notes = read_regions(Path(options.regions))
    for note in notes:
        _complain(f"note: {note}")
    return regions


def _collect(job: Job, model: ModelFile, run: _Run, options: argparse.Namespace) -> Analysis:
    """Follow the engine to the end and put its messages together."""
    from idc_desktop.export import Analysis
    from idc_desktop.record import RunRecord

    record = RunRecord()
    with _Progress(run.slide.name, options.json) as progress:
        for message, payload in job.events():
            said = len(record.notes)
            record.take(message, payload)
            for note in record.notes[said:]:
                progress.say(f"note: {note}")
            if message["event"] == "plan" and record.map is not None:
                progress.begin(record.map.states.size)
            elif message["event"] == "block":
                progress.reach(record.done_patches)
    image = record.slide["identity"][:12] if options.anonymous else run.slide.name
    threshold = model.card.threshold if options.threshold is None else options.threshold
    return Analysis.of(record, model, image, threshold, options.map)


class _Progress:
    """A bar with rate and time left on a terminal, a plain line now and then elsewhere."""

    def __init__(self, name: str, silent: bool) -> None:
        self._name = name
        self._silent = silent
        self._bar: Any = None
        self._total = 0
        self._first: tuple[float, int] | None = None
        self._said = 0.0

    def begin(self, total: int) -> None:
        self._total = total
        if self._bar is None and not self._silent and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=self._name, unit="patch", dynamic_ncols=True)

    def reach(self, done: int) -> None:
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif self._first is None:
            self._first, self._said = (now, done), now
        elif not self._silent and now - self._said >= _PLAIN_PROGRESS_EVERY_S:
            self._said = now
            rate = (done - self._first[1]) / (now - self._first[0])
            left = f", {(self._total - done) / rate:.0f} s left" if rate > 0 else ""
            print(
                f"{self._name}: {done:,} of {self._total:,} patches, {rate:,.0f}/s{left}",
                flush=True,
            )

    def say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            _complain(text)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


@contextlib.contextmanager
def _cancelling(job: Job) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM cancel the job instead of tearing this process down."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        job.cancel()
        # A second signal is taken by the usual handler.
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.signal(name, on_signal) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _list_models(options: argparse.Namespace) -> int:
    from idc_desktop.model_file import bundled_models, read_model

    for name, path in bundled_models().items():
        model = read_model(path)
        card = model.card
        print(
            f"{name:<18} version {card.version}  {card.spacing_um_px:g} µm/px  threshold "
            f"{card.threshold:.4f}  {len(model.data) / 1e6:.1f} MB  {model.sha256[:12]}"
        )
    return 0


def _show_model(options: argparse.Namespace) -> int:
    from idc_desktop.model_file import find_model, read_model

    model = read_model(find_model(options.model))
    _print_json({"sha256": model.sha256, **model.card.without_golden()})
    return 0


def _verify_model(options: argparse.Namespace) -> int:
    from idc_desktop.model_file import find_model, read_model

    model = read_model(find_model(options.model))
    job = {"job": "verify", "model": str(model.path.absolute()), "provider": options.provider}
    answer = ask(job, model.path.name)
    provider = answer["provider"]
    print(f"{model.path.name}: {model.card.name} {model.card.version} keeps the contract")
    print(f"  SHA-256      {model.sha256}")
    print(f"  provider     {provider['used']}")
    if provider["fallback_reason"]:
        print(f"  not CUDA     {provider['fallback_reason']}")
    print(
        f"  golden |Δp|  {answer['golden_error']:.2g} on {len(model.card.golden_patches)} patches"
    )
    return 0


def _verify(options: argparse.Namespace) -> int:
    from idc_desktop.export import verify_folder

    provenance = verify_folder(Path(options.folder))
    slide, model = provenance["slide"], provenance["model"]
    print(f"{options.folder}: intact, {len(provenance['files'])} files as exported")
    print(f"  slide        {slide['identity']}")
    print(f"  model        {model.get('name')} {model.get('version')} {model['sha256']}")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from idc_desktop.phantom import cache_folder, make_phantom
    from idc_desktop.store import data_folder

    print("Painting the phantom slide (synthetic: no patient, no tissue) …", flush=True)
    phantom = make_phantom(cache_folder())
    print(f"  {phantom.slide}")
    out = options.out or str(data_folder() / "demo")
    code = main(["analyze", str(phantom.slide), "--out", out, "--regions", str(phantom.regions)])
    if code != 0:
        return code
    if has_display():
        return main(["open", str(phantom.slide)])
    folder = Path(out) / phantom.slide.stem
    print("There is no display for the window. Look at")
    print(f"  {folder / 'overlay.png'}")
    print(f"  {folder / 'regions.csv'}")
    return 0


def _open(options: argparse.Namespace) -> int:
    try:
        from idc_desktop.ui import app
    except ImportError as error:  # a missing system library, said by Qt's own import
        raise DisplayError(
            f"The window cannot be opened: {error}. On Debian and Ubuntu: "
            f"apt-get install {_QT_PACKAGES}"
        ) from error
    if options.screenshot and options.slide is None:
        raise UsageError("--screenshot needs a SLIDE.")
    slide = _absolute(options.slide) if options.slide else None
    screenshot = Path(options.screenshot) if options.screenshot else None
    if screenshot is not None and not has_display():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    elif not has_display():
        raise DisplayError(
            "There is no display for the window (neither DISPLAY nor WAYLAND_DISPLAY is set). "
            "idc-desktop analyze needs none."
        )
    return app.run(slide, options.model, screenshot)


def has_display() -> bool:
    """Whether a window could be shown, as far as the environment tells."""
    if sys.platform in ("win32", "darwin") or os.environ.get("QT_QPA_PLATFORM") == "offscreen":
        return True
    return bool(os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY"))


def _doctor(options: argparse.Namespace) -> int:
    from idc_desktop.model_file import bundled_models, read_model
    from idc_desktop.store import data_folder

    answer = ask({"job": "doctor"}, "doctor")
    models: dict[str, str] = {}
    for name, path in bundled_models().items():
        try:
            models[name] = read_model(path).sha256
        except ModelError as error:
            models[name] = str(error)
    problem = answer["cuda_problem"]
    display = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    report = {
        "versions": answer["versions"],
        "providers": answer["providers"],
        "cuda": {"usable": problem is None, "reason": problem},
        "display": sys.platform if sys.platform in ("win32", "darwin") else display,
        "data_dir": str(data_folder()),
        "models": models,
    }
    if options.json:
        _print_json(report)
        return 0
    for name, value in report.items():
        entries = value.items() if isinstance(value, dict) else [("", value)]
        for key, entry in entries:
            print(f"{name:<10} {key:<18} {', '.join(entry) if isinstance(entry, list) else entry}")
    return 0


def _absolute(given: str) -> Path:
    # Not resolved: a link's own name is the slide's name, and a loop is reported by the engine.
    return Path(os.path.abspath(given))  # noqa: PTH100 - Path.absolute keeps "..", and a name ".."


def _stem(slide: Path) -> str:
    return slide.name if slide.is_dir() else slide.stem


def _print_json(value: object) -> None:
    print(json.dumps(_finite(value), indent=2, ensure_ascii=False))


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _report_defect(text: str) -> int:
    """Keep the traceback in the log and say where; return the exit code."""
    from idc_desktop.store import data_folder

    log = data_folder() / "logs" / "defects.log"
    last_line = text.strip().splitlines()[-1]
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"idc-desktop {__version__}\n{text}\n")
        where = f"The details are in {log}"
    except OSError as error:
        where = f"The log {log} cannot be written ({error.strerror})"
    _complain(f"idc-desktop: A defect of ours: {last_line}. {where}; please report it.")
    return EXIT_DEFECT
