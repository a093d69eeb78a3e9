"""The training loop. All randomness comes from (seed, step), so a resumed run takes the same steps."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hashgrain.errors import Remedy, TrainingError
from hashgrain.learn.data.features import digest_of
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.data.inputs import FeatureInputs, Inputs
from hashgrain.learn.data.labelled import Labelled, data_digest
from hashgrain.learn.data.sampling import batches_per_epoch, class_balanced, hierarchical, shuffled, square_root
from hashgrain.learn.data.semi import guessed_levels
from hashgrain.learn.recipe import Recipe, Schedule
from hashgrain.learn.training import checkpoint
from hashgrain.learn.training.network import HashNetwork
from hashgrain.learn.training.objective import Objective
from hashgrain.learn.training.precision import best_precision
from hashgrain.learn.training.processes import several, this_process
from hashgrain.learn.training.teaching import Teacher
from hashgrain.learn.training.validation import has_collapsed, outputs_of, score, validate

VALIDATIONS = 12  # per run, besides the last
REPORT = 50  # steps
SETTLED = 50  # steps after which the statistics of normalization are reliable
CHECKPOINT_SECONDS = 120.0
PER_CLASS = 4  # pictures of a class in a batch, where batches are drawn by class


@dataclass(frozen=True)
class TrainingProgress:
    """What the loop reports every few steps."""

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    pictures_per_second: float
    seconds: float  # of training, over all its resumptions
    parts: Mapping[str, float] = field(default_factory=dict)
    validation: Mapping[str, float] | None = None
    warning: str = ""


class Learner(nn.Module):
    """Network and objective as one module, so that distributed training synchronizes both."""

    def __init__(self, network: HashNetwork, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(
        self, inputs: Tensor, truths: Mapping[str, Tensor], taught: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        outputs, features = self.network(inputs)
        result: tuple[Tensor, dict[str, Tensor]] = self.objective(outputs.float(), features.float(), truths, taught)
        return result


class Training:
    """One run: what it trains, and its state."""

    def __init__(
        self, network: HashNetwork, recipe: Recipe, data: Labelled, inputs: Inputs, validation: Labelled, run: Path
    ) -> None:
        self.recipe, self.data, self.inputs, self.validation, self.run = recipe, data, inputs, validation, run
        self.precision = best_precision()
        # A batch without labels leaves the classifier unused; distributed training must expect that.
        handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)] if several() else []
        this_process()  # joins the process group before Accelerator looks for it
        self.accelerator = Accelerator(mixed_precision=self.precision, kwargs_handlers=handlers)
        self.sizes = plan(recipe, len(data))
        self.epoch, self.batches = -1, list[NDArray[np.int64]]()
        self.step, self.seconds, self.micro, self.best, self.since_best = 0, 0.0, 1, -math.inf, 0
        self.best_size = 0
        self.shown: NDArray[np.int64] = np.empty(0, np.int64)  # the rows of the last batch
        self.guessed = 0.0  # share of the pictures without labels that have a guess
        self.teacher = Teacher(recipe.aim.teacher, recipe.grains) if recipe.aim.teacher else None
        network.to(memory_format=torch.channels_last)
        objective = Objective(recipe, data.levels, network.width)
        start = self._start(network)
        learner = Learner(network, objective)
        optimizer = torch.optim.AdamW(parameter_groups(learner, recipe.schedule))
        self.learner, self.optimizer = self.accelerator.prepare(learner, optimizer)
        self.plain: Learner = self.accelerator.unwrap_model(self.learner)
        decay = recipe.schedule.averaging
        average = get_ema_multi_avg_fn(decay) if decay else None  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(self.plain.network, multi_avg_fn=average, use_buffers=True) if decay else None
        self.levels = dict(data.levels)  # with pseudo-labels, if the recipe makes some
        self.identity = checkpoint.identity(recipe, data_digest(data) + data_digest(validation), start, self.precision)
        self._resume()

    def _start(self, network: HashNetwork) -> str:
        """A digest of the initial weights, given features, teacher and class similarities."""
        given = self.inputs.views.numpy().tobytes() if isinstance(self.inputs, FeatureInputs) else None
        views = "" if given is None else hashlib.sha256(given).hexdigest()
        teacher = self.teacher.digest if self.teacher else ""
        file = self.recipe.aim.similarity
        known = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
        return hashlib.sha256(f"{digest_of(network)} {views} {teacher} {known}".encode()).hexdigest()

    @property
    def evaluated_network(self) -> nn.Module:
        """The network to validate and keep: the averaged one, if there is one."""
        return self.averaged.module if self.averaged else self.plain.network

    def steps(self, checkpoint_seconds: float) -> Iterator[TrainingProgress]:
        """Train to the end, or until validation stops improving. The folder of the run holds the checkpoints."""
        self.learner.train()
        total, every = len(self.sizes), max(1, len(self.sizes) // VALIDATIONS)
        started = saved = reported = time.monotonic()
        since, losses, before = self.step, 0.0, self.seconds
        while self.step < total and not self._is_over():
            loss, parts, warning = self._train_once()
            self.step += 1
            losses += loss
            due = self.step % every == 0 or self.step == total
            now = time.monotonic()
            self.seconds = before + now - started
            quality = self._validate() if due else None
            if due and self.recipe.aim.pseudo_labels:
                self._guess()
            if due or now - saved > checkpoint_seconds:
                self._save()
                saved = time.monotonic()
            if due or warning or self.step % REPORT == 0:
                shown = self.recipe.shown * (self.step - since)
                progress = TrainingProgress(
                    step=self.step,
                    steps=total,
                    epoch=self.step * self.recipe.shown / max(1, len(self.data)),
                    loss=losses / (self.step - since),
                    learning_rate=learning_rate(self.recipe.schedule, self.step - 1, total),
                    pictures_per_second=shown / max(1e-9, now - reported),
                    seconds=self.seconds,
                    parts={name: round(float(part), 4) for name, part in parts.items()},
                    validation=quality,
                    warning=warning or (_alarm(quality) if self.step >= SETTLED else ""),
                )
                if self.accelerator.is_main_process:
                    checkpoint.log(self.run, asdict(progress))
                yield progress
                since, losses, reported = self.step, 0.0, time.monotonic()

    def _train_once(self) -> tuple[float, dict[str, Tensor], str]:
        """One step of the optimizer. If the device runs out of memory, the batch is split for the rest of the run."""
        warning = ""
        while True:
            try:
                loss, parts = self._gradients()
                break
            except torch.OutOfMemoryError:
                if self.accelerator.num_processes > 1:
                    raise TrainingError("the memory of a device is too small; choose a smaller batch=") from None
                self.optimizer.zero_grad(set_to_none=True)
                self.micro *= 2
                if 2 * self.micro > self.recipe.schedule.batch:
                    raise TrainingError(
                        "the memory of the device is too small for two pictures at a time; choose a smaller network"
                    ) from None
                torch.cuda.empty_cache()
                warning = f"the memory of the device is too small: batches are split into {self.micro} parts"
        if self.recipe.schedule.clip:
            self.accelerator.clip_grad_norm_(self.learner.parameters(), self.recipe.schedule.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged:
            self.averaged.update_parameters(self.plain.network)
        return loss, parts, warning

    def _gradients(self) -> tuple[float, dict[str, Tensor]]:
        recipe, step, total = self.recipe, self.step, len(self.sizes)
        for group in self.optimizer.param_groups:
            group["lr"] = group["share"] * learning_rate(recipe.schedule, step, total)
        self.plain.objective.advance(step / max(1, total - 1))
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # of dropout
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        accumulate, loss, parts = recipe.schedule.accumulate, 0.0, {}
        rows_of_step = [self._rows(step * accumulate + i) for i in range(accumulate)]
        pieces = [piece for rows in rows_of_step for piece in np.array_split(rows, self.micro) if len(piece)]
        for i, rows in enumerate(pieces):
            inputs = self.inputs.batch(rows, recipe.views, self.sizes[step], generator, self.accelerator.device)
            truths = {g: self._hot(g, rows).repeat(recipe.views, 1) for g in recipe.labelled}
            if recipe.schedule.mixup:
                inputs, truths = mixed(inputs, truths, recipe.views, recipe.schedule.mixup, generator)
            self.plain.objective.show(torch.from_numpy(rows).repeat(recipe.views))
            with self.accelerator.autocast():
                taught = self.teacher(inputs) if self.teacher else None
            last = i == len(pieces) - 1
            with (
                self.accelerator.no_sync(self.learner) if not last else contextlib.nullcontext(),
                self.accelerator.autocast(),
            ):
                total_loss, parts = self.learner(inputs, truths, taught)
            self.shown = rows
            if not torch.isfinite(total_loss):
                raise self._broken("the loss is not a number after")
            self.accelerator.backward(total_loss / len(pieces))
            loss += float(total_loss.detach()) / len(pieces)
        return loss, parts

    def _rows(self, batch: int) -> NDArray[np.int64]:
        epoch, place = divmod(batch, batches_per_epoch(len(self.data), self.recipe.schedule.batch))
        if epoch != self.epoch:
            self.epoch, self.batches = epoch, batches_of(self.recipe, self.data, epoch)
        return self.batches[place][self.accelerator.process_index :: self.accelerator.num_processes]

    def _hot(self, grain: str, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.levels[grain].hot(rows)).to(self.accelerator.device)

    def _broken(self, what: str) -> TrainingError:
        """Write down the hashes of the last batch; the checkpoint before it stays."""
        named = self.run / "bad-batch.txt"
        shown = self.data.contents[self.shown].tolist()
        named.write_text("".join(f"{content}\n" for content in shown), encoding="utf-8")
        rate = self.recipe.schedule.learning_rate / 3
        return TrainingError(
            f"{what} step {self.step}; the SHA-256 of that batch's pictures are in {named} and the last good state,"
            f" if there was one, in {self.run / checkpoint.FILE}",
            remedy=Remedy(f"try learning_rate={rate:.1g} in another folder", "lower_rate", rate=f"{rate:.1g}"),
        )

    def _validate(self) -> dict[str, float] | None:
        if not len(self.validation):
            return None
        size, figures = self.sizes[self.step - 1], dict[str, float]()
        if self.accelerator.is_main_process:
            outputs, _ = outputs_of(self.evaluated_network, self.validation.inputs, size, precision=self.precision)
            if not np.isfinite(outputs).all():
                raise self._broken("an output is not a number any more after")
            figures = validate(outputs, self.validation, self.recipe.grains, separate=self.recipe.aim.separate)
        if self.accelerator.num_processes > 1:  # all processes must decide alike
            shared = [figures]
            broadcast_object_list(shared)
            figures = shared[0]
        if size != self.best_size:  # figures at different sizes cannot be compared
            self.best_size, self.best, self.since_best = size, -math.inf, 0
        if score(figures) > self.best:
            self.best, self.since_best = score(figures), 0
            if self.recipe.schedule.patience and self.accelerator.is_main_process:
                checkpoint.save(
                    self.run,
                    {"identity": self.identity, "network": self.evaluated_network.state_dict()},
                    checkpoint.BEST,
                )
        else:
            self.since_best += 1
        return figures

    def _guess(self) -> None:
        """Pseudo-labels for training pictures that have no label, from their current codes."""
        size = self.sizes[self.step - 1]
        outputs, _ = outputs_of(self.evaluated_network, self.inputs.plain, size, precision=self.precision)
        widths, agreement = dict(self.recipe.grains), self.recipe.aim.pseudo_labels
        self.levels, self.guessed = guessed_levels(self.data.levels, torch.from_numpy(outputs), widths, agreement)

    def _is_over(self) -> bool:
        return 0 < self.recipe.schedule.patience <= self.since_best

    def _save(self) -> None:
        if not all(bool(torch.isfinite(p).all()) for p in self.plain.parameters()):
            raise self._broken("a weight is not a number any more after")
        if not self.accelerator.is_main_process:
            return
        state = {
            "network": self.plain.network.state_dict(),
            "objective": self.plain.objective.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "micro": self.micro,
            "best": self.best,
            "best_size": self.best_size,
            "since_best": self.since_best,
            "guesses": {grain: torch.from_numpy(labels.ids) for grain, labels in self.levels.items()},
            "guessed": self.guessed,
            "identity": self.identity,
        }
        checkpoint.save(self.run, state)

    def _resume(self) -> None:
        self.run.mkdir(parents=True, exist_ok=True)
        state = checkpoint.load(self.run, self.identity)
        if state is None:
            if self.accelerator.is_main_process:
                checkpoint.cut_log(self.run, 0)
            return
        self.plain.network.load_state_dict(state["network"])
        self.plain.objective.load_state_dict(state["objective"])
        if self.averaged:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.micro = state["step"], state["seconds"], state["micro"]
        self.best, self.since_best, self.guessed = state["best"], state["since_best"], state["guessed"]
        self.best_size = state["best_size"]
        for grain, ids in state["guesses"].items():
            self.levels[grain] = GrainLabels(self.levels[grain].names, ids.numpy())
        if self.accelerator.is_main_process:
            checkpoint.cut_log(self.run, self.step)

    def finished(self) -> HashNetwork:
        """The network to keep, on the CPU: the last one (averaged, if asked), or the best one with early stopping."""
        self.accelerator.wait_for_everyone()
        network = self.evaluated_network
        best = checkpoint.load(self.run, self.identity, checkpoint.BEST) if self.recipe.schedule.patience else None
        if best:
            network.load_state_dict(best["network"])
        network = network.to("cpu").eval()
        assert isinstance(network, HashNetwork)
        return network


def plan(recipe: Recipe, n_pictures: int) -> list[int]:
    """The picture size of every step. An epoch shows as many views as there are pictures."""
    sizes: list[int] = []
    for phase in recipe.schedule.phases:
        sizes += [phase.size] * max(1, round(phase.epochs * n_pictures / recipe.shown))
    return sizes


def batches_of(recipe: Recipe, data: Labelled, epoch: int) -> list[NDArray[np.int64]]:
    """The rows of every batch of an epoch, as the recipe samples them."""
    batch, labels = recipe.schedule.batch, [data.levels[grain] for grain in recipe.labelled]
    if recipe.sampling == "shuffled" or not labels:
        return shuffled(len(data), batch, recipe.seed, epoch)
    if recipe.sampling == "square_root":
        return square_root(labels[-1], batch, recipe.seed, epoch)
    if recipe.sampling == "balanced" or len(labels) == 1:
        return class_balanced(labels[-1], batch, min(PER_CLASS, batch), recipe.seed, epoch)
    return hierarchical(labels[0], labels[-1], batch, 2, min(PER_CLASS, batch // 2), recipe.seed, epoch)


def learning_rate(schedule: Schedule, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    warm_up = max(1, round(schedule.warm_up * steps))
    if step < warm_up:
        return schedule.learning_rate * (step + 1) / warm_up
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def parameter_groups(learner: Learner, schedule: Schedule) -> list[dict[str, Any]]:
    """Decay the weights of convolutions and layers, not the scales and shifts of normalizations."""
    groups = []
    for module, share in (
        (learner.network.backbone, schedule.backbone_rate),
        (learner.network.concepts, 1.0),
        (learner.network.head, 1.0),
        (learner.objective, 1.0),
    ):
        trained = [p for p in module.parameters() if p.requires_grad] if module is not None else []
        for decay, chosen in (
            (schedule.weight_decay, [p for p in trained if p.ndim > 1]),
            (0.0, [p for p in trained if p.ndim <= 1]),
        ):
            if chosen:
                groups.append(
                    {"params": chosen, "weight_decay": decay, "share": share, "lr": share * schedule.learning_rate}
                )
    if not groups:
        raise TrainingError("nothing of this recipe is trained: its backbone is frozen and its head has no weights")
    return groups


def mixed(
    inputs: Tensor, truths: Mapping[str, Tensor], views: int, parameter: float, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mixup (Zhang et al., 2018): blend each picture and its labels with those of another, in every view."""
    n = len(inputs) // views
    drawn = np.random.default_rng(int(torch.randint(2**31, (), generator=generator))).beta(parameter, parameter)
    share = max(drawn, 1 - drawn)
    other = torch.randperm(n, generator=generator)
    at = torch.cat([other + view * n for view in range(views)]).to(inputs.device)
    return share * inputs + (1 - share) * inputs[at], {g: share * t + (1 - share) * t[at] for g, t in truths.items()}


def _alarm(figures: Mapping[str, float] | None) -> str:
    if figures and has_collapsed(figures):
        return (
            f"the codes are collapsing: a bit has {figures['entropy']:.2f} of its entropy,"
            f" {figures['dead bits']:.0f} bits are dead. Try a lower learning_rate, or balance_weight=1"
        )
    return ""
