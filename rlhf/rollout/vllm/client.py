"""vLLM's HTTP interface: completions of token ids, log-probs of a prompt, new weights."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from rlhf.config.vllm import on_this_machine
from rlhf.errors import ModelError
from rlhf.rollout.vllm.backend import Completion, Delivery, Request, Sampling, ServerLost

MOST_AT_ONCE = 512  # requests; vLLM batches what is under way
HEALTH_TIMEOUT_S = 5.0
CACHE_RESET_S = 10.0  # for requests that were given up to leave the server
LONGEST_MESSAGE = 300  # characters of a server's error that are shown


class VLLMClient:
    """Talks to one server. Safe to use from several threads.

    Methods raise ServerLost where the server is not there or broken, ModelError where it refuses."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url, self.timeout_s = url.rstrip("/"), timeout_s
        self.model: str | None = None  # what requests ask for: the server's own model, or an adapter
        self._adapter: str | None = None
        handlers = [urllib.request.ProxyHandler({})] if on_this_machine(urlsplit(url).hostname or "") else []
        self._opener = urllib.request.build_opener(*handlers)  # a proxy cannot reach this machine's own servers

    def healthy(self) -> bool:
        """Whether the server answers and can work."""
        try:
            self._send("GET", "/health", None, HEALTH_TIMEOUT_S)
        except (ServerLost, urllib.error.HTTPError):
            return False
        return True

    def connect(self, context: int) -> None:
        """Learn the name of the server's model, and check that rows of `context` tokens fit."""
        found = self._call("GET", "/v1/models")
        try:
            own = next(model for model in found["data"] if not model.get("parent"))
            self.model, self._adapter, longest = own["id"], None, own.get("max_model_len")
        except (TypeError, KeyError, StopIteration) as error:
            raise ModelError(f"{self.url} is not a vLLM server: /v1/models names no model") from error
        if longest is not None and longest < context:
            raise ModelError(
                f"the server at {self.url} reads {longest} tokens a row, and this run needs {context} "
                f"(dataset.max_prompt_tokens and rollout.max_new_tokens): start it with --max-model-len {context}"
            )

    def load_weights(self, delivery: Delivery) -> None:
        """Replace all weights by those of the folder."""
        words = {"method": "reload_weights", "kwargs": {"weights_path": str(delivery.weights)}}
        self._call("POST", "/collective_rpc", words)
        self._forget_prefixes()

    def load_adapter(self, delivery: Delivery) -> None:
        """Sample with this adapter from now on, and drop the one before."""
        name = delivery.adapter_name
        self._call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(delivery.adapter)})
        if self._adapter is not None:
            self._call("POST", "/v1/unload_lora_adapter", {"lora_name": self._adapter})
        self.model = self._adapter = name
        self._forget_prefixes()

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """All at once: the server batches them."""
        with ThreadPoolExecutor(min(len(requests), MOST_AT_ONCE) or 1, thread_name_prefix="vllm") as pool:
            asked = [pool.submit(self._complete, request, sampling) for request in requests]
            try:
                return [future.result() for future in asked]
            except BaseException:
                for future in asked:
                    future.cancel()
                raise

    def probe(self, ids: Sequence[int]) -> list[float]:
        """See Backend."""
        body = {"model": self.model, "prompt": list(ids), "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
        reply = self._call("POST", "/v1/completions", body)
        try:
            rows = reply["choices"][0]["prompt_logprobs"][1:]
            return [row[str(token)]["logprob"] for row, token in zip(rows, ids[1:], strict=True)]
        except (TypeError, KeyError, IndexError, ValueError) as error:
            raise ModelError(f"the server at {self.url} gave no log-probs of a prompt: {_short(reply)}") from error

    def _complete(self, request: Request, sampling: Sampling) -> list[Completion]:
        wanted = {"model": self.model, "prompt": list(request.prompt_ids), "return_token_ids": True}
        reply = self._call("POST", "/v1/completions", sampling.fields(request) | wanted)
        try:
            choices = sorted(reply["choices"], key=lambda choice: choice["index"])
            found = [_completion(choice) for choice in choices]
        except (TypeError, KeyError) as error:
            raise ModelError(
                f"the server at {self.url} gave no token ids with log-probs ({error!r}); is it vLLM, and recent?"
            ) from error
        if len(found) != request.num_samples:
            raise ModelError(f"the server at {self.url} gave {len(found)} of {request.num_samples} answers")
        return found

    def _forget_prefixes(self) -> None:
        """Drop keys and values of older weights. Raises ModelError where the server keeps them."""
        until = time.monotonic() + CACHE_RESET_S
        while True:
            reply = self._call("POST", "/reset_prefix_cache")
            if not isinstance(reply, Mapping) or reply.get("success", True):
                return
            if time.monotonic() > until:
                raise ModelError(
                    f"the server at {self.url} keeps keys and values of older weights: it answers others' requests too"
                )
            time.sleep(0.1)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """The parsed reply, None for an empty one."""
        try:
            data = self._send(method, path, body, self.timeout_s)
        except urllib.error.HTTPError as error:
            raise self._refusal(path, error) from error
        try:
            return json.loads(data) if data.strip() else None
        except ValueError:
            return data.decode(errors="replace")

    def _send(self, method: str, path: str, body: Any, timeout_s: float) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=timeout_s) as reply:
                return reply.read()
        except urllib.error.HTTPError:
            raise
        except TimeoutError as error:
            raise ServerLost(f"{path}: no reply within {timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ServerLost(f"{path}: {reason or type(error).__name__}") from error

    def _refusal(self, path: str, error: urllib.error.HTTPError) -> Exception:
        try:
            said = _short(error.read().decode(errors="replace"))
        except (OSError, http.client.HTTPException):
            said = str(error.reason)
        if error.code >= 500 and not self.healthy():
            return ServerLost(f"{path}: status {error.code}: {said}")
        if error.code == 404 and path in NEEDS:
            return ModelError(f"the server at {self.url} has no {path}: start it with {NEEDS[path]}")
        return ModelError(f"the server at {self.url} refuses {path}: status {error.code}: {said}")


NEEDS = {
    "/collective_rpc": "VLLM_SERVER_DEV_MODE=1 in its environment",
    "/reset_prefix_cache": "VLLM_SERVER_DEV_MODE=1 in its environment",
    "/v1/load_lora_adapter": "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 in its environment, and --enable-lora",
}
"""What a server must be started with to have these paths."""


def _completion(choice: Mapping[str, Any]) -> Completion:
    return Completion(tuple(choice["token_ids"]), tuple(choice["logprobs"]["token_logprobs"]), choice["finish_reason"])


def _short(said: Any) -> str:
    text = " ".join(str(said).split())
    return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + " ..."
