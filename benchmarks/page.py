"""docs/benchmarks.md, made from the lines of a run; no figure on it is written by hand."""

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]
ROOT = Path(__file__).parent.parent

HEAD = """# Benchmarks

Made by `make bench` from `benchmarks/results.jsonl`, which holds every figure with its seed and its configuration;
nothing here is written by hand. `make bench-quick` prints the most important rows in some minutes.

**How it is measured.** Each case runs in a process of its own on one thread. Nights are learned by the update step
that a night runs (reading the parent and choosing what to remember included), from images in working memory.
*Accuracy* is the mean over all experiences after the last night, one head, no hint which night an image came with;
*forgetting* is the mean over past experiences of the best earlier accuracy minus the last; both in percent of test
images, mean ± standard deviation over seeds. *CPU* is the processor time of all nights together, evaluation apart;
*first* and *last* are those of one night. *Bare* is the time against that of a plain PyTorch loop doing replay with
the same steps, to two digits where both ran in turn in one process. *Memory* is the peak above that of the libraries
and the data. *Kept* is what must be stored for the next night: weights, memory's references and images, the
strategy's own numbers. CPU times of a shared machine differ by a tenth from run to run; ratios less.

In the tables for memory 500 and for the closed form, *memory* includes what libraries take when they are first used,
some 170 MB, wherever it is above 200; later rows were measured after a warm-up.

**What wins, and where it does not.** Among strategies that train the network at the cost of replay, the default,
replay with distillation, leads with a small memory and is level with dark replay elsewhere. Muon with blended images
gains one to two points where every night brings new classes, at several times the processor time. The closed form
wins outright on all four streams, which are small grey images; how it does on photographs depends on the features
that it is given. A full retrain for five epochs a night still beats every network of the same size that goes on from
its parent; on the mixed stream replay of the whole archive comes within two points of it at a tenth of the cost.

Hyper-parameters, retain's and Avalanche's, were chosen on the test images of these streams, so differences of a few
tenths mean nothing.
"""

GROUPS: dict[str, tuple[str, str]] = {
    "memory-500": (
        "Class-incremental Fashion-MNIST, memory 500",
        "All 70,000 images, official split, five nights of two classes. MLP 784-400-400, one pass over the new "
        "images, 64 new and 64 replayed a step. Avalanche 0.6 has the same network, passes, batch and memory, SGD"
        " with the rate that did best on seed 0 among 0.01, 0.03, 0.1 (iCaRL: 0.3, 1).",
    ),
    "memory-2000": ("Class-incremental Fashion-MNIST, memory 2,000", "The same with four times the memory."),
    "no-memory": ("Without memory", "The same stream; no image is kept."),
    "archive": (
        "The whole archive",
        "The same stream; all past images are stored. Replay draws from them at a fixed cost a night; a full "
        "retrain starts over every night and costs more each time.",
    ),
    "closed-form": (
        "Closed form",
        "The same stream; no image is kept, only sums over fixed features, so the result is that of a full retrain.",
    ),
    "rotated": (
        "Domain-incremental Fashion-MNIST",
        "Five nights with all ten classes, 1,000 images a class, turned by 0, 18, 36, 54 and 72 degrees; memory "
        "2,000 where one is named.",
    ),
    "mixed": (
        "Mixed stream",
        "Twenty nights of 500 to 4,000 images: more of old classes, four new classes on the way, inverted images "
        "every fifth night, classes as unequal as they come.",
    ),
    "digits": ("Digits", "scikit-learn's 1,797 digits of 8 x 8 pixels, five nights of two classes, memory 500."),
}


INGEST = """## Ingestion

Made by `make bench-ingest` from `benchmarks/ingest.jsonl`. Files lie in class folders and in the system's page cache;
processes are running and libraries imported when the clock starts. *Bare* reads each file, decodes it with Pillow and
takes the SHA-256 of its bytes, with as many processes. *Ingest* does that, too, and lists the delivery, takes the
SHA-256 of the pixels, looks at the grey levels, and writes the shards through to the disk; *validate* asks the checks.
Rates are images a second, medians of runs in turn; *share* is the median of the rate of ingestion as part of the bare
one's next to it. *Memory* is the peak of all processes together, libraries included.

These figures are older than the limits for what strangers send, which list a delivery in a process of its own
([0012](decisions/0012-limits-for-what-strangers-send.md)); what that costs was not measured on a quiet machine yet.
"""

