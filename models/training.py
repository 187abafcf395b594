"""The training loop: draw a step, take the strategy's loss, descend; until the night's budget is spent."""

import math
import time

import torch
from torch import Tensor

from dataset.archive import ImageDataset
from models.augmentation import Augmentation
from models.budget import Budget
from models.checkpoint import Checkpoint, Saved, Tensors
from models.compute import ONE_CPU, Compute
from models.forecast import Forecast
from models.minibatches import BatchSampler, Imbalance
from models.optimiser import MovingAverage, Optimiser, adapted_rate, set_rate
from models.strategies.base import Strategy, TrainingContext, TrainingData
from records.pace import Progress
from records.record import Record
from records.training import TrainingLog


class Plan(Record):
    """How to train, whatever the strategy."""

    budget: Budget = Budget()
    optimiser: Optimiser = Optimiser()
    augmentation: Augmentation = Augmentation()
    imbalance: Imbalance = "prior"
    prior_exponent: float = 0.0


def train(
    context: TrainingContext,
    strategy: Strategy,
    data: TrainingData,
    plan: Plan,
    compute: Compute = ONE_CPU,
    checkpoint: Checkpoint | None = None,
    progress: Progress = lambda done, total: None,
) -> TrainingLog:
    """Train the context's network in place. Equal arguments give equal weights, bit for bit, on the same kind of CPU.

    With a `checkpoint`, what is reached is saved now and then, and training goes on from what was saved.
    """
    started = time.process_time()
    context.device = compute.device
    compute.place(context.network)
    compute.compiled(context.network)
    if context.parent is not None:
        compute.place(context.parent)
    context.state = {name: tensor.to(compute.device) for name, tensor in context.state.items()}
    torch.manual_seed(context.seed + compute.rank)  # what is random inside the network and in augmentation
    strategy.begin(context, data)
    log = TrainingLog()
    if strategy.descends:
        log = _Trainer(context, strategy, data, plan, compute).run(checkpoint, progress)
    context.network.eval()
    strategy.finish(context, data)
    spent = time.process_time() - started
    return log.model_copy(update={"cpu_seconds": spent, "environment": compute.environment()})


