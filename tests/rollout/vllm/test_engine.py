"""The sampler that asks vLLM, on a double that holds a real model: answers, deliveries, the canary, crashes."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from rlhf.errors import ConfigError, ModelError, TripwireError
from rlhf.models.forward import PackedForward
from rlhf.models.lora import attach_lora
from rlhf.rollout.vllm.sync import untied_copy
from rlhf.types import Prompt, SamplingDistribution
from tests.rollout.answers import EOS, PROMPTS, ids_of, packed
from tests.rollout.vllm.double import CRASH_FILE

RELOAD = ["/collective_rpc", "/reset_prefix_cache", "/v1/completions"]


def learn(model, by=0.02, seed=0):
    """Move every weight that learns, as an optimiser does: in place, and the version of each counts up."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(by * torch.randn(p.shape, generator=generator))


def gap(model, rollouts, distribution=SamplingDistribution()):  # noqa: B008 - frozen
    """Largest |sampler - trainer| over all answer tokens, nats."""
    scores = PackedForward(model, pad_token_id=256)(packed(rollouts), distribution).logprobs
    rows = [scores[i, : len(r.logprobs)] - torch.tensor(r.logprobs) for i, r in enumerate(rollouts)]
    return max(row.abs().max().item() for row in rows)


def test_answers_are_those_of_the_policy_with_their_logprobs(found, tiny_model):
    model = tiny_model(seed=4)
    sampler, server = found("rollout.temperature=0.7", model=model)
    rollouts = sampler.sample(PROMPTS, 3, step=1)
    assert [(r.prompt.id, r.sample) for r in rollouts] == [(p.id, s) for p in PROMPTS for s in range(3)]
    assert gap(model, rollouts, SamplingDistribution(0.7)) < 1e-4
    asked = [body for path, body in server.asked if path == "/v1/completions" and "n" in body]
    assert [(body["n"], body["max_tokens"], body["repetition_penalty"]) for body in asked] == [(3, 12, 1.0)] * 3
    assert sampler.last_stats["generated_tokens"] == sum(len(r.answer_ids) for r in rollouts)
    assert sampler.last_stats["prompt_tokens"] == sum(len(p.text) for p in PROMPTS)
    assert 0 <= sampler.metrics()["sampler/canary"] < 1e-4


def test_an_answer_depends_on_seed_step_prompt_and_sample_alone(found, tiny_model):
    model = tiny_model(seed=4)
    one, _ = found(model=model, seed=5)
    first = one.sample(PROMPTS, 2, step=7)
    assert ids_of(first) == ids_of(one.sample(PROMPTS, 2, step=7))
    assert ids_of(first[2:4]) == ids_of(one.sample([PROMPTS[1]], 2, step=7))
    assert ids_of(first) != ids_of(one.sample(PROMPTS, 2, step=8))
    twice = one.sample([PROMPTS[0], PROMPTS[0]], 2, step=7)
    assert ids_of(twice[:2]) == ids_of(first[:2]) and len(set(ids_of(twice))) == 4
    other, _ = found(model=model, seed=6)
    assert ids_of(first) != ids_of(other.sample(PROMPTS, 2, step=7))


def test_eos_stop_and_length_are_told_apart(found, tiny_model):
    model = tiny_model(tie_word_embeddings=False, spread=0.02)
    with torch.no_grad():
        model.model.embed_tokens.weight[:] = torch.randn(32)  # every row of tokens has the same states
        hidden = model.model(torch.tensor([[0]])).last_hidden_state[0, 0]
        for token in (ord("x"), ord("y"), EOS):
            model.lm_head.weight[token] += 30 * hidden / hidden.norm() ** 2
    sampler, _ = found("rollout.max_new_tokens=4", "rollout.stop=[xy]", model=model)
    rollouts = sampler.sample(PROMPTS, 30, step=0)
    assert {r.finish for r in rollouts} == {"eos", "stop", "length"}
    for r in rollouts:
        raw = bytes(i for i in r.answer_ids if i < 256).decode(errors="replace")
        if r.finish == "eos":
            assert r.answer_ids[-1] == EOS and r.answer_ids.count(EOS) == 1 and r.text == raw
        elif r.finish == "stop":
            assert raw.endswith("xy") and r.text == raw[:-2]
        else:
            assert len(r.answer_ids) == 4 and EOS not in r.answer_ids and "xy" not in raw


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_every_update_is_delivered_and_only_updates(found, tiny_model, family):
    model = tiny_model(family)
    sampler, server = found(model=model)
    sampler.update_weights()
    assert server.paths() == ["/v1/models", *RELOAD]
    sampler.update_weights()  # nothing has changed
    assert server.paths() == ["/v1/models", *RELOAD]
    learn(model)
    sampler.update_weights()
    assert server.paths() == ["/v1/models", *RELOAD, *RELOAD]
    assert sampler.metrics()["sampler/canary"] < 1e-4 and gap(model, sampler.sample(PROMPTS, 1, step=0)) < 1e-3


