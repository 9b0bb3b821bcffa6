"""What happens in one run of the suite, drawn from a seed, as data that can be printed and played again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

Store = Literal["folder", "s3"]
STREAM_POINTS = ("arrivals-appended", "compaction-begins", "compaction-written", "compaction-committed")
ADOPTION_POINTS = ("checkpoint-set-aside", "outcomes-adopted", "adoption-complete")
REFIT_POINTS = (
    "refit-planned",
    "sums-taken",
    "axes-found",
    "components-written",
    "model-appended",
    "components-published",
    "vacuum-listed",
)
REQUEST_POINTS = ("request-executed",)
BATCH_POINTS = ("batch-planned", "batch-committed")
_WHOM = ("all", "all", "python")
_DAY = 86400


@dataclass(frozen=True)
class Step:
    """One act with its arguments; see `tests.faults.acts`."""

    act: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Schedule:
    """A run: what is done to a lake, one step after the other.

    Attributes
    ----------
    seed : int
        Decides what lands, too.
    store : {"folder", "s3"}
        Where landing and lake lie.
    options : Mapping[str, str]
        Settings of the stream.
    steps : sequence of Step
    """

    seed: int
    store: Store
    options: Mapping[str, str]
    steps: Sequence[Step]

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, path: Path) -> "Schedule":
        """Read one from a file that holds its line."""
        read = json.loads(path.read_text())
        return cls(read["seed"], read["store"], read["options"], [Step(**each) for each in read["steps"]])

    @property
    def acts(self) -> list[str]:
        """The names of its steps."""
        return [each.act for each in self.steps]


@dataclass(frozen=True)
class Between:
    """Any number of seconds between two."""

    low: float
    high: float


@dataclass(frozen=True)
class Fault:
    """A kind of fault: an act, and what its arguments are or are drawn from."""

    act: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    drawn: Mapping[str, Sequence[Any] | Between] = field(default_factory=dict)

    def step(self, random: Random) -> Step:
        """Draw one."""
        arguments = {
            name: round(random.uniform(each.low, each.high), 2) if isinstance(each, Between) else random.choice(each)
            for name, each in self.drawn.items()
        }
        return Step(self.act, {**self.fixed, **arguments})


def _at(act: str, points: Sequence[str], **drawn: Sequence[Any] | Between) -> dict[str, Fault]:
    return {f"kill at {point}": Fault(act, {"point": point}, drawn) for point in points}


_BOTH = {
    **_at("kill_at", STREAM_POINTS, nth=(1, 2, 3), whom=_WHOM),
    **_at("kill_in_adoption", ADOPTION_POINTS, whom=_WHOM),
    **_at("kill_in_refit", REFIT_POINTS, whom=_WHOM, repaired=(True, False, False)),
    **_at("kill_in_request", REQUEST_POINTS, whom=_WHOM),
    "kill at random": Fault("kill_after", {}, {"seconds": Between(0, 9), "whom": (*_WHOM, "jvm")}),
    "kill refit at random": Fault("kill_refit_after", {}, {"seconds": Between(0.5, 9)}),
    "worker": Fault("harm_worker", {}, {"harm": ("KILL", "SEGV", "STOP", "memory")}),
    "endless picture": Fault("land_endless"),
    "terminate": Fault("terminate", {}, {"seconds": Between(0, 9), "signal": ("TERM", "INT")}),
    "second driver": Fault("second_driver"),
    "all at once": Fault("all_at_once"),
    "retry": Fault("retry"),
}
# What each store knows; the suite goes through its kinds in turn, so that each is played.
FAULTS: Mapping[Store, Mapping[str, Fault]] = {
    "folder": {
        **_BOTH,
        **_at("kill_in_micro_batch", BATCH_POINTS, nth=(1, 2, 3)),
        "disk full": Fault("fill_disk", {}, {"seconds": Between(1, 6)}),
        "checkpoint": Fault("harm_checkpoint", {}, {"harm": ("deleted", "truncated", "foreign", "older")}),
        "clock": Fault("step_clock", {}, {"seconds": (-_DAY, _DAY), "back": (True, False)}),
    },
    "s3": {
        **_BOTH,
        "checkpoint": Fault("harm_checkpoint", {"harm": "deleted"}),
        "proxy": Fault("trouble_storage", {}, {"share": (0.02, 0.05, 0.1), "seed": range(1000)}),
        "stopped driver": Fault("replace_stopped", {}, {"whom": ("python", "all")}),
    },
}


def draw(seed: int, store: Store = "folder", first: str = "", faults: int = 0) -> Schedule:
    """Draw a schedule.

    Parameters
    ----------
    seed
        Equal seeds draw equal schedules.
    store
        Where landing and lake lie.
    first
        The kind of its first fault, of `FAULTS`; empty: the next in turn.
    faults
        How many; 0: two to four.
    """
    random, known = Random(seed), FAULTS[store]
    names = sorted(known)
    first = first or names[seed % len(names)]
    drawn = [first, *random.choices(names, k=(faults or random.randint(2, 4)) - 1)]
    steps = [Step("land", {"number": random.randint(8, 24)})]
    for name in drawn:
        steps += _life(random)
        steps.append(known[name].step(random))
    # With few, a micro-batch takes one file of arrivals; with many, whatever has come.
    options = {
        "batch-pictures": str(random.choice((8, 32, 512))),
        "upkeep": str(random.choice((2, 5, 3600))),
        "audit": str(random.choice((3, 10, 86400))),
        "vacuum-days": random.choice(("0", "14")),
    }
    return Schedule(seed, store, options, [*steps, *_life(random)])


def _life(random: Random) -> list[Step]:
    """Draw what pictures do between two faults."""
    wishes: list[tuple[float, Step]] = [
        (0.7, Step("land", {"number": random.randint(1, 12)})),
        (0.5, Step("overwrite", {"number": random.randint(1, 4)})),
        (0.4, Step("delete", {"number": random.randint(1, 3)})),
        (0.2, Step("dribble", {"pause": round(random.uniform(0.0, 0.8), 2)})),
        (0.4, Step("wait", {"seconds": round(random.uniform(0.0, 3.0), 2)})),
        (0.25, Step("refit", {})),
    ]
    return [step for chance, step in wishes if random.random() < chance]
