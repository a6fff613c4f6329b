"""The ``kvnode`` command: arguments in, exit status out.

The stdout of a node holds JSON lines and nothing else, also when its configuration is refused; words
for a person go to stderr.
"""

from __future__ import annotations

import asyncio
import sys
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, NoReturn

import msgspec
import typer
from rich.console import Console

from kvnode.config import NodeConfig, load_controller_config, load_worker_config, warnings
from kvnode.errors import ConfigError, LockedError, PeerError, StorageError
from kvnode.local.plan import UpOptions
from kvnode.logs import complain, configure, get_logger, silenced
from kvnode.storage.disk import PosixDisk, ReadOnlyDisk
from kvnode.storage.findings import FolderReport, Severity
from kvnode.storage.fsck import check_folder
from kvnode.storage.repair import repair_folder

EX_UNAVAILABLE: Final = 69
EX_IOERR: Final = 74
EX_CONFIG: Final = 78

app = typer.Typer(
    name="kvnode",
    help="A replicated key-value store: every key is a linearizable register.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[Path, typer.Option("--config", help="The node's TOML file.", metavar="FILE")]


@app.command()
def worker(config: ConfigFile) -> None:
    """Run a worker in the foreground; SIGTERM drains it."""
    try:
        loaded = load_worker_config(config)
    except ConfigError as error:
        _refuse(config, error)
    from kvnode.node import run_worker  # noqa: PLC0415 - other commands need neither gRPC nor Sanic

    raise typer.Exit(run_worker(loaded))


@app.command()
def controller(config: ConfigFile) -> None:
    """Run the controller in the foreground; SIGTERM drains it."""
    try:
        loaded = load_controller_config(config)
    except ConfigError as error:
        _refuse(config, error)
    from kvnode.node import run_controller  # noqa: PLC0415 - as above

    raise typer.Exit(run_controller(loaded))


@app.command()
def up(
    directory: Annotated[Path, typer.Option(help="For data, configuration and logs.")] = Path(".kvnode"),
    workers: Annotated[int, typer.Option(help="How many workers.")] = 4,
    restart_after: Annotated[
        str, typer.Option(help="Seconds until a dead node is started again, or never.", metavar="S|never")
    ] = "5",
    port: Annotated[int, typer.Option(help="The controller's REST port; the others follow it.")] = 5000,
) -> None:
    """Run a controller and workers on this machine until Ctrl-C."""
    from kvnode.local.cluster import run_up  # noqa: PLC0415 - a node needs no HTTP client

    options = UpOptions(directory, workers, _seconds(restart_after), port)
    try:
        raise typer.Exit(asyncio.run(run_up(options, Console())))
    except ConfigError as error:
        _fail(error, EX_CONFIG)
    except PeerError as error:
        _fail(error, EX_UNAVAILABLE)
    except (LockedError, OSError) as error:
        _fail(error, EX_IOERR)


@app.command()
def verify(
    url: Annotated[
        list[str], typer.Option(help="The controller, or workers; may be repeated.", metavar="URL")
    ],
    seconds: Annotated[float, typer.Option(help="How long to work.", min=1, max=86_400)] = 30.0,
    clients: Annotated[int, typer.Option(help="How many clients at once.", min=1, max=1000)] = 16,
    keys: Annotated[int, typer.Option(help="How many keys they share.", min=1, max=100_000)] = 10,
    rate: Annotated[float, typer.Option(help="Operations a second, at most.", min=1, max=100_000)] = 500.0,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds for one request.", min=0.1)] = 5.0,
    history: Annotated[
        Path | None, typer.Option(help="A file for all that was seen.", metavar="FILE")
    ] = None,
) -> None:
    """Work on a cluster while you break it, and judge whether every answer was linearizable.

    It uses keys of its own and deletes them. Exit status: 0 linearizable, 1 violated, 2 undecided.
    """
    from kvnode.verify import command  # noqa: PLC0415 - as above

    urls = tuple(address.rstrip("/") for entry in url for address in entry.split(","))
    if bad := [address for address in urls if not address.startswith(("http://", "https://"))]:
        raise typer.BadParameter(f"expected http://HOST:PORT, got {bad[0]!r}", param_hint="--url")
    options = command.Options(urls, seconds, clients, keys, rate, timeout_s, history)
    raise typer.Exit(asyncio.run(command.verify(options, Console())))


@app.command("check-config")
def check_config(file: Annotated[Path, typer.Argument(help="A worker's or the controller's file.")]) -> None:
    """Check a node's configuration file, say what is unwise in it, and exit with 78 when it is wrong."""
    try:
        loaded = _load_any(file)
    except ConfigError as error:
        _fail(error, EX_CONFIG)
    for warning in warnings(loaded):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{file} is in order")


@app.command()
def fsck(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A stopped worker's data folder.")],
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Set damaged parts aside.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a stopped worker's data folder; exit with 0: in order, 1: findings, 74: it cannot be used."""
    try:
        with silenced():
            if repair:
                report = repair_folder(PosixDisk(_existing(directory)), str(directory))
            else:
                report = check_folder(ReadOnlyDisk(directory), str(directory))
    except (StorageError, OSError) as error:
        _fail(error, EX_IOERR)
    if as_json:
        typer.echo(msgspec.json.encode({**msgspec.to_builtins(report), "verdict": report.verdict()}))
    else:
        _print_report(report)
    worst = report.worst()
    raise typer.Exit(EX_IOERR if worst is Severity.FATAL else int(worst is not None))


@app.command()
def version() -> None:
    """Print the release, and whether what a request passes through is compiled."""
    typer.echo(release())


def release() -> str:
    """Return the release's number, and how its code runs: ``0.3.0 (compiled)`` or ``0.3.0 (interpreted)``."""
    hot = find_spec("kvnode.core.worker")
    interpreted = hot is None or str(hot.origin).endswith(".py")
    return f"{metadata.version('kvnode')} ({'interpreted' if interpreted else 'compiled'})"


def main() -> None:
    """Run the command that the process was started with."""
    app(prog_name="kvnode")


def _load_any(file: Path) -> NodeConfig:
    """Load a file as what it says it is."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        tables = {}  # the loader says what is wrong
    return load_controller_config(file) if "controller" in tables else load_worker_config(file)


def _existing(directory: Path) -> Path:
    """Return a folder that is there: a repair must not make one. Raises StorageError."""
    if not directory.is_dir():
        raise StorageError(f"{directory}: there is no such folder")
    return directory


def _print_report(report: FolderReport) -> None:
    """Print a report for a person."""
    for finding in report.findings:
        typer.echo(str(finding))
    counts = msgspec.structs.asdict(report.counts)
    typer.echo(", ".join(f"{value} {name.replace('_', ' ')}" for name, value in counts.items()))
    for line in report.repaired:
        typer.echo(f"repaired: {line}")
    typer.echo(f"{report.folder}: {report.verdict()}")


def _seconds(text: str) -> float | None:
    if text == "never":
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:  # noqa: PLR2004
        raise typer.BadParameter(f"expected seconds or never, got {text!r}", param_hint="--restart-after")
    return seconds


def _refuse(config: Path, error: ConfigError) -> NoReturn:
    """End a node that has no configuration, and so no name but its file's."""
    configure(node=config.stem)
    fields = {"file": error.source, "key": error.key, "expected": error.expected}
    get_logger().error("config_refused", reason=str(error), **fields)
    complain(str(error))
    raise typer.Exit(EX_CONFIG)


def _fail(error: Exception, status: int) -> NoReturn:
    sys.stderr.write(f"kvnode: {error}\n")
    raise typer.Exit(status)
