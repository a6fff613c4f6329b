"""The ``kvnode`` command: arguments in, exit status out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner, Result

from kvnode.cli import app
from kvnode.config import ControllerConfig, WorkerConfig
from kvnode.local.plan import UpOptions, plan, write_configs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files of a controller and three workers."""
    write_configs(plan(UpOptions(tmp_path, workers=3)))
    return tmp_path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[WorkerConfig | ControllerConfig]:
    """Put a node in the real one's place that notes its configuration and ends with status 74."""
    configs: list[WorkerConfig | ControllerConfig] = []

    def run(config: WorkerConfig | ControllerConfig) -> int:
        configs.append(config)
        return 74

    node = ModuleType("kvnode.node")
    node.__dict__.update(run_worker=run, run_controller=run)
    monkeypatch.setitem(sys.modules, "kvnode.node", node)
    return configs


def invoke(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_node_gets_its_configuration_and_gives_its_exit_status(
    folder: Path, ran: list[WorkerConfig | ControllerConfig]
) -> None:
    """What the node returns is what the process exits with, and stdout stays the node's."""
    for command, name in (("worker", "worker-2"), ("controller", "controller")):
        result = invoke(command, "--config", folder / f"{name}.toml")
        assert result.exit_code == 74
        assert result.stdout == ""
    worker, controller = ran
    assert isinstance(worker, WorkerConfig)
    assert worker.worker.id == 2
    assert isinstance(controller, ControllerConfig)


@pytest.mark.parametrize(("command", "name"), [("worker", "worker-1"), ("controller", "controller")])
def test_a_wrong_configuration_is_refused_with_78(
    folder: Path, ran: list[WorkerConfig | ControllerConfig], command: str, name: str
) -> None:
    """File, key and what was expected are named, in one log line and in words, and nothing is started."""
    file = folder / f"{name}.toml"
    file.write_text(file.read_text().replace("replicas = 3", "replicas = 5"))
    result = invoke(command, "--config", file)
    assert result.exit_code == 78
    (line,) = result.stdout.splitlines()
    logged = json.loads(line)
    assert (logged["level"], logged["event"], logged["node"]) == ("error", "config_refused", name)
    assert (logged["file"], logged["key"]) == (str(file), "cluster.replicas")
    assert logged["expected"] == "expected at most the number of workers (3), got 5"
    assert result.stderr == f"kvnode: {logged['reason']}\n"
    assert ran == []


@pytest.mark.parametrize("command", ["worker", "controller"])
def test_where_stderr_leads_to_the_log_the_words_are_left_to_it(tmp_path: Path, command: str) -> None:
    """A journal, or what reads ``2>&1``, gets JSON lines and nothing else."""
    both = subprocess.run(
        [sys.executable, "-m", "kvnode", command, "--config", str(tmp_path / "nothing.toml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert both.returncode == 78
    (line,) = both.stdout.splitlines()
    assert json.loads(line)["event"] == "config_refused"


def test_check_config_knows_both_kinds_of_file(folder: Path) -> None:
    """Files in order are said to be so."""
    for name in ("controller.toml", "worker-3.toml"):
        result = invoke("check-config", folder / name)
        assert (result.exit_code, result.stdout) == (0, f"{folder / name} is in order\n")


def test_check_config_warns_of_what_is_unwise(folder: Path) -> None:
    """All workers on one host: allowed, but said."""
    file = folder / "worker-1.toml"
    file.write_text(file.read_text().replace("local-2", "local-1").replace("local-3", "local-1"))
    result = invoke("check-config", file)
    assert result.exit_code == 0
    assert "warning: 3 replicas on 1 distinct hosts" in result.stderr


@pytest.mark.parametrize("text", ["[worker]\nid = 1\n", "no TOML", "", "[worker]\n[controller]\n"])
def test_check_config_refuses_what_a_node_would(tmp_path: Path, text: str) -> None:
    """A wrong file is refused with the same status as by the node itself."""
    file = tmp_path / "node.toml"
    file.write_text(text)
    result = invoke("check-config", file)
    assert result.exit_code == 78
    assert str(file) in result.stderr


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """So that a wrong path is seen at once."""
    result = invoke("worker", "--config", tmp_path / "nothing.toml")
    assert result.exit_code == 78
    assert "nothing.toml" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--workers", "0"], 78),
        (["--workers", "65"], 78),
        (["--port", "0"], 78),
        (["--port", "64532"], 78),
        (["--restart-after", "soon"], 2),
        (["--restart-after", "-1"], 2),
        (["--restart-after", "nan"], 2),
    ],
)
def test_up_refuses_impossible_options(tmp_path: Path, arguments: list[str], status: int) -> None:
    """Nothing is written or started for them."""
    directory = tmp_path / "data"
    result = invoke("up", "--directory", directory, *arguments)
    assert result.exit_code == status
    assert not directory.exists()


def test_version_is_the_release_and_how_it_runs() -> None:
    """It begins with a number; unit tests run the sources."""
    assert re.fullmatch(r"\d+\.\d+\.\S+ \(interpreted\)\n", invoke("version").stdout)


def test_version_tells_compiled_code_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suffix of the module that a worker begins with decides."""
    built = ModuleSpec("kvnode.core.worker", None, origin="/opt/kvnode/core/worker.cpython-311.so")
    monkeypatch.setattr("kvnode.cli.find_spec", {"kvnode.core.worker": built}.get)
    assert invoke("version").stdout.endswith(" (compiled)\n")
