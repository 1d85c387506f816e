"""The policy-gradient objective that a configuration stands for, as formulas with its numbers."""

from __future__ import annotations

from rlhf.config.policy_gradient import GRPOTrainerConfig, PolicyGradientConfig
from rlhf.config.ppo import PPOTrainerConfig

BASELINES = {
    "none": "R",
    "group_mean": "R - mean of its group",
    "leave_one_out": "R - mean of the others in its group",
    "batch_mean": "R - mean of the step",
}
SCALES = {"none": "", "group_std": "std of its group", "batch_std": "std of the step"}
KL = {"k1": "log(p/q)", "k2": "log(p/q)^2 / 2", "k3": "q/p - 1 + log(p/q)"}
RATIOS = {"token": "r = p(token) / p_old(token)", "sequence": "r = (p(answer) / p_old(answer))^(1/tokens)"}


def policy_gradient_lines(c: PolicyGradientConfig, limit: int) -> list[str]:
    """A line a definition. `limit`: tokens an answer may have."""
    lines = [f"maximise {_average(c, limit)} of {_weight(c)}{_gain(c)}{_penalties(c)}"]
    if c.ratio != "none":
        lines.append(RATIOS[c.ratio])
    lines += [_advantage(c), _reward(c, limit)]
    if isinstance(c, PPOTrainerConfig):
        clip = "" if c.value_clip is None else f", a value moving at most {c.value_clip:g} an update"
        lines.append(f"critic ({c.critic}): minimise (V - A - V_old)^2 / 2 over the same tokens{clip}")
    if c.kl_coef:
        lines.append(f"KL = {KL[c.kl_estimator]} of each token, p the policy, q the start")
        if c.kl_target is not None:
            lines.append(f"its weight {c.kl_coef:g} moves until KL is {c.kl_target:g} nats a token")
    return lines


def _average(c: PolicyGradientConfig, limit: int) -> str:
    return {
        "token_mean": "the mean over all tokens of an optimiser step",
        "sequence_mean": "the mean over answers of their token means",
        "fixed_length": f"the mean over answers of their token sums / {c.fixed_length or limit}",
    }[c.aggregation]


def _weight(c: PolicyGradientConfig) -> str:
    return {
        "none": "",
        "token_truncate": f"min(w, {c.importance_high:g}) ",
        "sequence_mask": f"[w of the answer if in [{c.importance_low:g}, {c.importance_high:g}]] ",
        "icepop": f"[w if in [{c.importance_low:g}, {c.importance_high:g}]] ",
    }[c.importance_correction]


def _gain(c: PolicyGradientConfig) -> str:
    bounded = f"clip(r, {1 - c.clip_low:g}, {1 + c.clip_high:g})"
    if c.ratio == "none":
        return "A log p"
    if c.surrogate == "cispo":
        return f"sg[{bounded}] A log p"
    gain = f"min(r A, {bounded} A)"
    return gain if c.dual_clip is None else f"max({gain}, {c.dual_clip:g} A where A < 0)"


def _penalties(c: PolicyGradientConfig) -> str:
    kl = f" - {c.kl_coef:g} KL" if c.kl_coef and c.kl_place == "loss" else ""
    return kl + (f" + {c.entropy_coef:g} entropy" if c.entropy_coef else "")


def _advantage(c: PolicyGradientConfig) -> str:
    if isinstance(c, PPOTrainerConfig):
        return (
            f"A = GAE(gamma {c.gamma:g}, lambda {c.gae_lambda:g}) of R on the last token{_token_cost(c)}{_whitened(c)}"
        )
    assert isinstance(c, GRPOTrainerConfig)
    text, scale = BASELINES[c.baseline], SCALES[c.scale]
    if scale:
        scale = f"({scale} + {c.std_epsilon:g})" if c.std_epsilon else scale
        text = f"({text}) / {scale}, squares over n{' - 1' if c.std_ddof else ''}"
    if c.kl_coef and c.kl_place == "advantage":
        text += f" - {c.kl_coef:g} sum of KL from this token on"
    return f"A = {text}{_whitened(c)}"


def _token_cost(c: PPOTrainerConfig) -> str:
    return f" - {c.kl_coef:g} KL on every token" if c.kl_coef and c.kl_place == "reward" else ""


def _whitened(c: PolicyGradientConfig) -> str:
    return ", whitened over the tokens of the round" if c.whiten else ""


def _reward(c: PolicyGradientConfig, limit: int) -> str:
    text = "R = reward"
    if c.kl_coef and c.kl_place == "reward" and not isinstance(c, PPOTrainerConfig):
        text += f" - {c.kl_coef:g} sum of KL over the answer"
    if c.missing_eos_penalty:
        text += f" - {c.missing_eos_penalty:g} where the answer was cut"
    if c.overlong_buffer:
        text += f" - up to {c.overlong_penalty:g} over the last {c.overlong_buffer} of {limit} tokens"
    notes = ["cut answers count in no loss"] if c.mask_truncated else []
    if (silent := getattr(c, "no_signal", "keep")) != "keep":
        which = f"whose rewards lie within {c.min_reward_spread:g}" if c.min_reward_spread else "of equal rewards"
        notes.append(f"groups {which} are {'left out' if silent == 'drop' else 'resampled'}")
    return "; ".join([text, *notes])
