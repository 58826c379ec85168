"""Slides of a cohort on Dask workers: one slide is one task, with an engine as its child process.

This, and nothing else in the program, uses the network: to loopback, or to the scheduler that the
user names. What comes over it is run, so it must be encrypted and its ends proven (TLS), unless
the user says otherwise. Results go by the folder that all see.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from idc_desktop import __version__
from idc_desktop.cohorts.claims import Claims
from idc_desktop.cohorts.members import Member
from idc_desktop.cohorts.slide_job import JobOptions, read_inputs
from idc_desktop.cohorts.states import SlideState
from idc_desktop.commands.cancelling import Cancel
from idc_desktop.commands.cohort_local import slides_at_once
from idc_desktop.commands.cohort_progress import Progress
from idc_desktop.commands.cohort_work import CohortListener, CohortWork, refuse_shared_store
from idc_desktop.errors import AnalysisCancelledError, UsageError
from idc_desktop.processes.supervisor import usable_threads

try:
    import dask
    from dask.typing import Key
    from distributed import Client, Future, KilledWorker, LocalCluster, Security, Worker, get_worker
    from distributed.diagnostics.plugin import WorkerPlugin
except ImportError as error:
    raise UsageError(
        "--scheduler: Dask distributed is not installed here. Install it with "
        "pip install 'idc-desktop[cohort]'."
    ) from error

LOCAL = "local"

_LOOK_EVERY_S = 0.25
_ASK_OTHERS_EVERY_S = 0.5
_TABLES_EVERY_S = 30.0


def check_address(address: str, *, is_insecure: bool) -> None:
    """Refuse a scheduler whose connection would be open to anybody.

    Raises
    ------
    UsageError
        It is neither ``local`` nor begins with ``tls://``, and nobody allowed that.
    """
    if address == LOCAL or address.startswith("tls://"):
        return
    if not (is_insecure and address.startswith("tcp://")):
        raise UsageError(
            f"--scheduler {address}: Give local, or tls://HOST:PORT. Who can reach a scheduler "
            "without TLS can run programs on every worker; on a network that is closed to all "
            "others, tcp://HOST:PORT is taken with --insecure."
        )


class DaskRun:
    """Does slides on the workers of a scheduler.

    Parameters
    ----------
    address : str
        ``local`` starts workers on this machine, one for each slide at a time.
    work : CohortWork
        Writes the tables.
    """

    def __init__(
        self,
        address: str,
        work: CohortWork,
        todo: Sequence[Member],
        progress: Progress,
        cancel: Cancel,
        options: JobOptions,
    ) -> None:
        self._address = address
        self._work = work
        self._todo = {f"idc-desktop-{it.id}-{os.getpid()}": it for it in todo}
        self._progress = progress
        self._cancel = cancel
        self._options = options
        self._ended: queue.Queue[Future] = queue.Queue()
        self._name = f"idc-desktop-{os.getpid()}-{time.time_ns():x}"

    def run(self) -> None:
        """Do all of them; raise what ends the whole.

        Raises
        ------
        AnalysisCancelledError
            The scheduler is gone.
        """
        if not self._todo:
            return
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters, we say
        with self._client() as client:
            self._hand_out(client, SlideWorker(self._options, is_ours=self._address == LOCAL))
            # What a task is held by here keeps it wanted there.
            futures = {
                key: client.submit(do_slide, self._name, member, key=key, pure=False)
                for key, member in self._todo.items()
            }
            for future in futures.values():
                future.add_done_callback(self._ended.put)
            try:
                self._follow(client, futures)
            finally:
                if futures:
                    self._stop(client, futures)
                with contextlib.suppress(Exception):
                    client.unregister_worker_plugin(self._name)

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        if self._address != LOCAL:
            with contextlib.closing(self._connected()) as client:
                yield client
            return
        security = Security.temporary()  # other users of this machine see loopback, too
        no_pages = {f"distributed.{it}.http.routes": list[str]() for it in ("scheduler", "worker")}
        with dask.config.set(no_pages), contextlib.ExitStack() as cleanup:
            try:
                cluster = cleanup.enter_context(
                    LocalCluster(
                        n_workers=slides_at_once(self._options, len(self._todo)),
                        threads_per_worker=1,
                        host="127.0.0.1",
                        protocol="tls://",
                        security=security,
                        dashboard_address=None,
                        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                        memory_limit=0,  # the engines, which take it, have a limit of their own
                        silence_logs=logging.CRITICAL,
                    )
                )
                client = Client(cluster, security=security, set_as_default=False)
            except (OSError, RuntimeError) as error:
                raise UsageError(
                    f"--scheduler local: The workers cannot be started ({error}). Leave the option "
                    "out: the slides are then analyzed without them."
                ) from error
            yield cleanup.enter_context(client)

    def _connected(self) -> Client:
        try:
            return Client(self._address, set_as_default=False)
        except (OSError, TypeError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"--scheduler {self._address}: The scheduler cannot be reached ({error}). Check "
                "that it runs, and for tls:// that DASK_DISTRIBUTED__COMM__TLS__… name the "
                "certificates."
            ) from error

    def _hand_out(self, client: Client, plugin: SlideWorker) -> None:
        try:
            client.register_plugin(plugin, name=self._name)
        except Exception as error:
            raise UsageError(
                f"--scheduler {self._address}: The workers cannot take the work ({error}). Install "
                "the same version of IDC Desktop where they run."
            ) from error

    def _follow(self, client: Client, futures: dict[Key, Future]) -> None:
        written = time.monotonic()
        while futures and not self._cancel.is_asked_for:
            with contextlib.suppress(queue.Empty):
                future = self._ended.get(timeout=_LOOK_EVERY_S)
                if self._cancel.is_asked_for:
                    return
                member = self._todo[future.key]
                del futures[future.key]
                state = self._outcome(future, member)
                future.release()
                self._progress.add_patches(int((state.figures or {}).get("Patches analyzed", 0)))
                self._progress.finish(state)
            if time.monotonic() - written >= _TABLES_EVERY_S:
                self._work.write_tables()
                written = time.monotonic()

    def _outcome(self, future: Future, member: Member) -> SlideState:
        if future.status == "finished":
            state: SlideState | None = future.result()
            if state is not None:
                return state
        if future.status != "error":
            raise AnalysisCancelledError(
                f"--scheduler {self._address}: The scheduler is gone, or gave the work up. What "
                "was done is kept: run the same command to go on."
            )
        error = future.exception()
        if isinstance(error, KilledWorker):
            return self._work.give_up(
                member,
                f"{member.slide.name}: The workers that had this slide died, "
                f"{error.allowed_failures + 1} one after the other. Look at their logs, then try "
                "it again with --retry failed.",
            )
        assert error is not None
        raise error

    def _stop(self, client: Client, futures: dict[Key, Future]) -> None:
        """End what is under way; what the engines have committed is kept."""
        with contextlib.suppress(Exception):  # whoever cannot be reached has nothing to end
            client.cancel(list(futures.values()), force=True)
            client.run(cancel_slides, self._name, on_error="ignore")


class SlideWorker(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """What each worker process keeps from task to task: model, engines, claims.

    Parameters
    ----------
    options : JobOptions
    is_ours : bool
        The worker was started by the command, one for each processor; else it shares the processors
        out among its own threads.
    """

    def __init__(self, options: JobOptions, *, is_ours: bool) -> None:
        self._options = options
        self._is_ours = is_ours
        self._version = __version__

    def setup(self, worker: Worker) -> None:
        """Take the place on a worker; nothing is loaded before there is a slide."""
        self._threads = 1 if self._is_ours else max(1, usable_threads() // worker.state.nthreads)
        if self._is_ours and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command to answer
        self._preparing = threading.Lock()
        self._work: CohortWork | None = None
        self._claims: Claims | None = None
        self._cancel = Cancel()

    def teardown(self, worker: Worker) -> None:
        """End the engines."""
        self.stop()
        if self._work is not None:
            self._work.close()
        if self._claims is not None:
            self._claims.close()

    def stop(self) -> None:
        """Cancel what is under way."""
        self._cancel.ask()

    def do(self, member: Member) -> SlideState | None:
        """Do a slide, unless somebody else has or does; None if it was cancelled."""
        work, claims = self._prepared()
        while not self._cancel.is_asked_for:
            if not claims.take(member.id):
                time.sleep(_ASK_OTHERS_EVERY_S)
                continue
            try:
                listener = CohortListener(member, self._options.is_anonymous, self._cancel)
                return work.finished(member) or work.do(member, self._threads, listener)
            finally:
                claims.release(member.id)
        return None

    def _prepared(self) -> tuple[CohortWork, Claims]:
        with self._preparing:
            if self._work is None or self._claims is None:
                if self._version != __version__:
                    raise UsageError(
                        f"A worker has version {__version__} of IDC Desktop, the command "
                        f"{self._version}. Install the same everywhere."
                    )
                refuse_shared_store()
                self._work = CohortWork(self._options, read_inputs(self._options, [], str))
                if not self._work.is_listed:
                    self._work = None
                    raise UsageError(
                        f"{self._options.out}: A worker does not see what lies in this folder. "
                        "Results go by a folder that all see under the same name."
                    )
                self._claims = Claims(self._options.out)
            return self._work, self._claims


def do_slide(name: str, member: Member) -> SlideState | None:
    """Do a slide on a worker (`SlideWorker.do`), and tell of it what is shown."""
    plugin: SlideWorker = get_worker().plugins[name]
    state = plugin.do(member)
    return None if state is None else replace(state, thumbnail="")


def cancel_slides(name: str, dask_worker: Worker) -> None:
    """Cancel what is under way on a worker."""
    plugin = dask_worker.plugins.get(name)
    if plugin is not None:
        plugin.stop()
