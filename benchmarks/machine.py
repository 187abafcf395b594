"""What a benchmark ran on."""

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks.page import Line


def line() -> Line:
    """The first line of a results file."""
    return {
        "system": "machine",
        "day": str(date.today()),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()
