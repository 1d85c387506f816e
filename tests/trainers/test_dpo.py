import io
import math
from dataclasses import replace

import pytest
import torch

from rlhf.checkpoint import Checkpointer
from rlhf.config.compose import compose
from rlhf.config.dpo import LOSSES
from rlhf.config.sections import CheckpointConfig
from rlhf.dry_run.page import show
from rlhf.errors import ConfigError
from rlhf.models.forward import PackedForward
from rlhf.models.reference import make_reference
from rlhf.trainers.control import TrainingControl
from rlhf.trainers.dpo import DPOTrainer
from rlhf.trainers.reference_sync import ReferenceSync
from rlhf.types import PackedBatch

MIXTURE = "trainer.loss={sigmoid: 0.5, bco_pair: 0.3, aot: 0.2, sft: 0.1}"
NEEDS = {"exo_pair": ["trainer.label_smoothing=0.01"]}
FAST = ("trainer.learning_rate=1e-3", "trainer.batch_size=6")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def trainer(parts, hardware, **more):
    forward = PackedForward(parts.model, pad_token_id=parts.tokenizer.pad_token_id)
    reference = make_reference(forward) if parts.config.needs_reference else None
    return DPOTrainer(
        parts.config,
        policy=parts.model,
        tokenizer=parts.tokenizer,
        **{"pairs": parts.pairs, "reference": reference, "hardware": hardware, **more},
    )


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Lines:
    """A control's sink that keeps the metrics of every step."""

    def __init__(self):
        self.steps = []

    def log(self, step, metrics):
        self.steps.append(metrics)

    def samples(self, step, rows):
        pass

    def held_out(self, step, rows):
        pass

    def message(self, text):
        pass


