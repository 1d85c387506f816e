"""From a checked `teacher:` section to the teacher that it names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rlhf.config.score_prompts import ScorePrompt
from rlhf.config.teacher import ChatTeacherConfig, GoldTeacherConfig, RandomTeacherConfig, RewardTeacherConfig
from rlhf.teacher.local import LocalTeacher, gold_scores, random_scores, reward_scores
from rlhf.teacher.types import Teacher, levels_of
from rlhf.types import Reward


def build_teacher(
    config: Any, score_prompt: ScorePrompt, *, seed: int, load_learned: Callable[[str], Reward], asks: bool = True
) -> Teacher:
    """The teacher of `config`, for the scale of `score_prompt`; `load_learned(path)` brings a reward model when it is
    asked. With asks=False a chat model's key is not looked for, and it only plans. Raises ConfigError or JudgeError."""
    levels = levels_of(score_prompt)
    match config:
        case ChatTeacherConfig():
            from rlhf.teacher.chat import ChatTeacher  # the client takes a second to import

            return ChatTeacher(config, score_prompt, asks=asks)
        case GoldTeacherConfig():
            return LocalTeacher("gold", partial(gold_scores, levels=levels))
        case RandomTeacherConfig():
            return LocalTeacher("random", partial(random_scores, levels=levels, seed=seed))
        case RewardTeacherConfig(model=model):
            load = partial(load_learned, str(model))
            return LocalTeacher(f"reward:{model}", partial(reward_scores, levels=levels, load=load))
        case _:
            raise TypeError(f"not a teacher section: {config!r}")
