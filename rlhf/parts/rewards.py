"""What scores answers, and what compares two of them."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cached_property

from rlhf.config.door import open_section
from rlhf.config.score_rewards import GenerativeRewardConfig
from rlhf.config.sections import DatasetConfig
from rlhf.data.rendering import Renderer
from rlhf.evaluation.generative_model import load_generative_reward
from rlhf.evaluation.reward_model.written import score_prompt_to_ask
from rlhf.judges.build import build_judge
from rlhf.judges.types import Judge
from rlhf.models.loading import load_reward_model, load_reward_tokenizer, load_tokenizer, other_model
from rlhf.models.paths import run_folder
from rlhf.parts.models import ModelParts
from rlhf.rewards.build import build_reward, scoring_of
from rlhf.rewards.generative import GenerativeReward
from rlhf.rewards.learned import LearnedReward
from rlhf.tracking.run_directory import RunDirectory
from rlhf.types import Reward


class RewardParts(ModelParts):
    """Of one run, each made once, when somebody first asks."""

    @cached_property
    def reward(self) -> Reward:
        scoring = scoring_of(self.run_config, self.load_generative_reward)
        return build_reward(self.run_config.reward, self.load_learned_reward, scoring)

    @cached_property
    def judge(self) -> Judge | None:
        """What says which of two answers is better; None with judge=none."""
        return build_judge(self.run_config.judge, self.load_learned_reward)

    @cached_property
    def answer_reward(self) -> Reward | None:
        """What scores the answers of answer_sampler; None where no reward was chosen."""
        section = self.run_config.reward
        return None if section is None or section.kind == "none" else self.reward

    def load_learned_reward(self, path: str) -> LearnedReward:
        """The reward model at `path`, rendered as it was trained where `path` is a run directory."""
        model, tokenizer = load_reward_model(path, self.hardware, template=self.run_config.model)
        return LearnedReward(model, Renderer(tokenizer, self.rendering_of(path)), self.hardware)

    def load_generative_reward(self, config: GenerativeRewardConfig) -> GenerativeReward:
        """The language model of `config` as what writes scores."""
        return load_generative_reward(config, self)

    def reward_renderer(self, path: str) -> Renderer:
        """How the reward model at `path` reads its data; the model is not loaded."""
        own = self.run_config.model
        writes = score_prompt_to_ask(path, self.run_config) is not None
        tokenizer = load_tokenizer(other_model(own, path)) if writes else load_reward_tokenizer(path, template=own)
        return Renderer(tokenizer, self.rendering_of(path))

    def rendering_of(self, path: str) -> DatasetConfig:
        """The dataset section to render with for the model at `path`: a run directory's own rendering and lengths."""
        ours = self.run_config.dataset
        folder = RunDirectory(run_folder(path))
        theirs = folder.read_config().get("dataset") if folder.config.is_file() else None
        if theirs is None:
            return ours
        kept, lengths = ("render", "system_prompt", "truncation_side"), ("max_prompt_tokens", "max_answer_tokens")
        read = {key: theirs[key] for key in (*kept, *lengths) if key in theirs}  # a run may be older than other keys
        section = open_section("dataset", asdict(ours) | read, DatasetConfig, f"the run {path}")
        longest = {k: max(getattr(section, k), getattr(ours, k)) for k in lengths}
        return replace(ours, **{k: getattr(section, k) for k in kept}, **longest)
