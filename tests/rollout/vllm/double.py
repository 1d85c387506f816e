"""A small double of vLLM's server that samples from a real model, in this process or as a program of its own.

    with VLLMDouble(folder) as server: ...                    # server.url, server.asked
    python double.py -m ... --model FOLDER --port N           # as rollout.vllm.python starts vLLM

Faults: "deaf" ignores new weights, "tied" leaves its head as it was, "full" refuses to drop its cache, "terse" gives no
token ids. `down` answers nothing for so many requests.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

CRASH_FILE = "VLLM_DOUBLE_CRASH"  # names a file: the program ends at the first completion after the file is there


class VLLMDouble:
    """A context manager."""

    def __init__(self, folder: Path, *, fault: str | None = None, port: int = 0, context: int = 256) -> None:
        self.fault, self.context = fault, context
        self.asked: list[tuple[str, Any]] = []
        self.down = 0  # requests that get no answer
        self.lock = threading.Lock()
        self.adapters: dict[str, Any] = {}
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> VLLMDouble:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def serve(self) -> None:
        """Until the process ends."""
        self._http.serve_forever()

    def paths(self) -> list[str]:
        """What was asked for, in order, without looks at its health."""
        return [path for path, _ in self.asked if path != "/health"]

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and reply."""
        if path == "/health":
            return 200, None
        if path == "/v1/models":
            return 200, {"data": [{"id": "policy", "parent": None, "max_model_len": self.context}]}
        if path == "/collective_rpc":
            assert body["method"] == "reload_weights"
            self.reload(Path(body["kwargs"]["weights_path"]))
            return 200, {"results": [None]}
        if path == "/reset_prefix_cache":
            return 200, {"success": self.fault != "full"}
        if path == "/v1/load_lora_adapter":
            self.adapters[body["lora_name"]] = Path(body["lora_path"])
            return 200, "loaded"
        if path == "/v1/unload_lora_adapter":
            del self.adapters[body["lora_name"]]
            return 200, "unloaded"
        if path == "/v1/completions":
            return 200, self.complete(body)
        return 404, {"error": {"message": "no such path"}}

    def reload(self, folder: Path) -> None:
        if self.fault == "deaf":
            return
        head = self.model.lm_head.weight.detach().clone()
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        if self.fault == "tied":
            self.model.lm_head.weight = torch.nn.Parameter(head)

    @torch.no_grad()
    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        crash = os.environ.get(CRASH_FILE)
        if crash and Path(crash).exists():
            Path(crash).unlink()
            os._exit(3)
        model, ids = self.model, list(body["prompt"])
        if body["model"] in self.adapters:
            model = _with_adapter(self.model, self.adapters[body["model"]])
        else:
            assert body["model"] == "policy"
        if body.get("prompt_logprobs") is not None:
            found = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            rows = [{str(t): {"logprob": found[i, t].item()}} for i, t in enumerate(ids[1:])]
            return {"choices": [{"index": 0, "prompt_logprobs": [None, *rows]}]}
        choices = [self.sample(model, ids, body, n) for n in range(body["n"])]
        return {"choices": choices[::-1]}  # in no order

    def sample(self, model: Any, ids: list[int], body: Mapping[str, Any], number: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(body["seed"] + number)
        made, logprobs, reason = [], [], "length"
        while len(made) < body["max_tokens"]:
            scores = (model(torch.tensor([ids + made])).logits[0, -1] / body["temperature"]).log_softmax(-1)
            token = int(torch.multinomial(scores.exp(), 1, generator=generator))
            made.append(token)
            logprobs.append(scores[token].item())
            text = self.tokenizer.decode(made, skip_special_tokens=True)
            if token in body["stop_token_ids"] or any(stop in text for stop in body["stop"]):
                reason = "stop"
                break
        found = {"index": number, "token_ids": made, "logprobs": {"token_logprobs": logprobs}, "finish_reason": reason}
        return {k: v for k, v in found.items() if k != "token_ids"} if self.fault == "terse" else found

    def _handler(server):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.reply(None)

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.reply(json.loads(data) if data else None)

            def reply(self, body: Any) -> None:
                with server.lock:
                    server.asked.append((self.path, body))
                    if server.down:
                        server.down -= 1
                        self.close_connection = True
                        return
                    status, said = server.answer(self.path, body)
                data = b"" if said is None else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler


def _with_adapter(model: Any, folder: Path) -> Any:
    from peft import PeftModel  # seconds, which a program without adapters need not wait

    return PeftModel.from_pretrained(copy.deepcopy(model), folder).eval()


if __name__ == "__main__":
    torch.set_num_threads(1)
    words = argparse.ArgumentParser()
    words.add_argument("--model", type=Path)
    words.add_argument("--port", type=int)
    words.add_argument("--max-model-len", type=int)
    words.add_argument("--fault")
    given = words.parse_known_args(sys.argv[1:])[0]
    VLLMDouble(given.model, port=given.port, context=given.max_model_len, fault=given.fault).serve()