INGEST_HEAD = (
    "| | images | processes | bare /s | ingest /s | share | validate /s | together /s | memory MB |\n|" + " --- |" * 9
)

GROWTH = """## Many nights

Made by `make bench-growth` from `benchmarks/growth.jsonl`: nights of 500 images of 16 x 16, one after the other in one
process, ingestion to registration, with as short a training as there is; what is left is what a night costs beside
learning. A row is a span of nights. *CPU* is the processor time of the average night with all that it starts, *server*
that of Prefect's; *wall* is the median night, on a machine that does other work as well. *Memory* is that of both after
the span. The last columns say by how many KB a store grew in each of its nights; *data* are images in batches and
DVC's cache, *models* are MLflow's files, *prefect* is its folder with its database, *all* is the workspace.

A night gets dearer by the lists of names and by the answers on a past that is longer by a batch, until
`evaluate.max_images` and MLflow's 60 experiences are reached. Nights of one hour are all young: in use, Prefect's
events (most of its database) go after a week, and its nights after a year
([0015](decisions/0015-what-grows.md)).
"""

GROWTH_STORES = ("data", "git", "mlflow.db", "models", "prefect.db", "prefect", "all")
GROWTH_HEAD = (
    "| nights | CPU s | server | wall s | memory MB | accepted | "
    + " | ".join(f"{name} KB" for name in GROWTH_STORES)
    + " |\n|"
    + " --- |" * (6 + len(GROWTH_STORES))
)

SEGMENTATION = """## Segmentation

Made by `make bench-segmentation` from `benchmarks/segmentation.jsonl`: five nights of digits on textured canvases of
64 x 64 pixels, as `retain demo --stream digits-on-canvas` delivers them and by its parameters. The first night is
labelled for 0 to 3, each later one for two classes, and the older digits that its images show too are background in
its masks. *mIoU* is that of the last version over all ten digits and the background, on 300 canvases of digits that no
night shows, wholly labelled; *old* and *new* are the mean IoU of 0 to 7 and of 8 and 9; all in percent, mean ± standard
deviation over seeds. Verdicts are those of nights two to five, over all seeds; a case goes on whatever they are.
"""

SEGMENTATION_HEAD = "| | mIoU | old | new | accepted | refused | inconclusive | CPU s a night |\n|" + " --- |" * 8


def write(lines: Sequence[Line] | None = None) -> None:
    """Write docs/benchmarks.md; `lines` are those of `make bench`, if not the ones that are kept."""
    text = page(read(ROOT / "benchmarks" / "results.jsonl") if lines is None else lines)
    others = {"growth.jsonl": _growth, "ingest.jsonl": _ingestion, "segmentation.jsonl": _segmentation}
    kept = {ROOT / "benchmarks" / name: section for name, section in others.items()}
    parts = [text, *(section(read(path)) for path, section in kept.items() if path.exists())]
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(parts), encoding="utf-8")


def ingest_row(line: Line) -> str:
    """One kind of images: how fast they come in."""
    images = line["images"]
    sums = [a + b for a, b in zip(line["ingest_seconds"], line["validate_seconds"], strict=True)]
    rates = [images / statistics.median(seconds) for seconds in (line["bare_seconds"], line["ingest_seconds"])]
    share = statistics.median(b / a for a, b in zip(line["ingest_seconds"], line["bare_seconds"], strict=True))
    checked, together = images / statistics.median(line["validate_seconds"]), images / statistics.median(sums)
    numbers = f"{rates[0]:,.0f} | {rates[1]:,.0f} | {share:.0%} | {checked:,.0f} | {together:,.0f}"
    return f"| {line['name']} | {images:,} | {line['processes']} | {numbers} | {line['peak_bytes'] / 1e6:,.0f} |"


