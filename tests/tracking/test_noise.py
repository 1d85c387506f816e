"""Libraries are told to be quiet, and what the person set stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import rlhf

ROOT = Path(rlhf.__file__).parents[1]


def run(program: str, **variables: str) -> str:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("TRANSFORMERS_", "DATASETS_", "HF_", "TOKENIZERS_"))
    }
    environment = kept | {"HF_HUB_OFFLINE": "1"} | variables
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_tracking_imports_neither_torch_nor_transformers_nor_wandb():
    program = (
        "import sys, rlhf.tracking.tracker, rlhf.tracking.status, rlhf.tracking.noise as n; n.quiet_libraries()\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'wandb') if m in sys.modules])"
    )
    assert run(program) == "[]"


def test_libraries_loaded_before_or_after_are_quiet():
    check = (
        "import transformers, datasets; from transformers.utils import logging as t\n"
        "from huggingface_hub.utils import are_progress_bars_disabled as hub\n"
        "print(t.get_verbosity() == t.ERROR, t.is_progress_bar_enabled(), hub(), datasets.are_progress_bars_disabled())"
    )
    quiet = "from rlhf.tracking.noise import quiet_libraries; quiet_libraries()"
    before = "import transformers, datasets, huggingface_hub"
    assert run(f"{quiet}\n{check}") == run(f"{before}\n{quiet}\n{check}") == "True False True True"


def test_what_the_person_set_wins():
    program = (
        "from rlhf.tracking.noise import quiet_libraries; quiet_libraries()\n"
        "from transformers.utils import logging as t; print(t.get_verbosity() == t.INFO)"
    )
    assert run(program, TRANSFORMERS_VERBOSITY="info") == "True"
