"""One stream, one Avalanche strategy, one seed: the other side of the comparison with retain.

This script stands alone (nothing of retain is imported) and runs in an environment of its own, because Avalanche brings
some hundred packages. Install and run:

    python3.11 -m venv avalanche-env
    avalanche-env/bin/pip install -r requirements.txt
    OMP_NUM_THREADS=1 avalanche-env/bin/python run.py --data stream.npz --strategy replay --memory 500 --rate 0.1

The data file (numpy .npz) holds train_x uint8 [n, channels, height, width], train_y and train_night int64 [n], and the
same three arrays for test_. Each night of the file becomes one Avalanche experience. One JSON line a seed goes to
standard output, progress to standard error.

What is done so that the comparison is fair to Avalanche:

* Inputs are normalised once and held in memory as tensors; no worker processes, no transforms.
* No evaluation while training, no loggers, and only `strategy.train` is timed; building the datasets is not.
* The network has the head for all classes from the beginning, as is usual with Avalanche. The accuracy after a night is
  that of the largest output among the classes seen so far, so untrained outputs cannot cost anything.
* The seed fixes weights and order; the defaults of a strategy are those of Avalanche or of the strategy's paper.

Things to know when reading the numbers:

* GDumb trains from scratch on the memory alone. One pass over 500 samples is 8 steps, so GDumb has passes of its own:
  by default as many as cost the gradient samples of replay (`--gdumb-epochs`).
* iCaRL mixes memory and new samples in one shuffled set (no half and half batches), selects by herding (at most 1,000
  a class) and classifies by nearest mean. Its loss is averaged over samples and classes, so it wants large rates.
* The first night of every strategy is training without memory (GDumb: on its memory of the first night).
* EWC, SI, LwF and naive keep no samples: their `memory` is 0 in the record. A-GEM divides the memory evenly over the
  nights of the stream beforehand.
* DER is DER++ (beta above 0). Avalanche replays one batch for both of its terms and stores the logits after a night.
"""

import argparse
import itertools
import json
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import avalanche
import numpy as np
import torch
from avalanche.benchmarks import tensors_benchmark
from avalanche.training import supervised as strategies
from avalanche.training.plugins import EvaluationPlugin, LwFPlugin
from torch import Tensor, nn

STRATEGIES = ("replay", "der", "er_ace", "replay_lwf", "gdumb", "icarl", "naive", "ewc", "lwf", "agem", "si")
WITHOUT_MEMORY = ("naive", "ewc", "lwf", "si")
OPTIMISERS = ("sgd", "sgd_momentum", "adamw")
Matrix = list[list[float | None]]


@dataclass
class Night:
    """The samples of one night: normalised inputs and labels, for training and for testing."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    @property
    def classes(self) -> set[int]:
        """The labels that occur in this night."""
        return set(self.train_y.tolist()) | set(self.test_y.tolist())


@dataclass
class Stream:
    """The nights in their order."""

    nights: list[Night]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.nights[0].train_x.shape[1:])

    @property
    def classes(self) -> int:
        """The number of outputs that the head needs."""
        return max(max(night.classes) for night in self.nights) + 1

    def new_classes(self) -> list[list[int]]:
        """For each night, the classes that no earlier night had, in ascending order."""
        seen: set[int] = set()
        new = []
        for night in self.nights:
            new.append(sorted(night.classes - seen))
            seen |= night.classes
        return new


@dataclass
class Progress:
    """What a run has measured so far."""

    matrix: Matrix = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    gradient_samples: list[int] = field(default_factory=list)


class SampleCounter:
    """Counts the samples of every forward pass whose output takes part in a gradient.

    Avalanche copies models (GDumb, LwF, iCaRL) and a forward hook is copied along; a copy of this object would count
    for nobody, so a deep copy is the object itself.
    """

    def __init__(self) -> None:
        self.samples = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "SampleCounter":
        return self

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Forward hook: count the samples if a gradient can flow back from the output."""
        if output.requires_grad:
            self.samples += len(output)

    def take(self) -> int:
        """The count since the last call."""
        samples, self.samples = self.samples, 0
        return samples


def load(path: str) -> Stream:
    """Read the data file, normalise with mean and deviation of the first night's training images, split by night."""
    with np.load(path) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    numbers = arrays["train_night"].unique().tolist()
    first = arrays["train_x"][arrays["train_night"] == numbers[0]].float() / 255
    mean, deviation = first.mean(), first.std()

    def part(prefix: str, number: int) -> tuple[Tensor, Tensor]:
        rows = arrays[f"{prefix}_night"] == number
        inputs = arrays[f"{prefix}_x"][rows].float().div_(255).sub_(mean).div_(deviation)
        return inputs, arrays[f"{prefix}_y"][rows].long()

    return Stream([Night(*part("train", number), *part("test", number)) for number in numbers])