def ingest_growth(line: Line) -> str:
    """What a batch costs on top of a small and a large archive."""
    sums = {
        name: [times[f"{name}_ingest"] + times[f"{name}_validate"] for times in line["rounds"]]
        for name in ("small", "large")
    }
    ratio = statistics.median(large / small for small, large in zip(sums["small"], sums["large"], strict=True))
    seconds = {name: statistics.median(values) for name, values in sums.items()}
    return (
        f"- **A batch of {line['batch']:,} images**, taken, put under DVC and validated: {seconds['large']:.2f} s with "
        f"{line['learned'] * line['batch']:,} images learned before, {seconds['small']:.2f} s with {line['batch']:,}; "
        f"median ratio {ratio:.2f}."
    )


def growth_row(line: Line) -> str:
    """A span of nights: what they cost, and what each of them left behind."""
    cpu = [sum(night) for night in zip(line["cpu"]["night"], line["cpu"]["prefect"], strict=True)]
    memory = sum(line["memory"].values()) / 1e6
    first, last = line["nights"]
    grown = " | ".join(f"{line['grown'][name] / 1000:,.0f}" for name in GROWTH_STORES)
    return (
        f"| {first}-{last} | {statistics.mean(cpu):.1f} | {statistics.mean(line['cpu']['prefect']):.1f} | "
        f"{statistics.median(line['seconds']):.1f} | {memory:,.0f} | {line['accepted']} | {grown} |"
    )


def segmentation_rows(lines: Sequence[Line]) -> list[str]:
    """A row for each case, in their order."""
    measured = [line for line in lines if line["system"] == "segmentation"]
    return [
        _segmentation_row(case, [line for line in measured if line["case"] == case])
        for case in dict.fromkeys(line["case"] for line in measured)
    ]


def _segmentation_row(case: str, lines: Sequence[Line]) -> str:
    shares = [_spread([100 * line[name] for line in lines]) for name in ("miou", "old", "new")]
    verdicts = [verdict for line in lines for verdict in line["verdict"][1:]]
    counts = [str(verdicts.count(decision)) for decision in ("accept", "refuse", "inconclusive")]
    seconds = statistics.mean(seconds for line in lines for seconds in line["cpu_seconds"])
    return f"| {case} | {' | '.join([*shares, *counts])} | {seconds:.0f} |"


def _segmentation(lines: Sequence[Line]) -> str:
    ran = next(line for line in lines if line["system"] == "machine")
    where = f"Measured {ran['day']} on {ran['cores']} cores ({ran['processor']}), Python {ran['python']}, one thread."
    return "\n".join([SEGMENTATION, where, "", SEGMENTATION_HEAD, *segmentation_rows(lines), ""])


def _growth(lines: Sequence[Line]) -> str:
    ran = next(line for line in lines if line["system"] == "machine")
    spans = [line for line in lines if line["system"] == "growth"]
    where = f"Measured {ran['day']} on {ran['cores']} cores ({ran['processor']}), Python {ran['python']}."
    if "note" in ran:
        where += f" {ran['note']}"
    shares = [_shares(line["steps"]) for line in (spans[0], spans[-1])]
    steps = [f"{name} {share:.0%} and {shares[1][name]:.0%}" for name, share in shares[0].items()]
    steps_line = "- **Share of each step** in a night of the first and of the last span: " + ", ".join(steps) + "."
    return "\n".join([GROWTH, where, "", GROWTH_HEAD, *map(growth_row, spans), "", steps_line, ""])


def _shares(steps: dict[str, float]) -> dict[str, float]:
    return {name: seconds / sum(steps.values()) for name, seconds in steps.items()}


def _ingestion(lines: Sequence[Line]) -> str:
    ran = next(line for line in lines if line["system"] == "machine")
    rows = [ingest_row(line) for line in lines if line["system"] == "ingest"]
    growth = [ingest_growth(line) for line in lines if line["system"] == "ingest-growth"]
    where = f"Measured {ran['day']} on {ran['cores']} cores ({ran['processor']}), Python {ran['python']}."
    return "\n".join([INGEST, where, "", INGEST_HEAD, *rows, "", *growth, ""])


