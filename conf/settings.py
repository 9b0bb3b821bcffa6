"""Every setting once: name, type, default and the sentence that explains it.

Command-line flags, `VERGER_…` environment variables, `verger.toml`, `verger config` and the README's table derive from
the fields of `Settings`. Values rise: default < TOML file < environment < flag.
"""

import difflib
import math
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from conf.errors import UsageError

ENVIRONMENT_PREFIX = "VERGER_"
FILE_NAME = "verger.toml"
NOT_PICTURES = (
    "txt,csv,tsv,json,jsonl,ndjson,xml,yaml,yml,toml,ini,md,html,htm,log,db,sqlite,parquet,avro,orc,crc,"
    "py,ipynb,sh,zip,gz,bz2,xz,zst,tar,tgz,7z,rar,mp3,wav,mp4,mov,avi,mkv,webm,xmp,lnk"
)


def setting(
    default: Any, sentence: str, *, least: float | None = None, most: float = math.inf, choices: tuple[str, ...] = ()
) -> Any:
    """Declare one setting: its default, its sentence and what values it takes."""
    return field(default=default, metadata={"sentence": sentence, "least": least, "most": most, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """The settings in force, one immutable value."""

    lake: str = setting(
        "",
        "Root of the tables that Verger writes and reads: a folder, as a path or file:// URI, or s3://BUCKET/PREFIX.",
    )
    landing: str = setting(
        "", "Where pictures land: a folder, as a path or file:// URI, or BUCKET/PREFIX with s3://, gs:// or az://."
    )
    landing_access: str = setting(
        "own",
        "How pictures are read from an object store: with one's own credentials, anonymous (a public bucket), or "
        "requester-pays.",
        choices=("own", "anonymous", "requester-pays"),
    )
    discover: str = setting(
        "listing",
        "How new pictures are found: by listing the landing, or by notifications of S3 through a queue of SQS.",
        choices=("listing", "notifications"),
    )
    queue: str = setting("", "URL of the queue of SQS that gets the landing's notifications.")
    reconcile: float = setting(
        21600.0,
        "Seconds between two listings that find what notifications have missed; the first is at the start.",
        least=1,
    )
    s3_endpoint: str = setting(
        "", "URL of a service that speaks S3; empty: as AWS_ENDPOINT_URL says, else Amazon's own."
    )
    s3_region: str = setting(
        "", "Region of the buckets; empty: as AWS_REGION says for an endpoint, else each bucket's."
    )
    once: bool = setting(False, "Drain what has landed, then exit.")
    backbone: tuple[str, ...] = setting(
        ("efficientnet-lite0",),
        "The pretrained network: NAME or NAME@SIZE (input side in pixels), or a .keras or .tflite file; may be "
        "followed by ,pooling=… ,fit=… ,weights=… of its own. Given more than once, each has its query and its rows.",
    )
    weights: str = setting(
        "", "The network's weights: embedded, imagenet, random:SEED or a file; empty: its own default."
    )
    runtime: str = setting(
        "litert",
        "What runs the network: litert (one picture, one thread a task), or tensorflow (batches; a GPU where there is "
        "one).",
        choices=("litert", "tensorflow"),
    )
    pooling: str = setting("avg", "How the last feature map becomes a vector.", choices=("avg", "max", "flatten"))
    fit: str = setting("stretch", "How a picture is fitted to the square input.", choices=("stretch", "crop", "pad"))
    label: str = setting(
        "parent",
        "A picture's label: parent (its folder), none, or a regular expression with a group named label.",
    )
    labels: str = setting(
        "",
        "Your own labels: a CSV or Parquet file with the columns uri and label; empty: those of the lake.",
    )
    settle: float = setting(
        2.0,
        "Seconds for which a file in a folder must stay unchanged before it counts as landed; objects appear whole.",
        least=0,
    )
    poll: float = setting(
        0.0,
        "Seconds between two listings of the landing, or looks at the queue; 0: 2 for a folder, 60 for a bucket, 0.2 "
        "for a queue.",
        least=0,
    )
    trigger: float = setting(
        -1.0,
        "Seconds between the starts of two micro-batches, at least; negative: 1, and 3 where the lake lies on S3.",
        least=-1,
    )
    batch_pictures: int = setting(
        0, "Pictures per micro-batch; 0: about ten seconds of work at the measured rate.", least=0
    )
    pixel_limit: int = setting(
        80_000_000, "Pixels (width times height) over which a picture is rejected undecoded.", least=1
    )
    byte_limit: int = setting(268_435_456, "Bytes over which a file is rejected unread.", least=1)
    skip_extensions: str = setting(NOT_PICTURES, "File name extensions that are no pictures: counted, not featurized.")
    decode_seconds: float = setting(
        30.0,
        "Seconds that decoding one picture may take in a process of its own, as after a crash or hang.",
        least=0.1,
    )
    idle_timeout: int = setting(
        180, "Seconds of a worker's silence after which it counts as hanging and its task is tried again.", least=1
    )
    upkeep: float = setting(
        3600.0, "Seconds between two rounds of upkeep, which merge small files and delete what nobody needs.", least=1
    )
    vacuum_days: float = setting(
        14.0,
        "Days for which files that the tables no longer name are kept for readers before VACUUM deletes them.",
        least=0,
    )
    audit: float = setting(86400.0, "Seconds between two audits, which hold arrivals against outcomes.", least=1)
    featurizer: str = setting(
        "", "The featurizer that a command is about: its id or the beginning of it; empty: the one streamed last."
    )
    components: int = setting(0, "Components that a refit keeps; 0: as many as --variance calls for.", least=0)
    variance: float = setting(
        0.90, "Share of all variance that the components of a refit are to explain.", least=0.01, most=1.0
    )
    solver: str = setting(
        "auto",
        "How a refit finds the axes: covariance (exact), randomized (for wide features), or auto, by their width.",
        choices=("auto", "covariance", "randomized"),
    )
    full: bool = setting(False, "Refit from the whole table, not from what has changed since the last refit.")
    lease: float = setting(
        60.0,
        "Seconds after which a driver that does not renew its lease is taken for dead, where the lake lies on S3.",
        least=1,
    )
    stack: str = setting("verger", "The stack of CloudFormation that `verger emr` runs Verger in.")
    region: str = setting("", "Region of that stack; empty: as AWS_REGION or one's profile says, else that of Paris.")
    unwell_after: float = setting(
        900.0,
        "Seconds for which a backlog may stand still, or grow, before `status` says that the lake is unwell.",
        least=1,
    )
    unwell_rejected: float = setting(
        0.2, "Share of the last outcomes above which rejections make `status` call the lake unwell.", least=0, most=1.0
    )
    cores: int = setting(0, "Cores of this machine to use; 0: all. A cluster decides for itself.", least=0)
    spark_conf: str = setting("", "Further Spark settings, KEY=VALUE separated by blanks.")


NAMES = tuple(f.name for f in fields(Settings))
TEXTS = tuple[str, ...]
TYPES: dict[str, Any] = get_type_hints(Settings)
FIELDS = {f.name: f for f in fields(Settings)}


@dataclass(frozen=True)
class Resolved:
    """The settings in force and, by name, where each value came from."""

    settings: Settings
    origins: Mapping[str, str]


def flag(name: str) -> str:
    """Return the command-line spelling of a setting: `batch_pictures` → `--batch-pictures`."""
    return "--" + name.replace("_", "-")


def resolve(
    flags: Mapping[str, Any], environment: Mapping[str, str], config: Path | None = None, folder: Path | None = None
) -> Resolved:
    """Merge default < TOML < environment < flags.

    Parameters
    ----------
    flags
        Values given on the command line by setting name; None means not given.
    environment
        The process environment; `VERGER_LAKE` sets `lake`, and so on.
    config
        The `--config` file, which must exist. Without it `verger.toml` of `folder` is read where there is one.
    folder
        Where `verger.toml` is looked for; the working directory by default.

    Raises
    ------
    UsageError
        A value of the wrong type or range, a name that is no setting, or a file that cannot be read; the message
        names the setting, where it was set, and the mend.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(NAMES, "default")
    sources = [
        *_from_file(config, folder or Path.cwd()),
        *_from_environment(environment),
        *((name, value, f"flag {flag(name)}") for name, value in flags.items() if value is not None),
    ]
    for name, value, origin in sources:
        values[name] = _checked(name, value, origin)
        origins[name] = origin
    return Resolved(Settings(**values), origins)


def _from_file(config: Path | None, folder: Path) -> list[tuple[str, Any, str]]:
    path = config or folder / FILE_NAME
    if config is None and not path.is_file():
        return []
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    return [(_known(name.replace("-", "_"), str(path)), value, str(path)) for name, value in table.items()]


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    found = []
    for variable, text in sorted(environment.items()):
        if variable.startswith(ENVIRONMENT_PREFIX):
            name = _known(variable.removeprefix(ENVIRONMENT_PREFIX).lower(), f"environment {variable}")
            found.append((name, text, f"environment {variable}"))
    return found


def _known(name: str, origin: str) -> str:
    if name in FIELDS:
        return name
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f"; did you mean {near[0]}?" if near else "; `verger config` lists them"
    raise UsageError(f"{origin}: no setting is named {name}{hint}")


def _checked(name: str, value: Any, origin: str) -> Any:
    kind, metadata = TYPES[name], FIELDS[name].metadata
    typed = _typed(kind, value)
    if typed is None:
        raise UsageError(f"{name} must be {_WORDS[kind]}, not {value!r} ({origin})")
    least, most = metadata["least"], metadata["most"]
    if least is not None and not (least <= typed <= most and math.isfinite(typed)):
        at_most = f" and at most {most:g}" if math.isfinite(most) else ""
        raise UsageError(f"{name} must be a finite number of at least {least:g}{at_most}, not {value} ({origin})")
    if metadata["choices"] and typed not in metadata["choices"]:
        raise UsageError(f"{name} must be one of {', '.join(metadata['choices'])}, not {value!r} ({origin})")
    return typed


_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    TEXTS: "a text or a list of texts",
}


def _typed(kind: Any, value: Any) -> Any:
    """Return `value` as `kind`, or None where it is not one."""
    if kind == TEXTS:
        return _texts(value)
    if isinstance(value, str) and kind is not str:
        return _parsed(kind, value.strip())
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return _parsed(float, str(value))
    return value if type(value) is kind else None


def _texts(value: Any) -> tuple[str, ...] | None:
    """Return the texts of a list, or the words of one text, in which quotes keep blanks together."""
    try:
        words = shlex.split(value) if isinstance(value, str) else list(value)
    except (ValueError, TypeError):
        return None
    return tuple(words) if words and all(isinstance(each, str) and each for each in words) else None


def _parsed(kind: type, text: str) -> Any:
    if kind is bool:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower())
    try:
        return kind(text.replace("_", ""))
    except ValueError:
        return None
