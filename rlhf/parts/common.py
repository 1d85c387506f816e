"""What all parts of a run are made from."""

from __future__ import annotations

import logging
from typing import Any

from rlhf.config.run import RunConfig
from rlhf.hardware import Hardware, one_line, setup_hardware
from rlhf.tracking.run_directory import RunDirectory

log = logging.getLogger(__name__)


class CommonParts:
    """The configuration of one run, its directory, seed and machine."""

    def __init__(self, config: RunConfig, run_dir: RunDirectory) -> None:
        self.run_config, self.run_dir = config, run_dir
        self.seed = config.seed
        self.data_reports: dict[str, Any] = {}  # what was read, kept and dropped, by the name of the part
        self.hardware: Hardware = setup_hardware(config.hardware)
        log.info("%s", one_line(self.hardware))