def experiences(stream: Stream) -> Any:
    """The stream as a benchmark of Avalanche; iCaRL reads the order of the classes from it."""
    benchmark = tensors_benchmark(
        train_tensors=[(night.train_x, night.train_y) for night in stream.nights],
        test_tensors=[(night.test_x, night.test_y) for night in stream.nights],
        task_labels=[0] * len(stream.nights),
    )
    new = stream.new_classes()
    benchmark.n_classes_per_exp = [len(classes) for classes in new]
    benchmark.classes_order = [label for classes in new for label in classes]
    return benchmark.train_stream


def network(shape: tuple[int, ...], hidden: list[int], classes: int) -> tuple[nn.Sequential, nn.Linear]:
    """The body (flatten, then linear layers with ReLU) and the linear head."""
    widths = [int(np.prod(shape)), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers), nn.Linear(widths[-1], classes)


def optimiser(name: str, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """The optimiser of this name."""
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=rate)
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9 if name == "sgd_momentum" else 0.0)


def gdumb_epochs(options: argparse.Namespace, stream: Stream) -> int:
    """The passes over GDumb's memory: those asked for, or as many as cost the gradient samples of replay."""
    if options.gdumb_epochs > 0:
        return int(options.gdumb_epochs)
    new = sum(len(night.train_y) for night in stream.nights) / len(stream.nights)
    return max(1, round(2 * new * options.epochs / options.memory))


def common_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What every strategy is given alike; the evaluator is one without metrics and loggers."""
    return {
        "train_mb_size": options.batch,
        "eval_mb_size": 256,
        "train_epochs": options.epochs,
        "device": "cpu",
        "evaluator": EvaluationPlugin(loggers=[]),
        "eval_every": -1,
    }


def icarl(body: nn.Module, head: nn.Module, options: argparse.Namespace, common: dict[str, Any]) -> strategies.ICaRL:
    """The strategy that wants body and head separately."""
    return strategies.ICaRL(
        feature_extractor=body,
        classifier=head,
        optimizer=optimiser(options.optimiser, [*body.parameters(), *head.parameters()], options.rate),
        memory_size=options.memory,
        buffer_transform=None,
        fixed_memory=True,
        **common,
    )


def build(options: argparse.Namespace, stream: Stream, counter: SampleCounter) -> Any:
    """The strategy of Avalanche with its model, its optimiser and the counting hook."""
    body, head = network(stream.shape, options.hidden, stream.classes)
    common = common_arguments(options)
    if options.strategy == "icarl":
        head.register_forward_hook(counter)
        return icarl(body, head, options, common)
    model = nn.Sequential(body, head)
    model.register_forward_hook(counter)
    common |= {
        "model": model,
        "optimizer": optimiser(options.optimiser, list(model.parameters()), options.rate),
        "criterion": nn.CrossEntropyLoss(),
    }
    if options.strategy == "gdumb":
        common["train_epochs"] = gdumb_epochs(options, stream)
    return makers(options, len(stream.nights))[options.strategy](common)


def makers(options: argparse.Namespace, nights: int) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """How each strategy but iCaRL is made from the common arguments."""
    memory, batch = options.memory, options.batch
    distil = LwFPlugin(options.lwf_alpha, options.lwf_temperature)
    return {
        "naive": lambda common: strategies.Naive(**common),
        "replay": lambda common: strategies.Replay(mem_size=memory, **common),
        "replay_lwf": lambda common: strategies.Replay(mem_size=memory, plugins=[distil], **common),
        "der": lambda common: strategies.DER(
            mem_size=memory, batch_size_mem=batch, alpha=options.der_alpha, beta=options.der_beta, **common
        ),
        "er_ace": lambda common: strategies.ER_ACE(mem_size=memory, batch_size_mem=batch, **common),
        "gdumb": lambda common: strategies.GDumb(mem_size=memory, **common),
        "ewc": lambda common: strategies.EWC(ewc_lambda=options.ewc_lambda, **common),
        "lwf": lambda common: strategies.LwF(alpha=options.lwf_alpha, temperature=options.lwf_temperature, **common),
        "agem": lambda common: strategies.AGEM(patterns_per_exp=max(1, memory // nights), sample_size=batch, **common),
        "si": lambda common: strategies.SynapticIntelligence(si_lambda=options.si_lambda, **common),
    }


@torch.no_grad()
def accuracy(model: nn.Module, night: Night, seen: list[int]) -> float:
    """The share of the night's test samples whose largest output among the classes seen is the right one."""
    model.eval()
    outputs = torch.cat([model(inputs) for inputs in night.test_x.split(1024)])
    guesses = torch.tensor(seen)[outputs[:, seen].argmax(dim=1)]
    return float((guesses == night.test_y).double().mean())


