"""Imports go down only, and the configuration costs no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import rlhf

PACKAGE = Path(rlhf.__file__).parent
FLOORS = {"types": 1, "errors": 1, "exhibits": 1, "config": 1, "algorithms": 2, "data": 3, "models": 3, "rollout": 3,
          "rewards": 3, "evaluation": 3, "tracking": 3, "checkpoint": 3, "distributed": 3, "hardware": 3,
          "allocator": 2, "token_budget": 2, "trainers": 4, "reports": 4,
          "explore": 4, "pointwise": 4, "teacher": 4, "judges": 3, "compare": 5,
          "selfcheck": 5, "registry": 5, "parts": 5, "run": 5, "dry_run": 5, "export": 5, "library": 5, "in_memory": 5,
          "help_text": 5, "cli": 5}  # fmt: skip
BETWEEN_FLOOR_3 = {
    "rollout": {"models", "data", "hardware", "distributed"},
    "rewards": {"models", "data", "hardware", "distributed"},
    "judges": {"models", "data", "rewards", "tracking", "hardware", "distributed"},
    "evaluation": {"models", "data", "rollout", "rewards", "judges", "tracking", "hardware", "distributed"},
    "data": {"distributed"},
    "models": {"hardware", "distributed"},
    "tracking": {"distributed"},
    "checkpoint": {"distributed", "tracking"},
    "hardware": set(),
    "distributed": set(),
}


def imports():
    """(importing part, imported part, where) for every import of rlhf inside rlhf."""
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith("rlhf."):
                    yield part, name.split(".")[1], path.relative_to(PACKAGE)


def test_every_part_has_a_floor():
    parts = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert parts - {"__init__"} == set(FLOORS)


def test_imports_go_down_only():
    for part, imported, where in imports():
        if part == imported:
            continue
        assert FLOORS[imported] <= FLOORS[part], f"{where}: {part} (floor {FLOORS[part]}) imports {imported}"
        if FLOORS[part] == FLOORS[imported] == 3:
            assert imported in BETWEEN_FLOOR_3[part], f"{where}: {part} imports {imported}"
        if part in ("algorithms", "reports"):
            assert imported in ({"types"} if part == "algorithms" else {"errors", "exhibits"}), (
                f"{where}: {part} imports {imported}"
            )


def test_configuration_and_reports_need_no_torch():
    code = (
        "import sys; from rlhf.config.compose import compose; compose(['stage=sft']); "
        "import rlhf.reports.build, rlhf.cli; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
