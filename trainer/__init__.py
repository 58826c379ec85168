"""Training, calibration and export of the models that IDC Desktop runs."""

import os

# TensorFlow reads both when it is first imported: this package is to be imported before it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Off by default on processors without AVX-512 VNNI, where its kernels train twice as fast too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
