"""vLLM behind HTTP: a server that the run starts, and one that it finds."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rlhf.config.vllm import VLLMConfig
from rlhf.errors import ConfigError, ModelError
from rlhf.rollout.vllm.arguments import SERVED_NAME, EngineSettings
from rlhf.rollout.vllm.backend import Completion, Delivery, Request, Sampling
from rlhf.rollout.vllm.client import VLLMClient
from rlhf.rollout.vllm.server import ServerProcess, free_port

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
SERVER_MODULE = ("-m", "vllm.entrypoints.openai.api_server")


class FoundServer:
    """A server that is started by somebody else; implements Backend."""

    def __init__(self, config: VLLMConfig, settings: EngineSettings, url: str) -> None:
        self.config, self.settings = config, settings
        self.client = VLLMClient(url, config.request_timeout_s)

    def start(self, delivery: Delivery) -> None:
        """Wait for the server, and deliver. Raises ModelError where it does not come."""
        if not self.client.healthy():
            log.warning(
                "no vLLM server answers at %s; waiting %g s for it. It can be started there by: %s",
                self.client.url,
                self.config.startup_timeout_s,
                self.settings.command_line(self.config, delivery, _port_of(self.client.url)),
            )
        self._wait()
        self.client.connect(self.settings.context)
        self.deliver(delivery)

    def deliver(self, delivery: Delivery) -> None:
        """See Backend."""
        (self.client.load_weights if delivery.adapter is None else self.client.load_adapter)(delivery)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """See Backend."""
        return self.client.generate(requests, sampling)

    def probe(self, ids: Sequence[int]) -> list[float]:
        """See Backend."""
        return self.client.probe(ids)

    def recover(self, delivery: Delivery, why: str) -> None:
        """Wait until it is back: it may be another server by then, so it gets the weights again."""
        log.warning("the vLLM server at %s was lost (%s): waiting for it", self.client.url, why)
        self.start(delivery)

    def last_words(self) -> str:
        """See Backend."""
        return ""

    def rest(self) -> None:
        """A server keeps its memory."""

    def close(self) -> None:
        """Somebody else's."""

    def _wait(self) -> None:
        until = time.monotonic() + self.config.startup_timeout_s
        while not self.client.healthy():
            if time.monotonic() > until:
                raise ModelError(
                    f"no vLLM server answered at rollout.vllm.url={self.client.url} within "
                    f"{self.config.startup_timeout_s:g} s (rollout.vllm.startup_timeout_s)"
                )
            time.sleep(LOOK_EVERY_S)


class OwnServer(FoundServer):
    """A server that the run starts, starts again where it is lost, and stops."""

    def __init__(self, config: VLLMConfig, settings: EngineSettings, log_file: Path) -> None:
        """Raises ConfigError where rollout.vllm.python is no interpreter."""
        self.python = _interpreter(config.python)
        self.log_file = log_file
        self._server: ServerProcess | None = None
        super().__init__(config, settings, "http://127.0.0.1:0")

    def start(self, delivery: Delivery) -> None:
        """Start it with these weights and wait until it answers. Raises ModelError where it ends instead."""
        self.close()
        port = self.config.port or free_port()
        self.client = VLLMClient(f"http://127.0.0.1:{port}", self.config.request_timeout_s)
        command = [self.python, *SERVER_MODULE, *self.settings.words(self.config, delivery)]
        command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", SERVED_NAME]
        environment = self.settings.environment(self.config, os.environ)
        began = time.monotonic()
        self._server = ServerProcess(command, environment, self.log_file, delivery.weights.parent)
        log.info("starting a vLLM server on port %d; its log is %s", port, self.log_file)
        self._wait()
        log.info("the vLLM server answers after %.0f s", time.monotonic() - began)
        self.client.connect(self.settings.context)
        if delivery.adapter is not None:
            self.client.load_adapter(delivery)

    def recover(self, delivery: Delivery, why: str) -> None:
        """Start it again."""
        log.warning("the vLLM server was lost (%s): starting it again", self._ended() or why)
        self.start(delivery)

    def close(self) -> None:
        """Stop it."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _wait(self) -> None:
        until = time.monotonic() + self.config.startup_timeout_s
        while True:
            answers = self.client.healthy()
            if ended := self._ended():
                self._refuse_missing(ended)
                raise ModelError(f"the vLLM server did not start: {ended}; its log is {self.log_file}")
            if answers:
                return
            if time.monotonic() > until:
                self.close()
                raise ModelError(
                    f"the vLLM server did not answer within {self.config.startup_timeout_s:g} s "
                    f"(rollout.vllm.startup_timeout_s); its log is {self.log_file}"
                )
            time.sleep(LOOK_EVERY_S)

    def last_words(self) -> str:
        """See Backend."""
        return "" if self._server is None else f"; it said: {self._server.said()}; its log is {self.log_file}"

    def _ended(self) -> str | None:
        """How the server ended; None while it runs."""
        if self._server is None or self._server.exit_status is None:
            return None
        return f"it ended with status {self._server.exit_status}: {self._server.said()}"

    def _refuse_missing(self, ended: str) -> None:
        if "No module named" in ended and "vllm" in ended:
            raise ConfigError(
                f"rollout.vllm.python={self.python} has no package vllm: install it there (pip install vllm), or name "
                "another interpreter"
            )


def _interpreter(python: str | None) -> str:
    """An absolute path, links left alone: a virtual environment is found by the path of its interpreter."""
    found = shutil.which(os.path.expanduser(python)) if python else sys.executable
    if found is None:
        raise ConfigError(f"rollout.vllm.python={python} is no program that can be run; name the interpreter with vllm")
    return os.path.abspath(found)


def _port_of(url: str) -> int | None:
    tail = url.rpartition(":")[2]
    return int(tail) if tail.isdigit() else None
