"""Probabilities from patches: the only door to onnxruntime."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
import numpy.typing as npt
import onnxruntime

from idc_desktop.errors import ModelError, no_room_for_temporary_files
from idc_desktop.models.model_file import ModelFile
from idc_desktop.models.provider import Provider, ProviderChoice, UsedProvider
from idc_desktop.plain_text import counted

RUNTIME_VERSION: str = onnxruntime.__version__

CPU_BATCH = 16
CUDA_BATCH = 256

GOLDEN_TOLERANCE = {"cpu": 1e-3, "cuda": 1e-2}
"""Largest |Δp| on the golden patches with which a model is accepted, per provider."""

_INDEPENDENCE_TOLERANCE = 1e-4
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_REMEDY = {"cpu": " Choose another one.", "cuda": ""}  # the CPU takes over from CUDA
_ERROR_ONLY = 3
_CAUSE = "with error: "
"""What onnxruntime writes between the library that it cannot load and the reason."""

Patches = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


class PatchClassifier:
    """A model ready to classify patches; safe to use from several threads at once.

    Parameters
    ----------
    model : ModelFile
    provider : {"auto", "cpu", "cuda"}
        ``auto`` and ``cuda`` fall back to the CPU where CUDA does not really work, and say why.
    on_try : callable
        Told on what the model is about to be tried.

    Attributes
    ----------
    provider : ProviderChoice
    batch_size : int
        Patches per run that measured best on the provider. On CUDA a run has exactly so many, the
        last ones blank: a patch's probability does not depend on how many others there are.
    golden_error : float
        Largest |Δp| on the golden patches.

    Raises
    ------
    ModelError
        The model breaks the contract (names, types, shapes, range, batch independence) or does
        not reproduce its golden patches.
    """

    def __init__(
        self,
        model: ModelFile,
        provider: Provider,
        on_try: Callable[[UsedProvider], None] = lambda used: None,
    ) -> None:
        self._name, self._side_px = model.path.name, model.card.patch.side_px
        self._looks: dict[int, int] = {}  # at the runs under way, by thread
        self._looking = threading.Lock()
        reason = None
        if provider != "cpu":
            reason = cuda_problem()
            if reason is None:
                on_try("cuda")
                reason = self._try_cuda(model, provider)
        if provider == "cpu" or reason is not None:
            on_try("cpu")
            self._take(_session(model, "cpu"), model, ProviderChoice(provider, "cpu", reason))

    def _try_cuda(self, model: ModelFile, requested: Provider) -> str | None:
        """Take CUDA if the model really works on it; else say why not."""
        try:
            # A failing CUDA provider says why on the native stderr only.
            with _native_stderr() as said:
                session = _session(model, "cuda")
            if session.get_providers()[0] != _PROVIDERS["cuda"]:
                return _shortened(" ".join(said))
            self._take(session, model, ProviderChoice(requested, "cuda", None))
        except ModelError as error:
            return _shortened(str(error))
        return None

    def _take(
        self, session: onnxruntime.InferenceSession, model: ModelFile, choice: ProviderChoice
    ) -> None:
        self._session, self.provider = session, choice
        self.batch_size = CUDA_BATCH if choice.used == "cuda" else CPU_BATCH
        self._check_signature()
        self.golden_error = self._check_golden(model)

    def predict(self, patches: Patches) -> Probabilities:
        """Return P(IDC) of each patch.

        Parameters
        ----------
        patches : ndarray of uint8, shape (n, side, side, 3)
            RGB at the model's resolution.

        Returns
        -------
        ndarray of float32, shape (n,)
            As the model gives it: not checked for range.
        """
        parts = [np.empty(0, np.float32)]
        done = 0
        while done < len(patches):
            size = self.batch_size
            batch = patches[done : done + size]
            if self.provider.used == "cuda":
                batch = np.pad(batch, [(0, size - len(batch)), (0, 0), (0, 0), (0, 0)])
            try:
                found = self._run(batch)
            except ModelError:
                # The memory of a graphics card that others use too may do for fewer patches.
                if self.provider.used != "cuda" or size == 1:
                    raise
                self.batch_size = min(self.batch_size, size // 2)
                continue
            if found.shape != (len(batch),):
                raise ModelError(
                    f"{self._name}: The model returns {found.shape} probabilities for "
                    f"{counted(len(batch), 'patch')}. It cannot be used."
                )
            parts.append(found)
            done += size
        return np.concatenate(parts)[: len(patches)]

    def look_at_runs(self) -> int:
        """Look at the runs under way; return how many looks the longest of them has seen."""
        with self._looking:
            for run in self._looks:
                self._looks[run] += 1
            return max(self._looks.values(), default=0)

    def _run(self, patches: Patches, output: str = "probability") -> npt.NDArray[np.float32]:
        feed = {"patches": np.ascontiguousarray(patches)}
        run = threading.get_ident()
        with self._looking:
            self._looks[run] = 0
        try:
            (found,) = self._session.run([output], feed)
        except Exception as error:
            raise ModelError(
                f"{self._name}: The model failed to run ({_shortened(str(error))})."
                f"{_REMEDY[self.provider.used]}"
            ) from error
        finally:
            with self._looking:
                del self._looks[run]
        return np.asarray(found, np.float32)

    def _check_signature(self) -> None:
        side = self._side_px
        try:
            inputs = [(it.name, it.type, it.shape) for it in self._session.get_inputs()]
            outputs = {it.name: (it.type, it.shape) for it in self._session.get_outputs()}
        except UnicodeDecodeError as error:
            raise ModelError(
                f"{self._name}: A name in the model's inputs or outputs is no text ({error})."
            ) from error
        dynamic = inputs and len(inputs[0][2]) == 4 and not isinstance(inputs[0][2][0], int)
        shape = inputs[0][2][1:] if inputs else None
        if (
            len(inputs) != 1
            or inputs[0][:2] != ("patches", "tensor(uint8)")
            or shape != [side, side, 3]
            or not dynamic
        ):
            raise ModelError(
                f"{self._name}: The model's input must be patches, uint8 (n, {side}, {side}, 3) "
                f"with a free n; it is {inputs}."
            )
        for name in ("probability", "logit"):
            kind, output_shape = outputs.get(name, (None, []))
            if kind != "tensor(float)" or len(output_shape) > 1:
                raise ModelError(
                    f"{self._name}: The model must have the output {name}, float32 (n,); its "
                    f"outputs are {outputs}."
                )

    def _check_golden(self, model: ModelFile) -> float:
        patches, expected = model.card.golden_patches, model.card.golden_probabilities
        # As many as there will be in a run: what goes wrong with so many goes wrong here.
        many = max(len(patches), self.batch_size)
        batch = np.resize(patches, (many, *patches.shape[1:]))
        together = self.predict(batch)
        if not bool(np.all((together >= 0) & (together <= 1))):
            raise ModelError(f"{self._name}: The model returns probabilities outside 0 to 1.")
        logits = self._run(batch[: self.batch_size], "logit")
        if logits.shape != together[: self.batch_size].shape or not bool(
            np.all(np.isfinite(logits))
        ):
            raise ModelError(
                f"{self._name}: The model's logit is not one finite number for each patch. The "
                "model cannot be used."
            )
        alone = np.concatenate([self.predict(patch[None]) for patch in patches[:3]])
        apart = float(np.max(np.abs(alone - together[:3])))
        if apart > max(_INDEPENDENCE_TOLERANCE, GOLDEN_TOLERANCE[self.provider.used] / 10):
            raise ModelError(
                f"{self._name}: A patch's probability changes by {apart:.2g} with the other "
                "patches of its batch. The model cannot be used."
            )
        error = float(np.max(np.abs(together[: len(patches)] - expected)))
        tolerance = GOLDEN_TOLERANCE[self.provider.used]
        if error > tolerance:
            raise ModelError(
                f"{self._name}: On this machine ({self.provider.used}) the model is off by "
                f"{error:.2g} on its golden patches; at most {tolerance:g} is accepted."
            )
        return error


def available_providers() -> list[str]:
    """Return the providers that onnxruntime was built with; not all need work here."""
    return list(onnxruntime.get_available_providers())


def cuda_problem() -> str | None:
    """Say why CUDA cannot work here, as far as can be known without trying; None if it may."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    if _PROVIDERS["cuda"] not in available_providers():
        return "this onnxruntime was built without CUDA"
    try:
        ctypes.CDLL(library)
    except OSError:
        return f"no NVIDIA driver ({library} does not load)"
    return None


