"""One trial: a verb meets a fault, and everything that must still hold afterwards is looked at."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import shim
from client import Outcome
from oracle import lost_or_wrong, mixed, same
from shim import Arm
from world import Verb, World

FORGETS = "is lost"


@dataclass(frozen=True)
class Fault:
    """At the `at`-th call of a kind: an error, half a write, or the end."""

    kind: int
    mode: int
    at: int
    error: int

    def __str__(self) -> str:
        how = {
            shim.FAIL: "fails",
            shim.SHORT: "is cut short, then the disk is full",
            shim.LASTING: "and all later ones fail",
            shim.KILL: "is never made: killed",
            shim.KILL_SHORT: "is half made: killed",
        }[self.mode]
        kinds = "/".join(name for bit, name in shim.KIND_NAMES.items() if self.kind & bit)
        return f"{kinds} call {self.at} {how} (error {self.error})"


def failing_calls(world: World, verb: Verb) -> list[Fault]:
    """Every call of this verb with every error it may meet."""
    faults = []
    for kind, errors in shim.ERRORS.items():
        for at in range(1, _calls(world, verb, kind) + 1):
            faults += [Fault(kind, shim.FAIL, at, error) for error in errors]
            if kind == shim.WRITES:
                faults += [Fault(kind, shim.SHORT, at, errors[0]), Fault(kind, shim.LASTING, at, errors[0])]
            if kind in (shim.OPENS, shim.NAMES):
                faults.append(Fault(kind | shim.WRITES, shim.LASTING, at, 28))
    return faults


def kills(world: World, verb: Verb) -> list[Fault]:
    """Before every call that changes anything, and in the middle of every write."""
    all_calls = range(1, _calls(world, verb, shim.CHANGES) + 1)
    writes = range(1, _calls(world, verb, shim.WRITES) + 1)
    return [
        *(Fault(shim.CHANGES, shim.KILL, at, 0) for at in all_calls),
        *(Fault(shim.WRITES, shim.KILL_SHORT, at, 0) for at in writes),
    ]


def _calls(world: World, verb: Verb, kind: int) -> int:
    world.begin(verb.template)
    counted = verb.run(world, arm=Arm((world.root,), shim.COUNT, kind))
    assert counted.code == verb.code, counted.err
    return counted.calls


def spread(draw: random.Random, faults: list[Fault], count: int) -> list[Fault]:
    """`count` of them, each kind of call as often as the others."""
    kinds: dict[tuple[int, int], list[Fault]] = {}
    for fault in faults:
        kinds.setdefault((fault.kind, fault.mode), []).append(fault)
    for group in kinds.values():
        draw.shuffle(group)
    groups = list(kinds.values())
    draw.shuffle(groups)
    chosen: list[Fault] = []
    while groups and len(chosen) < count:
        groups = [group for group in groups if group]
        chosen += [group.pop() for group in groups]
    return chosen[:count]


def meet(world: World, verb: Verb, fault: Fault) -> tuple[Outcome, list[str]]:
    """The verb meets the fault; what became of it, and every promise it broke."""
    world.begin(verb.template)
    arm = Arm((world.root,), fault.mode, fault.kind, fault.at, fault.error)
    outcome = verb.run(world, arm=arm)
    broken = list(_manners(outcome, fault))
    if outcome.code == verb.code and verb.reads is not None and outcome.signal is None:
        broken += _wrong_answer(world, verb, outcome)
    seen = world.look()
    wrong = (mixed if verb.one_step else lost_or_wrong)(seen["state"], verb.before, verb.after)
    if wrong and seen["error"]:
        wrong += f" ({seen['error']})"
    if wrong:
        broken.append(wrong)
    if outcome.code == 0 == verb.code and outcome.signal is None:
        unlike = same(seen["state"], verb.after)
        if unlike:
            broken.append(f"said it was done: {unlike}")
    broken += again(world, verb)
    return outcome, broken


def _manners(outcome: Outcome, fault: Fault) -> Iterator[str]:
    """How a command may end: in time, by an exit code of ours, in a line and no traceback."""
    if outcome.late:
        yield f"hangs: still running after {outcome.seconds} s"
    elif outcome.signal is not None and fault.mode not in (shim.KILL, shim.KILL_SHORT):
        yield f"died of signal {outcome.signal}"
    if outcome.traceback:
        yield f"a traceback: {outcome.err.splitlines()[-1:]}"
    if outcome.signal is None and outcome.code not in (0, 1, 3):
        yield f"exit code {outcome.code}"
    if outcome.code == 1 and "error" not in outcome.err and "refused" not in outcome.err and not outcome.out:
        yield f"failed without a word: {outcome.err!r}"


def _wrong_answer(world: World, verb: Verb, outcome: Outcome) -> list[str]:
    assert verb.reads is not None
    try:
        answer: Any = verb.reads(outcome, world)
    except (OSError, ValueError, KeyError) as error:
        return [f"exit code {outcome.code} with no whole answer ({error!r})"]
    return [] if answer == verb.answer else [f"a wrong answer without an error: {str(answer)[:300]}"]


def again(world: World, verb: Verb) -> Iterator[str]:
    """Without the fault the same command does what it is for, and the library is sound."""
    second = verb.run(world)
    if second.code != verb.code and second.code not in verb.again:
        yield f"a second run ends with {second.code or second.signal}: {second.err[-300:]}"
    seen = world.look()
    unlike = same(seen["state"], verb.after, ids=False)
    if unlike:
        yield f"after a second run: {unlike} ({seen['error']})"
    if seen["problems"] and verb.after is not None:
        yield f"after a second run verify says {seen['problems'][:2]}"


def meet_each(world: World, verb: Verb, faults: list[Fault]) -> tuple[int, int, list[str]]:
    """How many faults struck, the peak of memory, and what was broken."""
    struck, peak, broken = 0, 0, []
    for fault in faults:
        outcome, wrong = meet(world, verb, fault)
        struck += bool(outcome.hits)
        peak = max(peak, outcome.peak_mb)
        broken += [f"{verb.name}: {fault} at {outcome.what}: {each}" for each in wrong]
    return struck, peak, broken


def manners(outcome: Outcome, seconds: float) -> list[str]:
    """What a command may not do, whatever it is fed."""
    broken = []
    if outcome.late:
        broken.append(f"hangs: not done after {seconds:g} s")
    elif outcome.signal is not None:
        broken.append(f"died of signal {outcome.signal}")
    if outcome.traceback:
        broken.append(f"a traceback: {(outcome.err.splitlines() or ['?'])[-1][:160]}")
    elif not outcome.late and outcome.signal is None and outcome.code not in (0, 1, 3):
        broken.append(f"exit code {outcome.code}")
    if "\x1b" in outcome.err:
        broken.append("an escape sequence reaches the terminal")
    return broken
