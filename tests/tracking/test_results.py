"""Tables and figures of an evaluation: to every tracker, drawn only where there is one."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlhf.exhibits import Curve, Exhibits, Figure, Section
from rlhf.reports.build import figure_files
from rlhf.tracking.files import write_json_atomic
from rlhf.tracking.images import pixels
from tests.tracking.test_wandb_backend import offline_runs

ROWS = [{"model": "a", "accuracy": 0.5}, {"model": "b", "accuracy": None}]


def png(path) -> bytes:
    """Two rows of three pixels: red above, blue below."""
    pyplot.imsave(path / "flag.png", np.array([[[1.0, 0.0, 0.0]] * 3, [[0.0, 0.0, 1.0]] * 3]))
    return (path / "flag.png").read_bytes()


def test_pixels_are_those_of_the_file(tmp_path):
    found = pixels(png(tmp_path))
    assert found.shape == (2, 3, 3) and found.dtype == np.uint8
    assert found[0, 0].tolist() == [255, 0, 0] and found[1, 2].tolist() == [0, 0, 255]


def test_nothing_is_drawn_for_nobody(make_tracker):
    with make_tracker() as tracker:
        tracker.table("results", ROWS)
        tracker.figures(lambda: pytest.fail("drawn"))


def test_tensorboard_has_the_table_and_the_figures(make_tracker, tmp_path):
    with make_tracker(tensorboard=True) as tracker:
        tracker.table("results", ROWS)
        tracker.figures(lambda: {"flag": png(tmp_path)})
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"tensors": 0, "images": 0}).Reload()
    text = events.Tensors("results/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"accuracy": 0.5' in text and '"model": "b"' in text
    (image,) = events.Images("figures/flag")
    assert (image.height, image.width) == (2, 3)


def test_wandb_has_the_table_and_the_figures(make_tracker, tmp_path):
    with make_tracker(wandb=True) as tracker:
        tracker.table("results", ROWS)
        tracker.figures(lambda: {"flag": png(tmp_path)})
    (run,) = offline_runs(tmp_path)
    assert run.table("results") == ROWS
    (file,) = (run.folder / "files/media/images/figures").glob("flag_*.png")
    assert pixels(file.read_bytes())[0, 0].tolist() == [255, 0, 0]


def test_the_figures_of_a_run_are_those_of_its_report(make_tracker, tmp_path):
    with make_tracker() as tracker:
        tracker.summary({"suite": "generative_rm"})
    figure = Figure("accuracy", "Accuracy", "interval", [Curve("a", [None], [0.5], [0.4], [0.6])])
    write_json_atomic(tmp_path / "exhibits.json", Exhibits(sections=[Section("Results", figures=[figure])]).to_dict())
    (tmp_path / "status.json").write_text('{"state": "running", "stage": "eval"}')
    found = figure_files(tmp_path)
    assert list(found) == ["accuracy"] and pixels(found["accuracy"]).shape[2] == 3
