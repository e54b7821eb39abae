"""One training run: steps until the time or the number is used up, checkpoints to go on from, pictures to look at."""

from __future__ import annotations

import io
import math
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from narrate_stream.errors import NarrateError
from narrate_stream.files import write_bytes, write_png
from narrate_stream.nets.unet import NetworkError, UNet, architecture_for, load_network, save_network
from offline.train.card import model_card
from offline.train.data import Batch, Shards
from offline.train.sheets import contact_sheet, curves
from offline.train.tasks import TASKS, VIEWS, Numbers, View, joined
from offline.train.warp import plain_similarity, random_similarity, warped

RATE, LAST_RATE, WARM_STEPS = 1e-3, 1e-5, 150
AVERAGE = 0.998  # of the shipped weights: about the last 500 steps
CLIP = 1.0
SAVE_S, LOOK_S = 120.0, 240.0
LOSS_EVERY = 20  # steps of one point of the curve
LOOKED_AT = 64  # validation samples at most while training; all of them at the end


@dataclass(frozen=True)
class Plan:
    """task, folder for what comes out, and when it ends: after `minutes` (of all sessions together) or `steps`; start:
    weights of the same task to begin from instead of random ones."""

    task: str
    out: Path
    minutes: float | None = None
    steps: int | None = None
    batch: int = 16
    size: int = 128
    device: str = "cpu"
    seed: int = 0
    start: Path | None = None


@dataclass
class Run:
    """What a checkpoint holds beside the tensors: step, seconds spent, curves."""

    step: int = 0
    seconds: float = 0.0
    loss: list[float] = field(default_factory=list)
    looks: list[tuple[int, dict[str, Numbers]]] = field(default_factory=list)


