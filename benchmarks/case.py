"""One case, in a process of its own: `python -m benchmarks.case CASE SEEDS` prints one JSON line a seed."""

import json
import statistics
import sys

from benchmarks import bare
from benchmarks.cases import Case
from benchmarks.play import play
from benchmarks.streams import STREAMS
from tasks.update.settings import UpdateParams


def run(case: Case, seed: int) -> dict[str, object]:
    """Play it, and the bare loop beside it where that is what is asked."""
    stream = STREAMS[case.stream](seed)
    params = UpdateParams.model_validate({**case.update, "seed": seed})
    played = play(stream, params)
    line: dict[str, object] = {
        "case": case.model_dump(),
        "seed": seed,
        "system": "retain",
        **played.model_dump(),
    }
    if case.bare:
        assert params.memory.size != "all"
        bare_loop = bare.replay(stream, params.memory.size, seed, dark=params.strategy.name == "dark_replay")
        line["bare_cpu_seconds"] = bare_loop.cpu_seconds
        line["bare_average"] = statistics.mean(bare_loop.matrix[-1])
    return line


if __name__ == "__main__":
    wanted = Case.model_validate_json(sys.argv[1])
    # Libraries set themselves up when they are first used; that is no night's cost.
    play(STREAMS[wanted.stream](0), UpdateParams.model_validate(wanted.update), nights=1)
    for number in json.loads(sys.argv[2]):
        print(json.dumps(run(wanted, number)), flush=True)