class _Trainer:
    """The steps of one night and all that changes with them."""

    def __init__(
        self, context: TrainingContext, strategy: Strategy, data: TrainingData, plan: Plan, compute: Compute
    ) -> None:
        new, replayed = strategy.draw(data)
        self.context, self.strategy, self.plan, self.compute = context, strategy, plan, compute
        self.images = sum(len(dataset) for dataset in new)
        self.steps = plan.budget.steps(self.images)
        classes = context.network.head.out_features
        options = (plan.imbalance, plan.augmentation, compute, plan.prior_exponent)
        self.sampler = BatchSampler(new, replayed, plan.budget, classes, context.seed, *options)
        self.factor = 1.0
        if plan.optimiser.adapt_learning_rate and not strategy.starts_over:
            usual = plan.budget.min_steps * plan.budget.batch_size
            self.factor = adapted_rate(novelty(context, data.new), len(data.new), usual)
        self.optimisers = plan.optimiser.start(context.network)
        self.average = None
        if plan.optimiser.ema_decay:
            self.average = MovingAverage(context.network.floats(), plan.optimiser.ema_decay)
        self.losses: dict[str, list[Tensor]] = {}
        self.done, self.seen, self.seconds = 0, 0, 0.0

    def run(self, checkpoint: Checkpoint | None, progress: Progress) -> TrainingLog:
        """Take every step that is left."""
        if checkpoint is not None:
            self._resume(checkpoint)
        self.context.network.train()
        forecast = Forecast(self.plan.budget.batch_size / self.images, progress, self.plan.budget.max_seconds is None)
        forecast.begin(self.done)
        try:
            self._take_steps(checkpoint, forecast)
        finally:
            self.sampler.close()
        if self.average is not None:
            self.average.settle()
        losses = {part: _tenths(torch.stack(values).tolist()) for part, values in self.losses.items()}
        return TrainingLog(steps=self.done, images=self.seen, losses=losses)

    def _take_steps(self, checkpoint: Checkpoint | None, progress: Progress) -> None:
        before = time.monotonic()
        while (done := self._share_done()) < 1:
            self._step(done)
            now = time.monotonic()
            self.seconds, before = self.seconds + now - before, now
            if self.plan.budget.max_seconds is not None:  # All must take the same number of steps.
                self.seconds = self.compute.agreed(self.seconds)
            if checkpoint is not None and self.compute.rank == 0 and checkpoint.due():
                checkpoint.save(Saved(self.done, self.seconds, self._tensors()))
            progress(self.done, max(self.done, self._expected_steps()))

    def _step(self, done: float) -> None:
        minibatch = self.sampler.minibatch(self.done)
        for optimiser in self.optimisers:
            set_rate(optimiser, self.factor, self.plan.optimiser.schedule, done)
        with self.compute.autocast():
            losses = self.strategy.loss(self.context, minibatch)
        self.context.network.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        self.compute.average_gradients(self.context.network)
        for optimiser in self.optimisers:
            optimiser.step()
        self.strategy.after_step(self.context)
        self.done += 1
        self.seen += len(minibatch.targets)
        if self.average is not None:
            self.average.follow(self.done)
        for part, loss in losses.items():
            self.losses.setdefault(part, []).append(loss.detach().float())

    def _share_done(self) -> float:
        """Share of the budget that is spent; with a budget in seconds the clock says."""
        if self.plan.budget.max_seconds is None:
            return self.done / self.steps
        return self.seconds / self.plan.budget.max_seconds

    def _expected_steps(self) -> int:
        if self.plan.budget.max_seconds is None:
            return self.steps
        return round(self.done / max(self._share_done(), 1e-9))

    def _resume(self, checkpoint: Checkpoint) -> None:
        saved = checkpoint.load()
        if saved is None:
            return
        self.done, self.seconds = saved.step, saved.seconds
        parts = _grouped(saved.tensors)
        self.context.network.load_state_dict(parts["network"])
        self.context.state = {name: value.to(self.compute.device) for name, value in parts.get("state", {}).items()}
        for number, optimiser in enumerate(self.optimisers):
            _load_optimiser(optimiser, parts.get(f"optimiser-{number}", {}))
        if self.average is not None:
            for mine, kept in zip(self.average.average, _in_order(parts["average"]), strict=True):
                mine.copy_(kept)
        device = self.compute.device  # Those to come are there, and all are stacked in the end.
        self.losses = {part: list(values.to(device).unbind()) for part, values in parts["losses"].items()}
        self.seen = int(parts["seen"]["images"])
        if self.compute.rank:  # What was random in the first process alone was saved.
            torch.manual_seed(self.context.seed + self.compute.rank + 1_000_003 * self.done)
            return
        torch.set_rng_state(parts["random"]["cpu"])
        if "cuda" in parts["random"]:
            torch.cuda.set_rng_state(parts["random"]["cuda"], self.compute.device)

    def _tensors(self) -> Tensors:
        random = {"cpu": torch.get_rng_state()}
        if self.compute.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.compute.device)
        parts: dict[str, Tensors] = {
            "network": dict(self.context.network.state_dict()),
            "state": self.context.state,
            **{f"optimiser-{n}": _optimiser_tensors(optimiser) for n, optimiser in enumerate(self.optimisers)},
            "average": {str(n): tensor for n, tensor in enumerate(self.average.average if self.average else [])},
            "losses": {part: torch.stack(values) for part, values in self.losses.items()},
            "random": random,
            "seen": {"images": torch.tensor(self.seen)},
        }
        return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


@torch.inference_mode()
def novelty(context: TrainingContext, new: ImageDataset) -> float:
    """Share of the new images, 0..1, that the parent answers wrongly; 1 on the first night. At most 1,000 are asked."""
    if context.parent is None:
        return 1.0
    generator = torch.Generator().manual_seed(context.seed)
    sample = torch.randperm(len(new), generator=generator)[:1000]
    wrong = 0.0
    for part in torch.split(sample, new.at_once):
        outputs = context.parent(new.images(part).to(context.device)).float().cpu()
        looked_for = None if new.labelled_for is None else new.labelled_for[part]
        right = context.problem.outcomes(outputs, new.targets(part), outputs.shape[1], looked_for).overall
        wrong += float((1 - right).sum())
    return wrong / len(sample)


def _grouped(tensors: Tensors) -> dict[str, Tensors]:
    groups: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        groups.setdefault(part, {})[rest] = tensor
    return groups


def _in_order(tensors: Tensors) -> list[Tensor]:
    return [tensors[str(n)] for n in range(len(tensors))]


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> Tensors:
    state = optimiser.state_dict()["state"]
    return {f"{n}/{name}": value for n, values in state.items() for name, value in values.items() if value is not None}


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: Tensors) -> None:
    saved = optimiser.state_dict()
    state: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        number, _, rest = name.partition("/")
        state.setdefault(int(number), {})[rest] = tensor
    optimiser.load_state_dict({**saved, "state": state})


def _tenths(values: list[float]) -> tuple[float, ...]:
    size = max(1, math.ceil(len(values) / 10))
    return tuple(sum(part) / len(part) for part in (values[i : i + size] for i in range(0, len(values), size)))
