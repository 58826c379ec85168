"""The engine: a child process that opens slides and models, and runs one job after the other.

It is started by `supervisor` only, gets its job as the first message on stdin and answers on
stdout; unless the job says that it is to stay for another, it ends with it. When stdin closes, the
parent is gone and the engine ends at once, losing nothing that was committed. Jobs and their
answers are in `engine_messages`.
"""

from __future__ import annotations

import threading

from idc_desktop.children.serving import Listen, Outbox, serve
from idc_desktop.processes.cut_messages import CutJob
from idc_desktop.processes.engine_messages import (
    ENGINE_JOBS,
    AnalyzeJob,
    Doctor,
    DoctorJob,
    InfoJob,
    ModelVerified,
    RecallJob,
    VerifyJob,
)
from idc_desktop.processes.message import Cancel, JobMessage, SlideOpened


def main() -> None:
    """Run the job that arrives on stdin."""
    serve(run_job, (*ENGINE_JOBS, CutJob))


def run_job(job: JobMessage, outbox: Outbox, listen: Listen) -> None:
    """Run a job and send what answers it."""
    if isinstance(job, CutJob):
        from idc_desktop.children.cutting import cut_patches

        cut_patches(job, outbox, listen)
        return
    cancel = threading.Event()
    listen(lambda command: cancel.set() if isinstance(command, Cancel) else None)
    match job:
        case InfoJob():
            _info(job, outbox)
        case DoctorJob():
            _doctor(outbox)
        case VerifyJob():
            _verify(job, outbox)
        case AnalyzeJob():
            from idc_desktop.children.slide_jobs import Analysis  # `info` must start fast

            Analysis(job, outbox, cancel).run()
        case RecallJob():
            from idc_desktop.children.slide_jobs import Recall

            Recall(job, outbox, cancel).run()


def _info(job: InfoJob, outbox: Outbox) -> None:
    from idc_desktop.children.opening import open_slide

    with open_slide(outbox, job.slide) as slide:
        outbox.send(SlideOpened(slide.describe()))


def _verify(job: VerifyJob, outbox: Outbox) -> None:
    from idc_desktop.children.models_at_hand import tried_model

    classifier = tried_model(job.model, job.provider, outbox)
    outbox.send(ModelVerified(classifier.provider, classifier.golden_error))


def _doctor(outbox: Outbox) -> None:
    from idc_desktop.children.models_at_hand import versions
    from idc_desktop.models.inference import available_providers, cuda_problem

    outbox.send(Doctor(versions(), tuple(available_providers()), cuda_problem()))


if __name__ == "__main__":
    main()
