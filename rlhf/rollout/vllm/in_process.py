"""vLLM in the process that trains, on the same device."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from rlhf.config.vllm import VLLMConfig
from rlhf.errors import ModelError
from rlhf.rollout.vllm.arguments import EngineSettings
from rlhf.rollout.vllm.backend import Completion, Delivery, Request, Sampling

log = logging.getLogger(__name__)

ONE_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}


class InProcess:
    """Implements Backend; nothing is lost but with the run itself.

    On a GPU it can sleep while the policy learns: its weights go to the CPU's memory, keys and values are dropped."""

    def __init__(self, config: VLLMConfig, settings: EngineSettings) -> None:
        self.config, self.settings = config, settings
        self.sleeps = config.sleep and not settings.on_cpu
        self._llm: Any = None
        self._adapter: Any = None  # the LoRARequest that goes with every call
        self._asleep = False

    def start(self, delivery: Delivery) -> None:
        """Build the engine with these weights. Raises ModelError where vLLM refuses them."""
        os.environ.update(ONE_PROCESS)
        os.environ.update(self.settings.cpu_environment(os.environ))
        from vllm import LLM
        from vllm.engine.arg_utils import EngineArgs
        from vllm.utils.argparse_utils import FlexibleArgumentParser

        words = self.settings.words(self.config, delivery) + (["--enable-sleep-mode"] if self.sleeps else [])
        parsed = EngineArgs.add_cli_args(FlexibleArgumentParser()).parse_args(words)
        try:
            self._llm = LLM.from_engine_args(EngineArgs.from_cli_args(parsed))
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(f"vLLM does not start: {str(error).strip().splitlines()[-1]}") from error
        self._take_adapter(delivery)

    def deliver(self, delivery: Delivery) -> None:
        """See Backend."""
        self._wake()
        if delivery.adapter is None:
            self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(delivery.weights)})
        self._take_adapter(delivery)
        if not self._llm.reset_prefix_cache():
            raise ModelError("vLLM keeps keys and values of older weights: it has unfinished requests")

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """See Backend."""
        from vllm import SamplingParams

        self._wake()
        parameters = [SamplingParams(**sampling.fields(request)) for request in requests]
        answered = self._llm.generate(
            [{"prompt_token_ids": list(request.prompt_ids)} for request in requests],
            parameters,
            use_tqdm=False,
            lora_request=self._adapter,
        )
        return [[_completion(output) for output in sorted(a.outputs, key=lambda o: o.index)] for a in answered]

    def probe(self, ids: Sequence[int]) -> list[float]:
        """See Backend."""
        from vllm import SamplingParams

        self._wake()
        parameters = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        reply = self._llm.generate(
            [{"prompt_token_ids": list(ids)}], parameters, use_tqdm=False, lora_request=self._adapter
        )[0]
        return [row[token].logprob for row, token in zip(reply.prompt_logprobs[1:], ids[1:], strict=True)]

    def recover(self, delivery: Delivery, why: str) -> None:
        """What is in this process is not lost alone."""
        raise ModelError(f"vLLM in this process broke: {why}")

    def last_words(self) -> str:
        """See Backend."""
        return ""

    def rest(self) -> None:
        """Hand the GPU's memory to the trainer."""
        if self.sleeps and not self._asleep:
            self._llm.sleep(level=1)
            self._asleep = True

    def close(self) -> None:
        """Let the engine go."""
        self._llm = self._adapter = None

    def _wake(self) -> None:
        if self._asleep:
            self._llm.wake_up()
            self._asleep = False

    def _take_adapter(self, delivery: Delivery) -> None:
        if delivery.adapter is not None:
            from vllm.lora.request import LoRARequest

            self._adapter = LoRARequest(delivery.adapter_name, delivery.number, str(delivery.adapter))


def _completion(output: Any) -> Completion:
    ids = tuple(output.token_ids)
    logprobs = tuple(row[token].logprob for row, token in zip(output.logprobs, ids, strict=True))
    return Completion(ids, logprobs, output.finish_reason)