def test_a_tied_head_is_delivered_beside_the_embedding(sampler, found, tiny_model):
    """What is written has a head of its own; one file a delivery is kept, and none after the end."""
    model = tiny_model()
    assert model.config.tie_word_embeddings
    made, server = found(model=model)
    made.update_weights()
    assert not server.model.config.tie_word_embeddings
    assert torch.equal(server.model.lm_head.weight, model.lm_head.weight)
    learn(model)
    made.update_weights()
    root = Path(made._exporter.root)
    assert [p.name for p in root.iterdir()] == ["update-000002"] and model.config.tie_word_embeddings
    made.close()
    assert not root.exists()


@pytest.mark.parametrize("fault", ["deaf", "tied"])
def test_a_delivery_that_fails_silently_stops_the_run(found, tiny_model, fault):
    model = tiny_model()
    sampler, server = found(model=model)
    sampler.update_weights()
    server.fault = fault
    learn(model, by=0.01)
    with pytest.raises(TripwireError, match=r"canary: after sync 2 .* nats a token, the trainer "):
        sampler.update_weights()


def test_a_server_with_other_weights_is_found_at_once(found):
    sampler, _ = found(fault="deaf")
    with pytest.raises(TripwireError, match=r"canary: after sync 1 .* more than 0.001"):
        sampler.sample(PROMPTS, 1, step=3)


def test_keys_and_values_of_older_weights_are_refused(found, monkeypatch):
    monkeypatch.setattr("rlhf.rollout.vllm.client.CACHE_RESET_S", 0.2)
    sampler, _ = found(fault="full")
    with pytest.raises(ModelError, match="keeps keys and values of older weights"):
        sampler.update_weights()


def test_a_server_too_old_or_too_short_is_refused_by_name(found):
    with pytest.raises(ModelError, match=r"reads 20 tokens a row, and this run needs 49 .*--max-model-len 49"):
        found(context=20)[0].update_weights()
    with pytest.raises(ModelError, match="no token ids with log-probs"):
        found(fault="terse")[0].sample(PROMPTS, 1, step=0)


def test_a_server_that_comes_back_gets_the_weights_again(found, tiny_model):
    model = tiny_model()
    sampler, server = found(model=model)
    before = sampler.sample(PROMPTS, 2, step=1)
    server.asked.clear()
    server.model = tiny_model(seed=50, tie_word_embeddings=False)  # started again, with other weights
    server.down = 2
    assert ids_of(sampler.sample(PROMPTS, 2, step=1)) == ids_of(before)
    assert "/collective_rpc" in server.paths()


def test_nobody_at_the_address_is_refused_by_name(sampler):
    at = "rollout.vllm.url=http://127.0.0.1:9"
    made = sampler("rollout.vllm.python=null", at, "rollout.vllm.startup_timeout_s=0.5")
    with pytest.raises(ModelError, match=f"no vLLM server answered at {at} within 0.5 s"):
        made.update_weights()


def test_an_adapter_alone_is_delivered(found, tiny_model, model_config, tmp_path):
    lora = model_config("model.lora.enabled=true", "model.lora.rank=4").lora
    model = attach_lora(tiny_model(), lora, seed=0, task="CAUSAL_LM")
    sampler, server = found("rollout.vllm.sync=adapter", model=model)
    untied_copy(model, torch.float32, merged=False).save_pretrained(tmp_path / "base")  # from which it is started
    server.model = type(server.model).from_pretrained(tmp_path / "base")
    for number in (1, 2):
        learn(model, seed=number)
        sampler.update_weights()
        assert len(server.adapters) == 1 and gap(model, sampler.sample(PROMPTS, 1, step=number)) < 1e-4
    assert "/collective_rpc" not in server.paths()
    assert sorted(p.name for p in sampler._exporter.root.iterdir()) == ["adapter-000002", "base"]


def test_the_whole_weights_of_a_lora_are_merged(found, tiny_model, model_config):
    model = attach_lora(tiny_model(), model_config("model.lora.enabled=true").lora, seed=0, task="CAUSAL_LM")
    sampler, _ = found(model=model)
    learn(model)
    assert gap(model, sampler.sample(PROMPTS, 2, step=0)) < 1e-4


