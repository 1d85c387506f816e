"""A tracking configuration that tests change as they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rlhf.config.sections import TrackingConfig
from rlhf.tracking.tracker import Tracker


def tracking_config(**changes: Any) -> TrackingConfig:
    values = {
        "console": "none", "wandb": False, "tensorboard": False, "mode": "offline", "project": "rlhf-tests",
        "entity": None, "group": None, "tags": [], "samples_per_step": 4,
    }  # fmt: skip
    return TrackingConfig(**values | changes)


@pytest.fixture
def make_tracker(tmp_path) -> Callable[..., Tracker]:
    """Trackers of one run directory: options of Tracker by name, the rest go to its configuration."""

    def make(**options: Any) -> Tracker:
        tracker = {
            "stage": "grpo",
            "name": "tiny",
            "config_plain": {"seed": 1},
            "num_steps": 5,
            "resumed_from_step": None,
        }
        chosen = {key: options.pop(key) for key in list(options) if key in tracker}
        return Tracker(tmp_path, tracking_config(**options), **tracker | chosen)

    return make