@pytest.mark.parametrize("lora", ["false", "true"])
def test_the_first_step_starts_at_log_2(tiny, hardware, lora):
    parts = tiny("dpo", "trainer.num_steps=1", f"model.lora.enabled={lora}", *FAST)
    metrics = trainer(parts, hardware).train()
    assert metrics["loss/total"] == pytest.approx(math.log(2), abs=1e-6)
    assert metrics["reward/accuracy"] == 0.5 and metrics["reward/margin"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["budget/trained_tokens"] == sum(len(c.ids) for i in trainer(parts, hardware).order.batch(0)
                                                   for c in parts.pairs.groups[i].continuations)  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
def test_two_steps_of_every_loss_do_not_depend_on_the_micro_batches(tiny, hardware, loss):
    def trained(budget):
        options = (f"trainer.loss={loss}", "trainer.num_steps=2", *NEEDS.get(loss, ()), *FAST)
        parts = tiny("dpo", *options, "trainer.nll_coef=0.1", "trainer.ld_alpha=0.5")
        parts.model.double()
        before = weights_of(parts.model)
        metrics = trainer(parts, replace(hardware, tokens_per_microbatch=budget)).train()
        after = weights_of(parts.model)
        assert math.isfinite(metrics["loss/total"]) and not torch.equal(before, after)
        return after, metrics

    (cut, some), (whole, same) = trained(60), trained(4096)
    torch.testing.assert_close(cut, whole)
    for name in ("loss/total", "reward/margin", "reward/chosen", "policy/logp_rejected", "policy/grad_norm"):
        assert some[name] == pytest.approx(same[name], rel=1e-7, abs=1e-9), name


def test_two_passes_give_the_gradient_of_one(tiny, hardware):
    def trained(two_passes):
        loss = "trainer.loss={ipo: 0.5, orpo: 0.3, sft: 0.1}"
        parts = tiny("dpo", loss, "trainer.num_steps=2", "trainer.nll_coef=0.1", "trainer.ld_alpha=0.5", *FAST)
        parts.model.double()
        made = trainer(parts, replace(hardware, tokens_per_microbatch=60))
        made.compares_pairs = two_passes
        return made.train(), weights_of(parts.model)

    (one, once), (two, twice) = trained(False), trained(True)
    torch.testing.assert_close(once, twice)
    assert one["loss/total"] == pytest.approx(two["loss/total"], rel=1e-9)


def test_sorting_needs_the_first_pass(tiny, hardware):
    """The test of the cut above can fail: micro-batch by micro-batch aot is another loss."""

    def trained(budget):
        parts = tiny("dpo", "trainer.loss=aot", "trainer.num_steps=3", "trainer.beta=1", *FAST)
        parts.model.double()
        made = trainer(parts, replace(hardware, tokens_per_microbatch=budget))
        made.compares_pairs = False
        made.train()
        return weights_of(parts.model)

    assert (trained(1) - trained(4096)).abs().max() > 1e-6


def test_bco_shifts_by_the_mean_of_all_rewards_so_far(tiny, hardware):
    parts = tiny("dpo", "trainer.loss=bco_pair", "trainer.num_steps=3", "trainer.beta=1", *FAST)
    control = TrainingControl()
    control.attach(lines := Lines())
    made = trainer(parts, hardware, control=control, eval_pairs=parts.pairs)
    made.train()
    seen = [(m["reward/chosen"] + m["reward/rejected"]) / 2 for m in lines.steps]
    assert made.reward_shift.count == 3 * 6 * 2
    assert made.reward_shift.mean == pytest.approx(sum(seen) / 3) and made.reward_shift.mean != 0
    made.evaluate()
    assert made.reward_shift.count == 3 * 6 * 2  # held-out pairs do not count


def test_sft_is_the_mean_over_the_step_s_chosen_tokens(tiny, hardware):
    parts = tiny("dpo", "trainer.loss=sft", "trainer.num_steps=1", "trainer.batch_size=8")
    made = trainer(parts, replace(hardware, tokens_per_microbatch=60))
    scores = made.forward(PackedBatch(parts.pairs.groups))
    chosen = scores.logprobs[::2].sum() / scores.mask[::2].sum()
    assert made.train()["loss/total"] == pytest.approx(-chosen.item(), rel=1e-5)


@pytest.mark.parametrize("loss", ["sigmoid", "simpo", "aot", "bco_pair"])
def test_it_learns_the_order(tiny, hardware, loss):
    options = (f"trainer.loss={loss}", "trainer.num_steps=15", "trainer.batch_size=8", "trainer.learning_rate=3e-3")
    parts = tiny("dpo", *options)
    made = trainer(parts, hardware, eval_pairs=parts.pairs)
    before = made.evaluate()
    made.train()
    after = made.evaluate()
    assert after["accuracy"] == 1.0 and after["margin"] > before["margin"] + 0.3 and after["loss"] < before["loss"]


def test_what_is_logged_is_what_the_models_say(tiny, hardware):
    parts = tiny("dpo", "trainer.num_steps=3", "trainer.batch_size=8", "trainer.learning_rate=3e-3", "trainer.beta=0.2")
    start = PackedForward(tiny("dpo").model, pad_token_id=parts.tokenizer.pad_token_id)
    made = trainer(parts, hardware, eval_pairs=parts.pairs)
    metrics = made.train()
    assert metrics["reward/margin"] == pytest.approx(metrics["reward/chosen"] - metrics["reward/rejected"])
    found = made.evaluate()
    ours, theirs = (
        f(PackedBatch(parts.pairs.groups)).logprobs.double().sum(dim=1).view(-1, 2).detach()
        for f in (made.forward, start)
    )
    rewards = 0.2 * (ours - theirs)
    margin = rewards[:, 0] - rewards[:, 1]
    assert found["policy_logp_chosen"] == pytest.approx(ours[:, 0].mean().item(), rel=1e-5)
    assert found["reward_rejected"] == pytest.approx(rewards[:, 1].mean().item(), rel=1e-3, abs=1e-4)
    assert found["margin"] == pytest.approx(margin.mean().item(), rel=1e-3, abs=1e-4)
    assert found["accuracy"] == (margin > 0).double().mean().item() and found["num_examples"] == 8
    assert found["loss"] == pytest.approx(torch.log1p(torch.exp(-margin)).mean().item(), rel=1e-4)


def test_a_precomputed_reference_is_the_reference(tiny, hardware, caplog):
    def trained(*more):
        parts = tiny("dpo", "trainer.num_steps=3", "trainer.ld_alpha=0.3", *FAST, *more)
        made = trainer(parts, hardware, eval_pairs=parts.pairs)
        made.train()
        return weights_of(parts.model), made.evaluate()

    with caplog.at_level("INFO", logger="rlhf"):
        live = trained()
        stored = trained("trainer.precompute_reference=true")
        again = trained("trainer.precompute_reference=true")
    torch.testing.assert_close(stored[0], live[0], rtol=1e-5, atol=1e-5)
    assert stored[1]["margin"] == pytest.approx(live[1]["margin"], abs=1e-4)
    assert torch.equal(stored[0], again[0])
    assert (
        caplog.text.count("computed, kept in") == 1 and caplog.text.count("read from") == 3
    )  # both splits are one set


def test_without_a_reference_log_probs_are_the_log_ratios(tiny, hardware):
    parts = tiny("dpo", "trainer.reference_free=true", "trainer.num_steps=1", "trainer.beta=0.01", *FAST)
    metrics = trainer(parts, hardware).train()
    assert metrics["reward/chosen"] == pytest.approx(0.01 * metrics["policy/logp_chosen"])


def test_simpo_s_reward_is_a_token_s(tiny, hardware):
    parts = tiny("dpo", "trainer.loss=simpo", "trainer.num_steps=1", "trainer.batch_size=8", "trainer.beta=2")
    made = trainer(parts, hardware)
    before = made.forward(PackedBatch(parts.pairs.groups))
    a_token = (before.logprobs.sum(dim=1) / before.mask.sum(dim=1)).view(-1, 2).detach()
    assert made.train()["reward/chosen"] == pytest.approx(2 * a_token[:, 0].mean().item(), rel=1e-5)


class TestSync:
    def test_a_hard_update_every_step_leaves_no_difference(self, tiny, hardware):
        options = ("trainer.sync_every=1", "trainer.sync_alpha=1", "trainer.num_steps=3")
        parts = tiny("dpo", *options, *FAST)
        control = TrainingControl()
        control.attach(lines := Lines())
        trainer(parts, hardware, control=control).train()
        assert [m["reward/margin"] for m in lines.steps] == pytest.approx([0.0] * 3, abs=1e-6)

    def test_a_soft_update_mixes_at_its_steps(self, tiny, hardware):
        parts = tiny("dpo", "trainer.sync_every=2", "trainer.sync_alpha=0.25", "trainer.num_steps=3", *FAST)
        start, seen = weights_of(parts.model), []
        made = trainer(parts, hardware)
        step = made.optimization.step
        made.optimization.step = lambda: (step(), seen.append(weights_of(parts.model)))[0]
        made.train()
        torch.testing.assert_close(weights_of(made.reference.model), 0.25 * seen[1] + 0.75 * start)

    def test_an_adapter_s_reference_cannot_move(self, tiny):
        parts = tiny("dpo", "model.lora.enabled=true")
        reference = make_reference(PackedForward(parts.model, pad_token_id=0))
        with pytest.raises(ConfigError, match=r"trainer.sync_every needs a reference with weights of its own"):
            ReferenceSync(parts.model, reference, every=1, share=0.5)


@pytest.mark.parametrize("option", [MIXTURE, "trainer.precompute_reference=true", "trainer.sync_every=1"])
def test_a_resumed_run_is_bit_by_bit_the_same(tiny, hardware, tmp_path, option):
    def run(folder, steps, resume=False):
        parts = tiny("dpo", option, "trainer.num_steps=4", "trainer.beta=1", *FAST)
        section = CheckpointConfig(every=2, keep=2, select_on=None, select_mode="max", after_training="keep")
        checkpointer = Checkpointer(tmp_path / folder, keep=2, select_on=None, select_mode="max")
        made = trainer(
            parts, hardware, control=TrainingControl(checkpoint=section, checkpointer=checkpointer, resume=resume)
        )
        made.num_steps = steps
        return made.train(), weights_of(parts.model)

    whole, expected = run("whole", 4)
    run("cut", 2)
    resumed, found = run("cut", 4, resume=True)
    assert torch.equal(found, expected)
    names = [n for n in whole if n.split("/")[0] in ("loss", "reward", "policy", "optimizer", "budget")]
    names.remove("budget/seconds")
    assert {n: resumed[n] for n in names} == {n: whole[n] for n in names}


def test_a_missing_reference_is_said(tiny, hardware):
    with pytest.raises(ConfigError, match=r"needs a reference"):
        trainer(tiny("dpo"), hardware, reference=None)


def page(*overrides):
    stream = io.StringIO()
    small = ("model=tiny", "dataset.limit=20", "dataset.eval_limit=6")
    show([compose(["stage=dpo", *small, *overrides, "dry_run=true"])], stream=stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("overrides", "words", "absent"),
    [
        ([], ["20 pairs", "2 of 16 pairs = 32 answers", "a frozen copy", "chosen", "rejected"], ["KV cache"]),
        (["trainer.loss=simpo"], ["none: computed beforehand, or not compared with"], ["KV cache"]),
        (["trainer.sample_prompts=4"], ["KV cache", "4 prompts x"], []),
        (["model.lora.enabled=true"], ["none: the weights without their adapter"], []),
    ],
)
def test_a_dry_run_shows_what_it_would_do(overrides, words, absent):
    found = page(*overrides)
    assert [w for w in words if w not in found] == [] and [w for w in absent if w in found] == []
