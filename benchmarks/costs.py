"""What a night costs besides learning: `python -m benchmarks.costs FOLDER` prints a JSON line each."""

import json
import sys
from pathlib import Path

from benchmarks import evaluation, flat

if __name__ == "__main__":
    place = Path(sys.argv[1])
    print(json.dumps({"system": "evaluation", **evaluation.measure(place / "evaluation")}), flush=True)
    print(json.dumps(flat.measure(place / "flat")), flush=True)