def test_prompts_that_cannot_be_answered_are_named(found):
    sampler, _ = found()
    with pytest.raises(ModelError, match="prompt 'e' has no tokens"):
        sampler.sample([Prompt("e", text="")], 1, step=0)
    with pytest.raises(ModelError, match=r"prompt 'l' has 60 tokens; with 12 more .* exceeds the 49 tokens"):
        sampler.sample([Prompt("l", text="x" * 60)], 1, step=0)


def test_a_call_from_another_thread_comes_from_one_set_of_weights(found, tiny_model):
    """update_weights waits for the sampling that is under way."""
    model = tiny_model()
    sampler, server = found(model=model)
    expected = ids_of(sampler.sample(PROMPTS, 2, step=1))
    slow = server.complete
    server.complete = lambda body: (time.sleep(0.1), slow(body))[1]
    got = []
    thread = threading.Thread(target=lambda: got.append(ids_of(sampler.sample(PROMPTS, 2, step=1))))
    thread.start()
    while not any(path == "/v1/completions" and "n" in body for path, body in server.asked[-2:]):
        time.sleep(0.01)
    learn(model)
    sampler.update_weights()
    assert not thread.is_alive() or not thread.join(5)
    assert got == [expected] and ids_of(sampler.sample(PROMPTS, 2, step=1)) != expected


def test_a_server_of_the_run_is_started_and_stopped(sampler, tiny_model, tmp_path):
    model = tiny_model()
    made = sampler(model=model)
    rollouts = made.sample(PROMPTS, 2, step=0)
    assert gap(model, rollouts) < 1e-4
    learn(model)
    made.update_weights()
    assert gap(model, made.sample(PROMPTS, 2, step=1)) < 1e-4
    watcher, client = made.backend._server._watcher, made.backend.client
    made.close()
    assert watcher.poll() is not None and not client.healthy() and (tmp_path / "vllm.log").exists()


def test_a_server_that_crashes_is_started_again_and_the_call_redone(sampler, tiny_model, tmp_path, monkeypatch, caplog):
    crash = tmp_path / "crash"
    monkeypatch.setenv(CRASH_FILE, str(crash))
    made = sampler(model=tiny_model())
    before = made.sample(PROMPTS, 2, step=1)
    crash.touch()
    with caplog.at_level("WARNING"):
        assert ids_of(made.sample(PROMPTS, 2, step=1)) == ids_of(before)
    assert "the vLLM server was lost (" in caplog.text and "starting it again" in caplog.text


def test_too_many_crashes_end_the_run(sampler, tiny_model, tmp_path, monkeypatch):
    crash = tmp_path / "crash"
    monkeypatch.setenv(CRASH_FILE, str(crash))
    made = sampler("rollout.vllm.max_restarts=0", model=tiny_model())
    made.update_weights()
    crash.touch()
    with pytest.raises(ModelError, match=r"the vLLM server was lost 1 times \(rollout.vllm.max_restarts=0\)"):
        made.sample(PROMPTS, 1, step=0)


def test_a_server_that_cannot_start_says_why(sampler, tmp_path):
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho 'ValueError: no such device'; exit 4\n")
    program.chmod(0o755)
    with pytest.raises(ModelError, match=r"not start: it ended with status 4: ValueError: no such device; its log is"):
        sampler(f"rollout.vllm.python={program}").update_weights()


def test_an_interpreter_without_vllm_is_named(sampler, tmp_path):
    with pytest.raises(ConfigError, match=f"rollout.vllm.python={sys.executable} has no package vllm"):
        sampler(f"rollout.vllm.python={sys.executable}").update_weights()
    with pytest.raises(ConfigError, match=r"rollout.vllm.python=/no/python is no program"):
        sampler("rollout.vllm.python=/no/python")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_behind_by_a_process_that_is_killed(tmp_path, number):
    """A process starts a server through the watcher and is killed: server and folder go with it."""
    folder = tmp_path / "weights"
    folder.mkdir()
    said = tmp_path / "pid"
    child = os.fork()
    if child == 0:
        from rlhf.rollout.vllm.server import start_watcher

        start_watcher(["sh", "-c", f"echo $$ > {said}; exec sleep 60"], folder)
        time.sleep(60)
        os._exit(0)
    wait_for(lambda: said.exists() and said.read_text().strip())
    server = int(said.read_text())
    os.kill(child, number)
    os.waitpid(child, 0)
    wait_for(lambda: not Path(f"/proc/{server}").exists() and not folder.exists())


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)


def test_bf16_weights_have_a_tolerance_of_their_own(found, hardware):
    made, _ = found("rollout.vllm.dtype=bfloat16")
    assert made.canary.tolerance == 0.15
    made, _ = found(hardware=dataclasses.replace(hardware, precision="bf16"))
    assert made.canary.tolerance == 0.15 and found()[0].canary.tolerance == 1e-3
