"""The sampler that asks vLLM."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerBase

from rlhf.config.sections import RolloutConfig
from rlhf.errors import ModelError
from rlhf.hardware import Hardware
from rlhf.models.architecture import max_positions, unwrap
from rlhf.rollout.native import PromptRenderer
from rlhf.rollout.random_numbers import sequence_key
from rlhf.rollout.stopping import StoppingRule
from rlhf.rollout.vllm.arguments import settings_for
from rlhf.rollout.vllm.backend import Backend, Completion, Delivery, Request, Sampling, ServerLost
from rlhf.rollout.vllm.canary import PROBE_TOKENS, Canary, probe_ids
from rlhf.rollout.vllm.http_backends import FoundServer, OwnServer
from rlhf.rollout.vllm.in_process import InProcess
from rlhf.rollout.vllm.sync import Exporter
from rlhf.types import FinishReason, Prompt, Rollout, SamplingDistribution

log = logging.getLogger(__name__)

Result = TypeVar("Result")
LOG_NAME = "vllm.log"


class VLLMSampler:
    """Samples from vLLM, which holds a copy of the policy's weights; implements `rlhf.types.Sampler`.

    `sample` may run in another thread than `update_weights`: each waits for the other, so that all answers of a call
    come from one set of weights. vLLM starts at the first of either call; `close` ends it.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        renderer: PromptRenderer,
        config: RolloutConfig,
        *,
        longest_prompt: int,
        seed: int,
        hardware: Hardware,
        folder: Path,
    ):
        """`longest_prompt`: tokens. `folder`: where vLLM's log goes, and weights where memory has no room."""
        self.config = config.vllm
        self.model, self.renderer, self.seed = model, renderer, seed
        self.apart = self.config.mode == "server"
        self.rule = StoppingRule(tokenizer, unwrap(model), config.stop, config.max_new_tokens)
        if getattr(renderer, "end_id", None) is not None:  # what ends a turn of the chat template
            self.rule.eos_ids.add(int(renderer.end_id))
        self.distribution = SamplingDistribution(config.temperature, config.top_k, config.top_p)
        self.sampling = Sampling(
            self.distribution,
            config.max_new_tokens,
            self.rule.stop,
            tuple(sorted(self.rule.eos_ids | self.rule.stop_ids)),
        )
        self.last_stats: dict[str, float] = {"generated_tokens": 0, "prompt_tokens": 0, "seconds": 0.0}
        limit = max_positions(model)
        context = max(longest_prompt + config.max_new_tokens, PROBE_TOKENS + 1)
        self.context = context if limit is None else min(context, limit)
        settings = settings_for(model, self.config, hardware, context=self.context)
        vocabulary = unwrap(model).config.get_text_config().vocab_size
        self.canary = Canary(
            model,
            probe_ids(tokenizer, vocabulary, self.context - 1),
            pad_token_id=tokenizer.pad_token_id,
            dtype=settings.dtype,
            tolerance=self.config.canary_tolerance,
        )
        self.backend: Backend
        if self.config.mode == "in_process":
            self.backend = InProcess(self.config, settings)
        elif self.config.url is not None:
            self.backend = FoundServer(self.config, settings, self.config.url)
        else:
            self.backend = OwnServer(self.config, settings, folder / LOG_NAME)
        self._export = lambda: Exporter(
            model,
            tokenizer,
            dtype=settings.dtype,
            adapter=settings.adapter_rank is not None,
            folder=self.config.sync_folder,
            spare=folder,
        )
        self._exporter: Exporter | None = None
        self._delivery: Delivery | None = None  # what vLLM has
        self._expected = np.zeros(0)  # what the trainer said of the probe then
        self._versions: list[int] = []  # of the weights then
        self._metrics: dict[str, float] = {}
        self._restarts, self._step = 0, 0
        self._lock = threading.RLock()

    def sample(self, prompts: Sequence[Prompt], num_samples: int, *, step: int) -> list[Rollout]:
        """`num_samples` answers to each prompt, prompt 0's first, from the weights of the last `update_weights`.

        The seeds depend on (seed, step, prompt id, sample) alone; a prompt that comes again counts its samples on.
        Raises ModelError for an empty prompt or one that is too long, and where vLLM is lost for good; TripwireError
        where the canary finds other weights.
        """
        with self._lock:
            start = time.perf_counter()
            prompt_ids = [tuple(self.renderer.prompt_ids(prompt)) for prompt in prompts]
            self._check_lengths(prompts, prompt_ids)
            self._step = step
            if self._delivery is None:
                self.update_weights()
            requests = self._requests(prompts, prompt_ids, num_samples, step)
            answers = self._safely(lambda: self.backend.generate(requests, self.sampling)) if requests else []
            self.backend.rest()
            rollouts = [
                self._rollout(prompt, ids, answer, sample)
                for prompt, ids, group in zip(prompts, prompt_ids, answers, strict=True)
                for sample, answer in enumerate(group)
            ]
            self.last_stats = {
                "generated_tokens": sum(len(rollout.answer_ids) for rollout in rollouts),
                "prompt_tokens": sum(map(len, prompt_ids)),
                "seconds": time.perf_counter() - start,
            }
            return rollouts

    def update_weights(self) -> None:
        """Deliver the policy's weights as they are now, and prove it. Raises ModelError, TripwireError."""
        with self._lock:
            start = time.perf_counter()
            expected, versions = self.canary.trainer_values(), [p._version for p in self.model.parameters()]
            if self._delivery is not None and versions == self._versions and np.array_equal(expected, self._expected):
                return  # nothing has changed since
            if self._exporter is None:
                self._exporter = self._export()
            delivery, first = self._exporter.export(), self._delivery is None
            self._delivery, self._expected, self._versions = delivery, expected, versions
            self._safely(lambda: self.backend.start(delivery) if first else self.backend.deliver(delivery))
            error = self._prove(f"sync {delivery.number}")
            self._exporter.keep_only(delivery)
            self._metrics = {"sampler/canary": error, "sampler/sync_s": time.perf_counter() - start}

    def metrics(self) -> dict[str, float]:
        """Of the last delivery: the canary's error, nats a token, and how long it took."""
        return dict(self._metrics)

    def close(self) -> None:
        """End vLLM where the run started it, and remove the weights that were written for it."""
        with self._lock:
            self.backend.close()
            if self._exporter is not None:
                self._exporter.close()
            self._exporter = self._delivery = None

    def _prove(self, what: str) -> float:
        said = self._safely(lambda: self.backend.probe(self.canary.ids))
        return self.canary.check(self._expected, said, f"{what} (step {self._step} was sampled last)")

    def _safely(self, call: Callable[[], Result]) -> Result:
        """`call()`, again with a server that has the weights once more where the server was lost meanwhile."""
        while True:
            try:
                return call()
            except ServerLost as lost:
                self._recover(lost)

    def _recover(self, lost: ServerLost) -> None:
        """Raises ModelError after rollout.vllm.max_restarts."""
        assert self._delivery is not None
        while True:
            self._restarts += 1
            if self._restarts > self.config.max_restarts:
                raise ModelError(
                    f"the vLLM server was lost {self._restarts} times (rollout.vllm.max_restarts="
                    f"{self.config.max_restarts}), the last time: {lost}{self.backend.last_words()}"
                ) from lost
            try:
                self.backend.recover(self._delivery, str(lost))
                self.canary.check(self._expected, self.backend.probe(self.canary.ids), "a restart of the server")
                return
            except ServerLost as again:
                lost = again

    def _requests(
        self, prompts: Sequence[Prompt], prompt_ids: Sequence[tuple[int, ...]], num_samples: int, step: int
    ) -> list[Request]:
        seen: Counter[str] = Counter()
        requests = []
        for prompt, ids in zip(prompts, prompt_ids, strict=True):
            first = num_samples * seen[prompt.id]
            seen[prompt.id] += 1
            key = sequence_key(self.seed, step, prompt.id, first)
            requests.append(Request(ids, num_samples, key >> 2))  # room for the samples' numbers in 63 bits
        return requests

    def _rollout(self, prompt: Prompt, prompt_ids: tuple[int, ...], answer: Completion, sample: int) -> Rollout:
        finish = self._finish(answer)
        return Rollout(
            prompt=prompt,
            prompt_ids=prompt_ids,
            answer_ids=answer.ids,
            logprobs=answer.logprobs,
            text=self.rule.text(answer.ids, finish),
            finish=finish,
            sample=sample,
        )

    def _finish(self, answer: Completion) -> FinishReason:
        """Why an answer ended, by the rule of all engines; a stop string that only vLLM saw is one too."""
        if not answer.ids or len(answer.ids) != len(answer.logprobs):
            raise ModelError(f"vLLM gave {len(answer.ids)} tokens and {len(answer.logprobs)} log-probs for an answer")
        finish = self.rule.finish(answer.ids)
        if finish is None and answer.ended_by == "stop" and self.rule.stop:
            return "stop"
        if finish is None:
            raise ModelError(
                f"vLLM ended an answer after {len(answer.ids)} of {self.rule.max_new_tokens} tokens ({answer.ended_by})"
            )
        return finish

    def _check_lengths(self, prompts: Sequence[Prompt], prompt_ids: Sequence[tuple[int, ...]]) -> None:
        for prompt, ids in zip(prompts, prompt_ids, strict=True):
            if not ids:
                raise ModelError(f"prompt {prompt.id!r} has no tokens: nothing to sample the first token from")
            if len(ids) + self.rule.max_new_tokens > self.context:
                raise ModelError(
                    f"prompt {prompt.id!r} has {len(ids)} tokens; with {self.rule.max_new_tokens} more "
                    f"(rollout.max_new_tokens) it exceeds the {self.context} tokens that vLLM was started for; lower "
                    "that or dataset.max_prompt_tokens"
                )
