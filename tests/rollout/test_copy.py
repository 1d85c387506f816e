"""A copy of the policy answers as the policy does, follows it only when told, and is its own in everything else."""

from __future__ import annotations

import dataclasses
import threading
from types import SimpleNamespace

import pytest
import torch

from rlhf.config.compose import compose
from rlhf.errors import ConfigError
from rlhf.hardware import setup_hardware
from rlhf.models.lora import attach_lora
from rlhf.rollout.copy import CopySampler, copied
from rlhf.rollout.decoding import Interrupted
from tests.rollout.answers import PROMPTS, TextRenderer

CPU = torch.device("cpu")


@pytest.fixture
def copy_sampler(byte_tokenizer, rollout_config, hardware):
    """make(policy, **changes of the hardware) samples from a copy of it on the CPU."""

    def make(policy, new_tokens=12, **changes):
        there = dataclasses.replace(hardware, rollout_device=CPU, **changes)
        config = rollout_config(f"rollout.max_new_tokens={new_tokens}")
        return CopySampler(policy, byte_tokenizer, TextRenderer(), config, batch_size=64, seed=0, hardware=there)

    return make


def with_adapter(model, model_config):
    lora = model_config("model.lora.enabled=true", "model.lora.target_modules=all-linear").lora
    return attach_lora(model, lora, seed=0, task="CAUSAL_LM")


def moved(policy):
    """`policy` after something like an update: every weight that learns is another."""
    with torch.no_grad():
        for number, parameter in enumerate(p for p in policy.parameters() if p.requires_grad):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
            parameter.add_(0.3 * noise)
    return policy


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("family", "lora"), [("llama", False), ("qwen2", False), ("llama", True)])
def test_a_copy_on_the_same_device_answers_bit_for_bit(
    tiny_model, model_config, sampler, copy_sampler, hardware, family, lora, precision
):
    policy = tiny_model(family, spread=0.1)
    policy = with_adapter(policy, model_config) if lora else policy
    own = sampler(policy, hardware=dataclasses.replace(hardware, matmul_precision="medium", precision=precision))
    other = copy_sampler(policy, matmul_precision="medium", precision=precision)
    first = own.sample(PROMPTS, 3, step=1)
    assert other.sample(PROMPTS, 3, step=1) == first  # ids, log-probs and all
    moved(policy)
    assert other.sample(PROMPTS, 3, step=1) == first  # nobody has told it
    other.update_weights()
    second = own.sample(PROMPTS, 3, step=1)
    assert second != first and other.sample(PROMPTS, 3, step=1) == second


def test_only_what_learns_is_sent(tiny_model, model_config, copy_sampler):
    policy = with_adapter(tiny_model(), model_config)
    made = copy_sampler(policy)
    with torch.no_grad():
        policy.get_base_model().model.norm.weight.fill_(7.0)  # frozen: nobody expects it to move
    moved(policy)
    made.update_weights()
    assert not made.model.get_base_model().model.norm.weight.eq(7.0).any()
    theirs = dict(made.model.named_parameters())
    assert all(torch.equal(p, theirs[name]) for name, p in policy.named_parameters() if "lora_" in name)


def test_the_copy_shares_nothing_and_learns_nothing(tiny_model):
    policy = tiny_model().train()  # with tied embeddings
    policy(torch.tensor([[1, 2, 3]])).logits.sum().backward()
    other = copied(policy, CPU)
    assert other.lm_head.weight is other.get_input_embeddings().weight
    assert policy.training and not other.training and other.config is not policy.config
    storages = {p.untyped_storage().data_ptr() for p in [*policy.parameters(), *policy.buffers()]}
    for tensor in [*other.parameters(), *other.buffers()]:
        assert tensor.untyped_storage().data_ptr() not in storages
        assert not tensor.requires_grad and tensor.grad is None
    assert all(p.requires_grad and p.grad is not None for p in policy.parameters())


def test_sampling_in_a_thread_while_the_policy_learns_gives_the_same_answers(tiny_model, copy_sampler):
    policy = tiny_model().train()
    made = copy_sampler(policy)
    expected = made.sample(PROMPTS, 4, step=2)
    found = []
    thread = threading.Thread(target=lambda: found.append(made.sample(PROMPTS, 4, step=2)))
    thread.start()
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    while thread.is_alive():
        policy(torch.tensor([[1, 2, 3]])).logits.square().mean().backward()
        optimizer.step()
    thread.join()
    assert found == [expected]


def test_sampling_ends_when_it_is_interrupted(tiny_model, copy_sampler):
    made = copy_sampler(tiny_model())
    made.interrupted.set()
    with pytest.raises(Interrupted):
        made.sample(PROMPTS, 1, step=0)
    made.interrupted.clear()
    assert len(made.sample(PROMPTS, 1, step=0)) == 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["hardware.rollout_device=gpu"],
            "hardware.rollout_device must be null, cpu, cuda or cuda:<number>; got 'gpu'",
        ),
        (["rollout.ahead=true"], "set hardware.rollout_device"),
        (["rollout.ahead=true", "hardware.rollout_device=cpu"], "set it to token_truncate, sequence_mask or icepop"),
        (["stage=dpo", "rollout.ahead=true", "hardware.rollout_device=cpu"], "set it to false for stage=dpo"),
        (
            ["hardware.rollout_device=cpu", "rollout=vllm", "rollout.vllm.url=http://127.0.0.1:8000"],
            "set hardware.rollout_device=null, or use rollout=native",
        ),
    ],
)
def test_what_cannot_be_is_refused(overrides, said):
    stage = [] if overrides[0].startswith("stage=") else ["stage=grpo", "reward=gold"]
    with pytest.raises(ConfigError) as caught:
        compose([*stage, "model=tiny", *overrides])
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_imitation_needs_no_correction():
    ahead = ["rollout.ahead=true", "hardware.rollout_device=cpu"]
    assert compose(["stage=expert_iteration", "reward=gold", *ahead]).rollout.ahead


def test_a_server_samples_ahead_without_a_copy():
    run = compose(["stage=grpo", "reward=gold", "rollout=vllm", "rollout.vllm.url=http://127.0.0.1:8000",
                   "rollout.ahead=true", "trainer.importance_correction=icepop"])  # fmt: skip
    assert run.rollout.ahead and run.hardware.rollout_device is None


def test_the_profile_of_two_gpus():
    run = compose(["stage=grpo", "reward=gold", "hardware=gpu_2x80gb", "rollout.ahead=true",
                   "trainer.importance_correction=token_truncate"])  # fmt: skip
    assert (run.hardware.device, run.hardware.rollout_device) == ("cuda", "cuda:1")


def test_a_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = SimpleNamespace(**vars(compose(["stage=sft", "hardware.rollout_device=cuda:1"]).hardware))
    with pytest.raises(ConfigError, match=r"rollout_device=cuda:1, but torch sees 0 CUDA devices"):
        setup_hardware(config)
