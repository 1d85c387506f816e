"""TensorBoard's own reader finds what was logged."""

from __future__ import annotations

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read(tmp_path) -> EventAccumulator:
    return EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def scalars(events: EventAccumulator, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(name)]


def texts(events: EventAccumulator, name: str) -> str:
    return "".join(event.tensor_proto.string_val[0].decode() for event in events.Tensors(f"{name}/text_summary"))


def test_scalars_samples_and_configuration_are_readable_back(make_tracker, tmp_path):
    with make_tracker(tensorboard=True, config_plain={"trainer": {"beta": 0.1}}) as tracker:
        for step in (1, 2, 3):
            tracker.log(step, {"reward/mean": step / 2, "loss/total": float("nan")})
            tracker.samples(step, [{"answer": f"<b>answer {step}</b>\n# not a heading"}])
        tracker.summary({"best": 1.5})
    events = read(tmp_path)
    assert scalars(events, "reward/mean") == [(1, 0.5), (2, 1.0), (3, 1.5)]
    assert events.Tags()["scalars"] == ["reward/mean"]
    assert "answer 3" in texts(events, "samples") and '"beta": 0.1' in texts(events, "config")
    assert all(line.startswith("    ") or not line for line in texts(events, "samples").split("\n"))
    assert texts(events, "status") == "completed" and "1.5" in texts(events, "summary")


def test_events_are_written_when_the_run_fails(make_tracker, tmp_path):
    with pytest.raises(ValueError, match="broken"), make_tracker(tensorboard=True) as tracker:
        tracker.log(1, {"reward/mean": 0.5})
        raise ValueError("broken")
    assert scalars(read(tmp_path), "reward/mean") == [(1, 0.5)]
    assert texts(read(tmp_path), "status") == "failed"


def test_a_resumed_run_replaces_the_steps_it_does_again(make_tracker, tmp_path):
    with make_tracker(tensorboard=True) as tracker:
        for step in (1, 2, 3, 4):
            tracker.log(step, {"reward/mean": 0.0})
    with make_tracker(tensorboard=True, resumed_from_step=2) as tracker:
        tracker.log(3, {"reward/mean": 1.0})
    assert scalars(read(tmp_path), "reward/mean") == [(1, 0.0), (2, 0.0), (3, 1.0)]