def page(lines: Sequence[Line]) -> str:
    """The whole page but what has a file of its own."""
    machine = next(line for line in lines if line["system"] == "machine")
    parts = [HEAD]
    parts.append(
        f"Measured {machine['day']} on {machine['cores']} cores ({machine['processor']}), Python {machine['python']}, "
        f"PyTorch {machine['torch']}, no GPU.\n"
    )
    for group, (title, text) in GROUPS.items():
        members = [line for line in lines if line.get("case", {}).get("group") == group]
        if members:
            parts += [f"## {title}\n", f"{text}\n", _table(members)]
    parts += [_costs(lines)]
    return "\n".join(part for part in parts if part)


def read(path: Path) -> list[Line]:
    """Lines of an earlier run."""
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


def replaced(earlier: Sequence[Line], new: Sequence[Line]) -> list[Line]:
    """What an earlier run has of other cases, and all of the new one."""
    again = {_key(line) for line in new}
    return [line for line in earlier if _key(line) not in again] + list(new)


def _key(line: Line) -> str:
    case = line.get("case", {})
    return f"{line['system']} {case.get('group')} {case.get('name')}"


def _table(lines: Sequence[Line]) -> str:
    names = list(dict.fromkeys(line["case"]["name"] for line in lines))
    bare = [
        sum(line["bare_cpu_seconds"])
        for line in lines
        if line["case"]["name"] == "replay" and "bare_cpu_seconds" in line
    ]
    rows = [_row(name, [line for line in lines if line["case"]["name"] == name], bare) for name in names]
    rows.sort(key=lambda row: -row[0])
    head = "| | accuracy | forgetting | CPU s | first | last | bare | memory MB | kept MB |\n|" + " --- |" * 9
    return "\n".join([head, *(row for _, row in rows)]) + "\n"


def _row(name: str, lines: Sequence[Line], bare: Sequence[float]) -> tuple[float, str]:
    accuracy = [100 * line["average"] for line in lines]
    spent = [sum(line["cpu_seconds"]) for line in lines]
    first, last = ([line["cpu_seconds"][n] for line in lines] for n in (0, -1))
    cells = [
        name,
        _spread(accuracy),
        _spread([100 * line["forgetting"] for line in lines]),
        f"{statistics.mean(spent):.1f}",
        f"{statistics.mean(first):.1f}",
        f"{statistics.mean(last):.1f}",
        _ratio(lines, bare),
        _of(lines[:1], lambda line: line["peak_bytes"] / 1e6, "{:.0f}"),
        _of(lines, lambda line: (line["kept_bytes"] + line["remembered_bytes"]) / 1e6, "{:.1f}"),
    ]
    return statistics.mean(accuracy), "| " + " | ".join(cells) + " |"


def _ratio(lines: Sequence[Line], bare: Sequence[float]) -> str:
    """Against the bare loop that ran in turn with it, seed by seed; else against that of replay in the same table."""
    if all("bare_cpu_seconds" in line for line in lines):
        return f"{statistics.median(sum(line['cpu_seconds']) / sum(line['bare_cpu_seconds']) for line in lines):.2f}"
    spent = statistics.median(sum(line["cpu_seconds"]) for line in lines)
    return f"{spent / statistics.median(bare):.1f}" if bare else "–"


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


def _of(
    lines: Sequence[Line], value: Callable[[Line], float], form: str, reduce: Callable[[list[float]], float] = max
) -> str:
    try:
        return form.format(reduce([value(line) for line in lines]))
    except KeyError:
        return "–"


def _costs(lines: Sequence[Line]) -> str:
    items = []
    for line in lines:
        if line["system"] == "evaluation":
            items.append(
                f"- **Evaluation** of 20 experiences, {line['images']:,} test images, MLP: "
                f"{line['evaluation_seconds']:.3f} s, {line['throughput']:.0%} of the throughput of a bare forward "
                "loop over images in memory."
            )
        if line["system"] == "flat":
            items.append(
                "- **Night 20 against night 2**, equal nights of 4,000 images from disk, memory 2,000: "
                f"{line['night_20']:.2f} against {line['night_2']:.2f} CPU s, median ratio {line['ratio']:.2f}."
            )
    return "\n".join(["## What a night costs\n", *items, ""]) if items else ""
