"""Tokens a second of the native engine and of vLLM on the same prompts, in fp32 and bf16, side by side.

    python benchmarks/rollout_engines.py --vllm-python /opt/vllm/bin/python
    python benchmarks/rollout_engines.py --vllm-python /opt/vllm/bin/python --prompts 64 --answers 1 --threads 2

The engines take turns, so that a machine that drifts slows both; medians are over the rounds after a first one that
warms up. Both sample from the same weights; the canary's error of vLLM stands beside.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from rlhf.config.compose import compose
from rlhf.data.loading import load_prompts
from rlhf.data.rendering import Renderer
from rlhf.data.splits import SPLIT_SEED
from rlhf.hardware import setup_hardware
from rlhf.models.loading import load_causal_lm, load_tokenizer
from rlhf.rollout.native import NativeSampler
from rlhf.rollout.vllm.engine import VLLMSampler

PRECISIONS = {"fp32": "cpu", "bf16": "cpu_bf16"}


def main() -> None:
    """Print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--vllm-python", required=True, help="the interpreter that has vllm")
    options.add_argument("--prompts", type=int, default=8)
    options.add_argument("--answers", type=int, default=8, help="to each prompt")
    options.add_argument("--tokens", type=int, default=64, help="at most, of each answer")
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--threads", type=int, default=os.cpu_count())
    options.add_argument("--eager", action="store_true", help="vLLM without compilation")
    given = options.parse_args()
    print(f"{given.prompts} prompts x {given.answers} answers x {given.tokens} tokens at most, {given.threads} threads")
    print("| precision | native tok/s | vLLM tok/s | vLLM / native | canary, nats a token | sync, s | load average |")
    print("|---|---|---|---|---|---|---|")
    for precision, hardware in PRECISIONS.items():
        print(line_of(precision, hardware, given), flush=True)


def line_of(precision: str, hardware_option: str, given: argparse.Namespace) -> str:
    """One row of the table."""
    engine = ["rollout=vllm", f"rollout.vllm.python={given.vllm_python}", f"rollout.max_new_tokens={given.tokens}"]
    words = ["rollout.vllm.arguments=[--enforce-eager]"] if given.eager else []
    machine = [f"hardware={hardware_option}", f"hardware.threads={given.threads}"]
    run = compose(["stage=grpo", "reward=gold", *engine, *words, *machine])
    hardware = setup_hardware(run.hardware)
    tokenizer, policy = load_tokenizer(run.model), load_causal_lm(run.model, hardware, seed=0)
    renderer = Renderer(tokenizer, run.dataset)
    prompts = load_prompts(run.dataset, "train", renderer, seed=SPLIT_SEED).examples[: given.prompts]
    with tempfile.TemporaryDirectory() as folder:
        vllm = VLLMSampler(
            policy, tokenizer, renderer, run.rollout, longest_prompt=run.dataset.max_prompt_tokens,
            seed=0, hardware=hardware, folder=Path(folder),
        )  # fmt: skip
        native = NativeSampler(policy, tokenizer, renderer, run.rollout, batch_size="auto", seed=0, hardware=hardware)
        try:
            vllm.update_weights()
            speeds = {"native": [], "vllm": []}
            for step in range(given.rounds + 1):
                for name, sampler in (("native", native), ("vllm", vllm)):
                    began = time.perf_counter()
                    rollouts = sampler.sample(prompts, given.answers, step=step)
                    tokens = sum(len(rollout.answer_ids) for rollout in rollouts)
                    speeds[name].append(tokens / (time.perf_counter() - began))
            sync = sync_seconds(vllm, policy)
        finally:
            vllm.close()
    ours, theirs = (statistics.median(speeds[name][1:]) for name in ("native", "vllm"))
    load = os.getloadavg()[0]
    canary = vllm.metrics()["sampler/canary"]
    return f"| {precision} | {ours:.0f} | {theirs:.0f} | {theirs / ours:.2f} | {canary:.1e} | {sync:.1f} | {load:.1f} |"


def sync_seconds(vllm: VLLMSampler, policy) -> float:
    """Of one delivery to the running server."""
    for parameter in policy.parameters():
        parameter.detach().mul_(1.0 + 1e-6)
    vllm.update_weights()
    return vllm.metrics()["sampler/sync_s"]


if __name__ == "__main__":
    main()
