"""The sampler that needs nothing but the policy itself: it draws answers in this process, from the live weights."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from rlhf.config.sections import RolloutConfig
from rlhf.errors import ModelError
from rlhf.hardware import Hardware
from rlhf.models.architecture import evaluation_mode, max_positions, unwrap
from rlhf.models.packing_support import sliding_window
from rlhf.rollout.batch_size import rows_that_fit
from rlhf.rollout.decoding import Answer, Decoder, Engine
from rlhf.rollout.decoding_support import why_not_packed
from rlhf.rollout.packed_engine import PackedEngine
from rlhf.rollout.padded_engine import PaddedEngine
from rlhf.rollout.random_numbers import sequence_key
from rlhf.rollout.stopping import StoppingRule
from rlhf.rollout.weights import sampling_weights
from rlhf.token_budget import AUTO
from rlhf.types import Prompt, Rollout, SamplingDistribution

logger = logging.getLogger(__name__)


class PromptRenderer(Protocol):
    """What the sampler needs of rlhf.data.rendering.Renderer."""

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """The prompt as tokens, up to where the answer begins."""
        ...


class NativeSampler:
    """Samples from a live transformers model; implements `rlhf.types.Sampler`."""

    apart = False
    """Whether `sample` may be under way while the policy learns: not from the policy's own weights."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        renderer: PromptRenderer,
        config: RolloutConfig,
        *,
        batch_size: int | str,
        seed: int,
        hardware: Hardware,
    ):
        """`batch_size` bounds the answers in flight, auto by what fits: speed and memory change, not the answers."""
        self.model = model
        self.renderer = renderer
        self.batch_size = batch_size
        self.seed = seed
        self.hardware = hardware
        self.distribution = SamplingDistribution(config.temperature, config.top_k, config.top_p)
        self.rule = StoppingRule(tokenizer, unwrap(model), config.stop, config.max_new_tokens)
        if getattr(renderer, "end_id", None) is not None:  # what ends a turn of the chat template
            self.rule.eos_ids.add(int(renderer.end_id))
        self.last_stats: dict[str, float] = {"generated_tokens": 0, "prompt_tokens": 0, "seconds": 0.0}
        self.interrupted = threading.Event()  # set by another thread: `sample` ends with Interrupted at the next token
        self._pad_token_id = tokenizer.pad_token_id or 0
        self._fitting: int | None = None  # answers at once, after more ran out of memory
        self._padded = why_not_packed(model)
        if self._padded:
            logger.info("%s decodes padded rows, which takes more time: %s", type(unwrap(model)).__name__, self._padded)

    def sample(self, prompts: Sequence[Prompt], num_samples: int, *, step: int) -> list[Rollout]:
        """`num_samples` answers to each prompt, prompt 0's first. Each depends on (seed, step, prompt id, sample)
        and the weights alone; a prompt that comes again counts its samples on.

        Raises ModelError for an empty prompt, or one whose longest answer would not fit the model's context.
        """
        start = time.perf_counter()
        prompt_ids = [tuple(self.renderer.prompt_ids(prompt)) for prompt in prompts]
        self._check_lengths(prompts, prompt_ids)
        answers = self._answers(prompts, num_samples, step)
        by_length = sorted(answers, key=lambda answer: -len(prompt_ids[answer.prompt]))  # stable: groups stay together
        with self._sampling():
            self._decode(prompt_ids, by_length)
        self.last_stats = {
            "generated_tokens": sum(len(answer.ids) for answer in answers),
            "prompt_tokens": sum(len(ids) for ids in prompt_ids),
            "seconds": time.perf_counter() - start,
        }
        return [
            self._rollout(prompts[answer.prompt], prompt_ids[answer.prompt], answer, index % num_samples)
            for index, answer in enumerate(answers)
        ]

    def _decode(self, prompt_ids: list[tuple[int, ...]], answers: Sequence[Answer]) -> None:
        """Sample every answer to its end; out of memory, those that had not ended begin again, half as many at once."""
        rows = self._rows(prompt_ids)
        while True:
            with contextlib.suppress(torch.OutOfMemoryError):  # its traceback, which holds the tensors, goes with it
                engine, stopped = self._engine(prompt_ids), self.interrupted.is_set
                Decoder(engine, self.rule, self.distribution, rows, stopped).decode(prompt_ids, answers)
                return
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if rows == 1:
                raise ModelError(
                    "out of memory while sampling one answer at a time; lower rollout.max_new_tokens, "
                    "dataset.max_prompt_tokens or hardware.tokens_per_microbatch"
                )
            answers = [answer for answer in answers if answer.finish is None]
            for answer in answers:
                answer.ids.clear()
                answer.logprobs.clear()
            rows = self._fitting = max(1, min(rows, len(answers)) // 2)
            logger.warning("out of memory while sampling: going on with %d answers at once", rows)

    def _rows(self, prompt_ids: list[tuple[int, ...]]) -> int:
        """Answers at once: as configured or found, and no more than have been seen to fit."""
        if self.batch_size == AUTO:
            longest = max(map(len, prompt_ids), default=0)
            rows = rows_that_fit(self.model, longest, self.rule.max_new_tokens, self.hardware.device)
        else:
            rows = int(self.batch_size)
        return rows if self._fitting is None else min(rows, self._fitting)

    def _answers(self, prompts: Sequence[Prompt], num_samples: int, step: int) -> list[Answer]:
        seen: Counter[str] = Counter()
        answers = []
        for number, prompt in enumerate(prompts):
            first = num_samples * seen[prompt.id]
            seen[prompt.id] += 1
            keys = [sequence_key(self.seed, step, prompt.id, first + sample) for sample in range(num_samples)]
            answers += [Answer(number, key) for key in keys]
        return answers

    def _engine(self, prompts: Sequence[Sequence[int]]) -> Engine:
        window = sliding_window(self.model)
        longest = max(map(len, prompts), default=0) + self.rule.max_new_tokens
        if self._padded or (window is not None and longest > window):
            return PaddedEngine(unwrap(self.model), self._pad_token_id)
        return PackedEngine(self.model, prefill_tokens=self.hardware.budget.tokens)

    def update_weights(self) -> None:
        """Nothing to do: the next call samples from the weights as they are."""

    @contextlib.contextmanager
    def _sampling(self) -> Iterator[None]:
        """The model in eval mode, without gradient, in the precision of the hardware and set up for single tokens."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(evaluation_mode(self.model))
            stack.enter_context(self.hardware.autocast())
            stack.enter_context(sampling_weights(self.model, self.hardware))
            yield

    def _rollout(self, prompt: Prompt, prompt_ids: tuple[int, ...], answer: Answer, sample: int) -> Rollout:
        return Rollout(
            prompt=prompt,
            prompt_ids=prompt_ids,
            answer_ids=tuple(answer.ids),
            logprobs=tuple(answer.logprobs),
            text=self.rule.text(answer.ids, answer.finish),
            finish=answer.finish,
            sample=sample,
        )

    def _check_lengths(self, prompts: Sequence[Prompt], prompt_ids: list[tuple[int, ...]]) -> None:
        limit = max_positions(self.model)
        for prompt, ids in zip(prompts, prompt_ids, strict=True):
            if not ids:
                raise ModelError(f"prompt {prompt.id!r} has no tokens: nothing to sample the first token from")
            if limit is not None and len(ids) + self.rule.max_new_tokens > limit:
                raise ModelError(
                    f"prompt {prompt.id!r} has {len(ids)} tokens; with {self.rule.max_new_tokens} more "
                    f"(rollout.max_new_tokens) it exceeds the model's context of {limit}; lower that or "
                    "dataset.max_prompt_tokens"
                )
