"""Libraries that chatter: their progress bars off, their warnings at a level that a person can read past."""

from __future__ import annotations

import os
import sys

_SETTINGS = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",  # tokenizing is over before anything forks
}


def quiet_libraries() -> None:
    """Errors only, and no progress bars, from transformers, datasets and huggingface_hub.

    Works through environment variables, so it costs no import; libraries already loaded are told directly. What the
    person set in the environment wins.
    """
    chosen = {name for name in _SETTINGS if name in os.environ}
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    hub, datasets = sys.modules.get("huggingface_hub"), sys.modules.get("datasets")
    if hub is not None and "HF_HUB_DISABLE_PROGRESS_BARS" not in chosen:
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()
    if "transformers" in sys.modules and "TRANSFORMERS_VERBOSITY" not in chosen:
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
    if datasets is not None and "HF_DATASETS_DISABLE_PROGRESS_BARS" not in chosen:
        from datasets.utils.logging import set_verbosity_error

        datasets.disable_progress_bars()
        set_verbosity_error()
