"""A byte tokenizer with and without a chat template, and dataset sections that differ from conf/dataset/local.yaml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rlhf.config.compose import compose
from rlhf.config.sections import DatasetConfig
from rlhf.data.rendering import Renderer
from rlhf.models.tokenizers import byte_tokenizer


@pytest.fixture(scope="session")
def chat_tokenizer():
    """One id a byte; turns are <|role|>content<eos>, so lengths can be counted by hand."""
    return byte_tokenizer()


@pytest.fixture(scope="session")
def plain_tokenizer():
    """The same without a chat template."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None
    return tokenizer


@pytest.fixture(scope="session")
def local_dataset() -> DatasetConfig:
    return compose(["stage=reward", "dataset=local", "dataset.path=unused.jsonl", "dataset.name=toy"]).dataset


@pytest.fixture
def make_config(local_dataset: DatasetConfig) -> Callable[..., DatasetConfig]:
    """make_config(limit=3, columns={"prompt": "question"}, rules={"tie": "keep"})"""

    def make(
        columns: dict[str, Any] | None = None, rules: dict[str, str] | None = None, **changes: Any
    ) -> DatasetConfig:
        changes["columns"] = replace(local_dataset.columns, **(columns or {}))
        changes["rules"] = replace(local_dataset.rules, **(rules or {}))
        return replace(local_dataset, **{key: str(v) if key.endswith("path") else v for key, v in changes.items()})

    return make


@pytest.fixture
def make_renderer(chat_tokenizer, make_config) -> Callable[..., Renderer]:
    """A chat renderer of a config that differs as `make_config` says."""
    return lambda **changes: Renderer(chat_tokenizer, make_config(**changes))