def play(options: argparse.Namespace, stream: Stream) -> Progress:
    """Train night after night and test on every night so far."""
    random.seed(options.seed)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)
    counter, progress, seen = SampleCounter(), Progress(), list[int]()
    strategy = build(options, stream, counter)
    for number, experience in enumerate(experiences(stream)):
        start = time.process_time()
        strategy.train(experience)
        progress.cpu_seconds.append(round(time.process_time() - start, 3))
        progress.gradient_samples.append(counter.take())
        seen = sorted({*seen, *stream.nights[number].classes})
        row: list[float | None] = [accuracy(strategy.model, night, seen) for night in stream.nights[: number + 1]]
        progress.matrix.append(row + [None] * (len(stream.nights) - number - 1))
        print(f"night {number}: {[round(cell, 3) for cell in row if cell is not None]}", file=sys.stderr)
    return progress


def average(matrix: Matrix) -> float:
    """The mean accuracy over all nights after the last one."""
    return float(np.mean([cell for cell in matrix[-1] if cell is not None]))


def forgetting_from_best(matrix: Matrix) -> float:
    """The mean, over all nights but the last, of the best earlier accuracy on that night less the final one."""
    drops = []
    for column in range(len(matrix) - 1):
        cells = [row[column] for row in matrix]
        known = [cell for cell in cells if cell is not None]
        drops.append(max(known[:-1]) - known[-1])
    return float(np.mean(drops)) if drops else 0.0


def record(options: argparse.Namespace, stream: Stream, progress: Progress, import_mb: float) -> dict[str, Any]:
    """The JSON record of a run; import_mb is the peak memory before the stream was read."""
    return {
        "system": "avalanche",
        "version": avalanche.__version__,
        "torch": torch.__version__,
        "strategy": options.strategy,
        "stream": options.stream,
        "memory": 0 if options.strategy in WITHOUT_MEMORY else options.memory,
        "seed": options.seed,
        "epochs": gdumb_epochs(options, stream) if options.strategy == "gdumb" else options.epochs,
        "batch": options.batch,
        "hidden": options.hidden,
        "optimiser": options.optimiser,
        "rate": options.rate,
        "matrix": progress.matrix,
        "average": average(progress.matrix),
        "forgetting_from_best": forgetting_from_best(progress.matrix),
        "cpu_seconds": progress.cpu_seconds,
        "gradient_samples": progress.gradient_samples,
        "peak_mb": peak_mb(),
        "import_mb": import_mb,
    }


def peak_mb() -> float:
    """The largest resident size of this process so far, in MiB (Linux counts it in KiB)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def widths(text: str) -> list[int]:
    """Sizes of the hidden layers, separated by commas."""
    return [int(part) for part in text.split(",") if part]


def parser() -> argparse.ArgumentParser:
    """The arguments of the command line."""
    made = argparse.ArgumentParser(description="Play a stream with one strategy of Avalanche; print one JSON line.")
    add = made.add_argument
    add("--data", required=True, help="the stream: an .npz file, see the beginning of this script")
    add("--stream", default="stream", help="name of the stream for the record")
    add("--strategy", required=True, choices=STRATEGIES, help="strategy of Avalanche")
    add("--memory", type=int, default=500, help="samples in memory, all nights together")
    add("--epochs", type=int, default=1, help="passes over the samples of a night")
    add("--batch", type=int, default=64, help="new samples in a batch, and as many replayed")
    add("--hidden", type=widths, default=[400, 400], help="sizes of the hidden layers, such as 400,400")
    add("--optimiser", choices=OPTIMISERS, default="sgd", help="sgd_momentum has momentum 0.9")
    add("--rate", type=float, default=0.03, help="learning rate")
    add("--seeds", type=widths, default=[0], help="seeds of weights, order and memory, such as 0,1,2: a line each")
    add("--threads", type=int, default=1, help="threads of torch")
    add("--gdumb-epochs", type=int, default=-1, help="passes over GDumb's memory; -1: the gradient samples of replay")
    add("--der-alpha", type=float, default=0.1, help="DER++: weight of the stored logits")
    add("--der-beta", type=float, default=0.5, help="DER++: weight of the stored labels; 0 is DER")
    add("--lwf-alpha", type=float, default=1.0, help="LwF: weight of the distillation")
    add("--lwf-temperature", type=float, default=2.0, help="LwF: temperature of the distillation")
    add("--ewc-lambda", type=float, default=1.0, help="EWC: weight of the penalty")
    add("--si-lambda", type=float, default=1.0, help="SI: weight of the penalty")
    return made


def main() -> None:
    """Play the stream once for each seed and print the records."""
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    import_mb = peak_mb()
    stream = load(options.data)
    for seed in options.seeds:
        options.seed = seed
        progress = play(options, stream)
        print(json.dumps(record(options, stream, progress, import_mb)), flush=True)


if __name__ == "__main__":
    main()
