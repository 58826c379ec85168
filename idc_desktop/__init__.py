"""IDC Desktop: probability maps of invasive ductal carcinoma on whole-slide images."""

import os

# onnxruntime reads this once, while it is imported; set any later, it has already opened a socket.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"

RESEARCH_USE_NOTICE = "For Research Use Only. Not for use in diagnostic procedures."