class Trainer:
    """A network, its running average and its optimiser; `run` trains to the end of the plan and exports."""

    def __init__(self, plan: Plan, shards: Shards, say: Callable[[str], None]) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.shards, self.say = plan, shards, say
        self.task = TASKS[plan.task]()
        self.network = fresh(plan)
        self.average = fresh(plan)
        self.average.load_state_dict(self.network.state_dict())
        self.average.requires_grad_(requires_grad=False)
        self.optimiser = torch.optim.Adam(self.network.parameters(), RATE, fused=True)
        self.generator = torch.Generator().manual_seed(plan.seed)
        self.state = Run()

    @property
    def checkpoint(self) -> Path:
        """Where the run can be taken up again."""
        return self.plan.out / f"{self.plan.task}.checkpoint.pt"

    def progress(self) -> float:
        """0 at the start, 1 when the plan is done."""
        if self.plan.steps is not None:
            return self.state.step / self.plan.steps
        return self.state.seconds / (60 * (self.plan.minutes or 1.0))

    def run(self, tick: Callable[[float, str], None]) -> Path:
        """Train to the end; `tick` hears of every step: progress 0..1 and a few words. Returns the exported weights."""
        before, saved, looked = time.monotonic(), time.monotonic(), time.monotonic()
        recent: list[float] = []
        try:
            while self.progress() < 1:
                recent.append(self.step())
                now = time.monotonic()
                self.state.seconds, before = self.state.seconds + now - before, now
                tick(min(self.progress(), 1), f"step {self.state.step}  loss {recent[-1]:.3f}")
                if len(recent) == LOSS_EVERY:
                    self.state.loss.append(sum(recent) / len(recent))
                    recent = []
                if now - looked > LOOK_S:
                    self.look(LOOKED_AT)
                    looked = time.monotonic()
                if now - saved > SAVE_S:
                    self.save()
                    saved = time.monotonic()
        finally:
            self.save()
        return self.export()

    def step(self) -> float:
        """One batch; returns its loss. Raises NarrateError when it is no number."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.progress(), self.state.step)
        raw = self.shards.draw(self.plan.batch, self.generator, self.plan.device)
        with torch.no_grad():
            similarity = random_similarity(self.plan.batch, self.generator, self.plan.device)
            maps = self.task.prepare(warped(raw, similarity, self.plan.size), self.generator)
        with half_on_cuda(self.plan.device):
            out = self.task.predict(self.network, maps)
        loss = self.task.loss(out, maps)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP, foreach=True)
        if not math.isfinite(float(norm)):
            raise NarrateError(f"the training of {self.plan.task} has come apart at step {self.state.step}")
        self.optimiser.step()
        self.state.step += 1
        follow(self.average, self.network, min(AVERAGE, (1 + self.state.step) / (10 + self.state.step)))
        return float(loss.detach())

    def look(self, samples: int) -> dict[str, Numbers]:
        """Measure the averaged weights on the validation samples, plainly and with every mishap; draw the pictures."""
        numbers = {view.name: self.measure(view, samples) for view in VIEWS}
        self.state.looks.append((self.state.step, numbers))
        lines = {name: [(float(s), n[name][self.task.main]) for s, n in self.state.looks] for name in numbers}
        picture = curves(self.plan.task, self.state.loss, LOSS_EVERY, lines, self.task.unit)
        write_png(self.plan.out / f"{self.plan.task}_curves.png", picture)
        text = "; ".join(f"{view} {n[self.task.main]:.3f}" for view, n in numbers.items())
        self.say(f"step {self.state.step}: {self.task.main} {text} {self.task.unit}")
        return numbers

    def measure(self, view: View, samples: int) -> Numbers:
        """The task's numbers over the first `samples` validation samples, and the view's contact sheet."""
        at = self.shards.validation
        at = at[torch.linspace(0, len(at) - 1, min(samples, len(at))).long()]
        generator = None if view.seed is None else torch.Generator().manual_seed(view.seed)
        parts = []
        for first in range(0, len(at), self.plan.batch):
            rows = at[first : first + self.plan.batch]
            out, maps = self.judged(rows, generator, first)
            parts.append(self.task.measure(out, maps))
            if first == 0:
                sheet = contact_sheet(self.task.panels(out, maps))
                write_png(self.plan.out / f"{self.plan.task}_{view.name}.png", sheet)
        return self.task.numbers(joined(parts))

    def judged(self, rows: Tensor, generator: torch.Generator | None, first: int) -> tuple[Batch, Batch]:
        """Prediction of the averaged weights and its maps for validation samples; each under one lighting in turn."""
        lighting = (torch.arange(len(rows)) + first) % self.shards.lightings
        raw = self.shards.batch(rows, lighting, self.plan.device)
        with torch.inference_mode():
            similarity = plain_similarity(len(rows), device=self.plan.device)
            maps = self.task.prepare(warped(raw, similarity, self.plan.size), generator)
            return self.task.predict(self.average, maps), maps

    def export(self) -> Path:
        """TASK.safetensors with the averaged weights in fp16, measured on all that was held out, and its model card."""
        facts = self.facts(self.look(len(self.shards.validation)))
        path = self.plan.out / f"{self.plan.task}.safetensors"
        save_network(path, self.average, facts)
        write_bytes(self.plan.out / f"{self.plan.task}.md", model_card(facts, path.stat().st_size).encode())
        self.save()
        return path

    def facts(self, numbers: dict[str, Numbers]) -> dict[str, Any]:
        """What the weights carry with them and the model card tells."""
        return {
            "task": self.plan.task,
            "steps": self.state.step,
            "batch": self.plan.batch,
            "size": self.plan.size,
            "minutes": round(self.state.seconds / 60, 1),
            "hardware": hardware(self.plan.device),
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "training_samples": len(self.shards.train),
            "lightings": self.shards.lightings,
            "validation_samples": len(self.shards.validation),
            "validation": {v: {k: round(x, 4) for k, x in n.items()} for v, n in numbers.items()},
        }

    def save(self) -> None:
        """The checkpoint, whole or not at all."""
        state = {
            "task": self.plan.task,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "run": vars(self.state),
        }
        memory = io.BytesIO()
        torch.save(state, memory)
        write_bytes(self.checkpoint, memory.getvalue())

    def resume(self) -> None:
        """Go on from the checkpoint. Raises NarrateError when it is missing or of another run."""
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            if state["task"] != self.plan.task:
                raise NarrateError(f"{self.checkpoint} belongs to the training of {state['task']}")
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.generator.set_state(state["generator"])
            self.state = Run(**state["run"])
        except FileNotFoundError as error:
            raise NarrateError(f"{self.checkpoint}: there is no checkpoint to go on from") from error
        except NarrateError:
            raise
        except Exception as error:  # what a damaged file makes torch raise is open-ended
            raise NarrateError(f"{self.checkpoint} is damaged or of another version") from error


def fresh(plan: Plan) -> UNet:
    """A new network on the plan's device. Raises NetworkError when `plan.start` does not fit."""
    network = UNet(architecture_for(plan.task))
    if plan.start is not None:
        network = load_network(plan.start).train()
        if network.architecture != architecture_for(plan.task):
            raise NetworkError(f"{plan.start} holds another network than {plan.task}")
    network = network.to(plan.device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def rate_at(progress: float, step: int) -> float:
    """Learning rate: a short warm-up by steps, then a cosine over the whole plan."""
    cosine = LAST_RATE + (RATE - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))
    return cosine * min(1, (step + 1) / WARM_STEPS)


def follow(average: UNet, network: UNet, keep: float) -> None:
    """Move the averaged weights toward the network's."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)


def half_on_cuda(device: str) -> AbstractContextManager[Any]:
    """bfloat16 where it is quick (CUDA); on these CPUs it is ten times slower than fp32."""
    return torch.autocast("cuda", torch.bfloat16) if device.startswith("cuda") else nullcontext()


def hardware(device: str) -> str:
    """In words, for the model card."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads ({platform.machine()}), fp32"