def _shortened(said: str) -> str:
    """Reduce what onnxruntime said to the cause: colours, times and paths differ by machine."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said).strip()
    line = next((one for one in plain.splitlines() if _CAUSE in one), plain.partition("\n")[0])
    cause = re.sub(r"^\S+ \S+ \[[^]]*\] ", "", line.rpartition(_CAUSE)[2])
    cause = re.sub(r"(?<![\w.])(?:[A-Za-z]:)?[/\\]\S*[/\\]", "", cause)
    return cause.strip()[:300] or "onnxruntime gave no reason"


def _session(model: ModelFile, provider: UsedProvider) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Runs side by side, one thread each, beat one run on all threads (and never oversubscribe).
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERROR_ONLY
    # Not as the bytes look: in onnxruntime's own format we would not know what points outside.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    names = [_PROVIDERS["cpu"]] if provider == "cpu" else list(reversed(_PROVIDERS.values()))
    try:
        if provider == "cuda":
            onnxruntime.preload_dlls(directory="")
        return onnxruntime.InferenceSession(model.data, sess_options=options, providers=names)
    except Exception as error:
        raise ModelError(
            f"{model.path.name}: onnxruntime cannot load the model ({_shortened(str(error))})."
            f"{_REMEDY[provider]}"
        ) from error


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise no_room_for_temporary_files(error) from error


@contextlib.contextmanager
def _native_stderr() -> Iterator[list[str]]:
    """Collect what native code writes to the process's stderr while the block runs."""
    said: list[str] = []
    sys.stderr.flush()
    kept = os.dup(2)
    with _temporary_file() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said.append(file.read().decode("utf-8", "replace"))
