"""What the sampler asks of vLLM, whether it answers over HTTP or in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rlhf.types import SamplingDistribution

GENTLEST = {"min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0}
"""What would change the distribution, off: vLLM takes what is left out from a model's generation_config.json."""


class ServerLost(Exception):
    """The server does not answer, or answers that it cannot go on."""


@dataclass(frozen=True)
class Delivery:
    """Weights on disk, for vLLM to read."""

    number: int  # 1 is the first of a run
    weights: Path  # folder of a whole model, from which vLLM can start
    adapter: Path | None  # folder of a LoRA upon it; None: `weights` are all

    @property
    def adapter_name(self) -> str:
        """Under which vLLM knows the adapter: new each time, so that nothing cached under an older one is found."""
        return f"{self.weights.parent.name}-{self.number}"


@dataclass(frozen=True)
class Request:
    """One prompt and the answers that are wanted to it."""

    prompt_ids: tuple[int, ...]
    num_samples: int
    seed: int  # of sample 0; vLLM adds the sample's number


@dataclass(frozen=True)
class Sampling:
    """What all requests of a call share."""

    distribution: SamplingDistribution
    max_new_tokens: int
    stop: tuple[str, ...]
    end_ids: tuple[int, ...]  # tokens that end an answer

    def fields(self, request: Request) -> dict[str, Any]:
        """Sampling parameters by vLLM's names, those of its HTTP interface and of its Python class alike."""
        return GENTLEST | {
            "n": request.num_samples,
            "seed": request.seed,
            "max_tokens": self.max_new_tokens,
            "temperature": self.distribution.temperature,
            "top_k": self.distribution.top_k,
            "top_p": self.distribution.top_p,
            "stop": list(self.stop),
            "stop_token_ids": list(self.end_ids),
            "ignore_eos": True,  # end_ids holds every token that ends an answer
            "logprobs": 0,  # of the sampled token alone
        }


@dataclass(frozen=True)
class Completion:
    """One answer as vLLM gives it."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]  # one a token, nats
    ended_by: str | None  # stop | length | ..., vLLM's word


class Backend(Protocol):
    """A vLLM that can be given weights. Calls raise ServerLost where a server is gone, ModelError where it refuses."""

    def start(self, delivery: Delivery) -> None:
        """Make vLLM ready with these weights."""
        ...

    def deliver(self, delivery: Delivery) -> None:
        """Replace the weights. Nothing computed with older ones is used again."""
        ...

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """The answers to each request, samples in order."""
        ...

    def probe(self, ids: Sequence[int]) -> list[float]:
        """Log-probability, in nats at temperature 1, of each of `ids` but the first given those before it."""
        ...

    def recover(self, delivery: Delivery, why: str) -> None:
        """Have a vLLM with these weights again, after ServerLost for the reason `why`."""
        ...

    def last_words(self) -> str:
        """What is known of why it was lost, to be added to a sentence."""
        ...

    def rest(self) -> None:
        """Nothing will be asked until the policy has learned."""
        ...

    def close(self) -> None:
        """End what was started. May be called twice."""
        ...
