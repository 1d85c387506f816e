"""TensorBoard event files in <run directory>/tensorboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf.errors import ConfigError
from rlhf.tracking.files import dump_json
from rlhf.tracking.images import pixels
from rlhf.tracking.run_directory import RunDirectory

MAX_SAMPLES = 4  # answers a step; all of them are in samples.jsonl


class TensorBoardBackend:
    """Scalars by their metric name, the first answers of a step and the configuration as text.

    On resume, events beyond `resumed_from_step` are marked as overwritten. Raises ConfigError without the package.
    """

    def __init__(
        self, run_dir: RunDirectory, config_plain: Mapping[str, Any], *, resumed_from_step: int | None
    ) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError("tracking.tensorboard=true needs its package: pip install tensorboard") from error
        purge = None if resumed_from_step is None else resumed_from_step + 1
        self._writer = SummaryWriter(log_dir=str(run_dir.path / "tensorboard"), purge_step=purge)
        if not purge:  # a new run, or one of which nothing is kept
            self._writer.add_text("config", _as_code(dump_json(config_plain, indent=2)), 0)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One scalar a metric."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def samples(self, step: int | None, rows: Sequence[Mapping[str, Any]]) -> None:
        """The first rows as text, shown as they are."""
        text = "\n\n".join(_as_code(dump_json(row, indent=2)) for row in rows[:MAX_SAMPLES])
        self._writer.add_text("samples", text, step or 0)

    def summary(self, values: Mapping[str, Any]) -> None:
        """The figures of the run as text."""
        self._writer.add_text("summary", _as_code(dump_json(values, indent=2)), 0)

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rows as text."""
        self._writer.add_text(name, "\n\n".join(_as_code(dump_json(row, indent=2)) for row in rows), 0)

    def figures(self, images: Mapping[str, bytes]) -> None:
        """One image a figure."""
        for name, png in images.items():
            self._writer.add_image(f"figures/{name}", pixels(png), 0, dataformats="HWC")

    def finish(self, status: str) -> None:
        """Write out and close."""
        self._writer.add_text("status", status, 0)
        self._writer.close()


def _as_code(text: str) -> str:
    """Indented, which Markdown shows as code: nothing in it is read as markup."""
    return "\n".join(f"    {line}" for line in text.splitlines())
