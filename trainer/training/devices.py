"""Where a training runs: GPUs, if TensorFlow finds any, else the processor."""

from __future__ import annotations

import tensorflow as tf


def gpu_names() -> list[str]:
    """Name the GPUs that TensorFlow can use."""
    found = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(one) for one in found]
    return [detail.get("device_name", one.name) for one, detail in zip(found, details, strict=True)]


def set_up(strategy: str) -> tf.distribute.Strategy | None:
    """Set GPUs to repeatable results and memory as needed; return the strategy, if one is needed.

    Parameters
    ----------
    strategy : {"none", "mirrored"}
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    if gpus:
        # On the processor kernels are repeatable as they are, and other ones would be slower.
        tf.config.experimental.enable_op_determinism()
    return tf.distribute.MirroredStrategy() if strategy == "mirrored" else None
