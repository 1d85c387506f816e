"""What metrics are called in reports: label, unit, the group they are drawn in, and which way is better.

A name that is not listed is shown as it is. Held-out metrics (`eval/...`) take the label of their training twin.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """How a metric is shown. `better` is "up", "down" or "" where neither is good in itself."""

    label: str
    unit: str = ""
    group: str = "Other"
    better: str = ""
    about: str = ""


GROUPS = ("Reward", "Preference", "Loss", "Policy", "Critic", "Sampler", "Answers", "Optimiser", "Cost", "Other")
MAIN = (
    "reward/mean", "reward/accuracy", "reward/margin", "loss/total", "loss/perplexity", "policy/kl_ref",
    "policy/entropy", "response/length_tokens", "response/truncated_fraction",
)  # fmt: skip
"""Metrics whose curves tell how a run went; the others are folded away."""
SUPERVISED_ONLY = ("loss/total",)
"""Of these, what means little elsewhere: the value of a policy gradient's loss says nothing about the policy."""

METRICS: dict[str, Metric] = {
    "reward/mean": Metric("Reward", "", "Reward", "up", "mean reward of the answers, in the reward's own units"),
    "reward/total": Metric("Reward", "", "Reward", "up", "mean reward of the answers, in the reward's own units"),
    "reward/std": Metric("Spread of rewards", "", "Reward", "", "standard deviation over the answers"),
    "reward/group_std": Metric(
        "Spread within groups", "", "Reward", "", "mean standard deviation of the rewards of one prompt's answers"
    ),
    "reward/no_signal_fraction": Metric(
        "Groups without signal",
        "%",
        "Reward",
        "down",
        "prompts whose answers all got the same reward: nothing to learn",
    ),
    "reward/learned": Metric("Learned reward", "", "Reward", "up", "score of the reward model"),
    "reward/gold": Metric("Gold reward", "", "Reward", "up", "score of the rule that labelled the data"),
    "reward/sentiment": Metric("Sentiment", "", "Reward", "up", "the gold rule's sentiment part, -1 to 1"),
    "reward/length": Metric("Length rule", "", "Reward", "up", "the gold rule's length part, -1 to 0"),
    "reward/gold_sentiment": Metric("Sentiment", "", "Reward", "up", "the gold rule's sentiment part, -1 to 1"),
    "reward/gold_length": Metric("Length rule", "", "Reward", "up", "the gold rule's length part, -1 to 0"),
    "reward/parsed": Metric("Scores that can be read", "%", "Reward", "up", "of the samples"),
    "reward/several_tags": Metric("Several scores", "%", "Reward", "down", "samples with more tags than one"),
    "reward/score": Metric("Score", "points", "Reward", "", "mean over the samples that can be read"),
    "reward/difference": Metric("Difference", "points", "Preference", "up", "of a sample to the other side's mean"),
    "reward/near_zero": Metric("Differences near zero", "%", "Preference", "", "within 0.1 of 0, in units of d"),
    "reward/saturated": Metric("Differences at a clip", "%", "Preference", "", "they earn no more by growing"),
    "reward/correct": Metric(
        "Pairs in the right order", "%", "Preference", "up", "by the mean scores; ties and undecided pairs count half"
    ),
    "reward/correct_strict": Metric("Pairs strictly in the right order", "%", "Preference", "up", "by the mean scores"),
    "reward/tie": Metric("Tied pairs", "%", "Preference", "down", "both sides have the same mean score"),
    "reward/undecided": Metric("Undecided pairs", "%", "Preference", "down", "no score of a side can be read"),
    "reward/log_loss": Metric("Log-loss of the pairs", "nats", "Preference", "down", "by mean scores; chance is 0.693"),
    "reward/spread": Metric("Spread of one answer's scores", "points", "Reward", "down", "standard deviation"),
    "reward/prompt_cut": Metric("Requests cut", "%", "Reward", "down", "the judge did not see all of them"),
    "reward/answer": Metric("Right answers", "%", "Reward", "up", "by the grader"),
    "reward/format": Metric("Answers in form", "%", "Reward", "up", "the answer stands where the template wants it"),
    "avg_low": Metric("Right answers, lower end", "%", "Answers", "", "of the 95% interval of avg@n"),
    "avg_high": Metric("Right answers, upper end", "%", "Answers", "", "of the 95% interval of avg@n"),
    "response/length_right_tokens": Metric("Length of right answers", "tokens", "Answers"),
    "response/length_wrong_tokens": Metric("Length of wrong answers", "tokens", "Answers"),
    "math/accuracy": Metric("Accuracy", "%", "Answers", "up", "mean over all answers, avg@k"),
    "math/format_rate": Metric("Answers in form", "%", "Answers", "up", "as the template wants them"),
    "reward/accuracy": Metric(
        "Accuracy",
        "%",
        "Preference",
        "up",
        "pairs whose preferred answer scores higher; a tie counts half, chance is 50%",
    ),
    "tie_rate": Metric("Ties", "%", "Preference", "down", "pairs whose answers have the same score"),
    "length_partialled_accuracy": Metric(
        "Accuracy without length", "%", "Preference", "up", "of the margin less its regression on the length difference"
    ),
    "length_balanced_accuracy": Metric(
        "Accuracy balanced for length",
        "%",
        "Preference",
        "up",
        "mean over longer-preferred and shorter-preferred pairs",
    ),
    "length_spearman": Metric("Score and length", "", "Preference", "", "rank correlation of score and answer tokens"),
    "calibration_error": Metric(
        "Calibration error", "", "Preference", "down", "how far confidence and accuracy lie apart, 0 to 1"
    ),
    "reward/margin": Metric("Margin", "nats", "Preference", "up", "score of the preferred answer minus the other's"),
    "reward/chosen": Metric(
        "Reward of the chosen", "nats", "Preference", "", "implicit reward: beta log(policy / reference)"
    ),
    "reward/rejected": Metric(
        "Reward of the rejected", "nats", "Preference", "", "implicit reward: beta log(policy / reference)"
    ),
    "policy/logp_chosen": Metric("Log-probability of the chosen", "nats/answer", "Preference", "", "of whole answers"),
    "policy/logp_rejected": Metric(
        "Log-probability of the rejected", "nats/answer", "Preference", "", "of whole answers"
    ),
    "loss/total": Metric("Loss", "", "Loss", "", "what the optimiser minimises"),
    "loss/policy": Metric("Loss of the policy", "", "Loss", "", "without the critic's"),
    "loss/value": Metric("Loss of the critic", "", "Critic", "down", "half the squared error of its values"),
    "value/explained_variance": Metric(
        "Explained variance", "", "Critic", "up", "1 where the critic knows every return, 0 where it knows none"
    ),
    "value/mean": Metric("Mean value", "", "Critic", "", "over tokens, in units of the reward that training sees"),
    "value/clip_fraction": Metric("Clipped values", "%", "Critic", "", "tokens whose value moved beyond the clip"),
    "value/grad_norm": Metric("Gradient norm of the critic", "", "Critic", "", "before it is scaled down"),
    "value/lr": Metric("Learning rate of the critic", "", "Critic", "", "at each optimiser step"),
    "policy/kl_coef": Metric("KL coefficient", "", "Policy", "", "weight of the KL penalty"),
    "policy/passes": Metric("Passes", "", "Policy", "", "over the answers of a round"),
    "sampler/kl": Metric("Sampler's mismatch", "nats/token", "Sampler", "down", "KL from the sampler to the trainer"),
    "sampler/ratio_mean": Metric(
        "Mean importance ratio", "", "Sampler", "", "trainer over sampler; 1 where they agree"
    ),
    "sampler/ess_fraction": Metric(
        "Effective samples", "%", "Sampler", "up", "of the importance weights, of all tokens"
    ),
    "sampler/staleness_updates": Metric(
        "Age of the answers", "rounds", "Sampler", "", "learned since the weights that sampled them"
    ),
    "sampler/removed_fraction": Metric(
        "Removed tokens", "%", "Sampler", "down", "left out by the importance correction"
    ),
    "loss/log_loss": Metric(
        "Log-loss", "nats", "Loss", "down", "negative log-likelihood of the labels; chance is 0.693"
    ),
    "loss/perplexity": Metric("Perplexity", "", "Loss", "down", "exp of the loss per token"),
    "policy/kl_ref": Metric(
        "KL to the start", "nats/token", "Policy", "", "how far the policy has moved from the model it started as"
    ),
    "policy/kl_ref_answer": Metric(
        "KL to the reference", "nats/answer", "Policy", "", "how much likelier the answers are than under the reference"
    ),
    "policy/kl_old": Metric(
        "KL to the sampler",
        "nats/token",
        "Policy",
        "",
        "how far the policy has moved from the one that sampled the answers",
    ),
    "policy/entropy": Metric("Entropy", "nats/token", "Policy", "", "how undecided the policy is about the next token"),
    "policy/clip_fraction": Metric("Clipped tokens", "%", "Policy", "", "tokens whose ratio left the clip interval"),
    "policy/grad_norm": Metric(
        "Gradient norm", "", "Optimiser", "", "before it is scaled down to trainer.max_grad_norm"
    ),
    "response/length_tokens": Metric("Answer length", "tokens", "Answers", "", "mean, end-of-sequence token included"),
    "response/truncated_fraction": Metric(
        "Truncated", "%", "Answers", "down", "answers cut off at rollout.max_new_tokens"
    ),
    "policy/kl_ref_answer_k3": Metric(
        "KL to the reference, k3", "nats/answer", "Policy", "", "the same by the estimator q/p - 1 - log(q/p)"
    ),
    "policy/kl_ref_k1": Metric("KL to the reference, k1", "nats/token", "Policy", "", "mean of log p - log q"),
    "response/nll_ref": Metric(
        "Surprise under the reference", "nats/token", "Answers", "", "of the model's own answers"
    ),
    "response/perplexity_ref": Metric("Perplexity under the reference", "", "Answers", "", "exp of the surprise"),
    "response/repetition": Metric("Repeated 4-grams", "%", "Answers", "down", "within one answer"),
    "response/distinct_1": Metric("Distinct words", "%", "Answers", "", "over the answers to one prompt"),
    "response/distinct_2": Metric("Distinct 2-grams", "%", "Answers", "", "over the answers to one prompt"),
    "response/distinct_3": Metric("Distinct 3-grams", "%", "Answers", "", "over the answers to one prompt"),
    "response/distinct_2_across": Metric("Distinct 2-grams across prompts", "%", "Answers", "", "of the first answers"),
    "response/self_similarity": Metric("Self-similarity", "%", "Answers", "", "between the answers to one prompt"),
    "safety/refusal_rate": Metric("Harmful requests declined", "%", "Answers", "up", "by phrases of refusal"),
    "safety/over_refusal_rate": Metric(
        "Harmless look-alikes declined", "%", "Answers", "down", "by phrases of refusal"
    ),
    "judge/win_rate": Metric(
        "Win rate", "%", "Preference", "up", "by the judge, against the reference; ties count half"
    ),
    "judge/win_rate_length_controlled": Metric(
        "Win rate, length-controlled", "%", "Preference", "up", "what it would be for answers of equal length"
    ),
    "judge/order_flip_rate": Metric("Verdicts that follow the order", "%", "Preference", "down", "of the two answers"),
    "judge/first_position_rate": Metric("Verdicts for the first answer", "%", "Preference", "", "50% without a bias"),
    "judge/kappa_total": Metric("Judge and reward agree", "", "Preference", "", "Cohen's kappa; 0 is chance"),
    "judge/kappa_learned": Metric("Judge and learned reward agree", "", "Preference", "", "Cohen's kappa; 0 is chance"),
    "optimizer/lr": Metric("Learning rate", "", "Optimiser", "", "at each optimiser step"),
    "data/kept_fraction": Metric(
        "Kept answers", "%", "Reward", "", "answers that are imitated, of all that were sampled"
    ),
    "data/epoch": Metric("Epoch", "", "Optimiser", "", "passes over the training examples"),
    "time/step_s": Metric("Time a step", "s", "Cost", "down", "wall clock"),
    "time/rollout_s": Metric("Sampling", "s", "Cost", "down", "wall clock a step"),
    "time/reward_s": Metric("Scoring", "s", "Cost", "down", "wall clock a step"),
    "time/wait_s": Metric("Waiting for answers", "s", "Cost", "down", "that are sampled ahead"),
    "time/update_s": Metric("Learning", "s", "Cost", "down", "wall clock a step"),
    "time/evaluation_s": Metric("Evaluating", "s", "Cost", "down", "wall clock an evaluation"),
    "throughput/generated_tokens_per_s": Metric("Sampling speed", "tokens/s", "Cost", "up"),
    "throughput/trained_tokens_per_s": Metric("Learning speed", "tokens/s", "Cost", "up"),
    "memory/peak_mb": Metric("Peak memory", "MB", "Cost", "down"),
    "budget/generated_tokens": Metric("Tokens sampled", "tokens", "Cost", "", "since the start of the run"),
    "budget/trained_tokens": Metric("Tokens learned from", "tokens", "Cost", "", "since the start of the run"),
    "budget/seconds": Metric("Time of training", "s", "Cost", "", "since the start of the run, without evaluations"),
    "budget/flops": Metric("Floating-point operations", "FLOP", "Cost", "", "since the start of the run"),
}

_EVAL_ALIASES = {"loss": "loss/total", "perplexity": "loss/perplexity", "log_loss": "loss/log_loss"}
_OF_SEVERAL = {
    "avg": "right answers, of all samples",
    "pass": "questions of which one of k answers is right",
    "maj": "questions of which the most frequent of k answers is right",
}
_PAIR_METRICS = ("accuracy", "margin", "mean", "std", "total")


def twin(name: str) -> str:
    """The training name of a metric: eval/reward_mean -> reward/mean, eval/loss -> loss/total."""
    rest = name.removeprefix("eval/")
    if rest in _EVAL_ALIASES:
        return _EVAL_ALIASES[rest]
    if "@" in rest and "/" not in rest:
        return f"math/{rest}"
    if rest in _PAIR_METRICS:
        return f"reward/{rest}"
    if "/" not in rest and "_" in rest:
        group, _, short = rest.partition("_")
        if group in ("reward", "response", "policy", "loss"):
            return f"{group}/{short}"
    return rest


def metric(name: str, stage: str = "") -> Metric:
    """How `name` is shown. An unlisted name is its own label; its group follows from its first part.

    `loss/total` is a likelihood in supervised stages, where lower is better; a policy gradient's loss is not.
    """
    known = twin(name)
    if known == "loss/total" and stage in ("sft", "reward"):
        about = (
            "negative log-likelihood a token" if stage == "sft" else "negative log-likelihood a pair; chance is 0.693"
        )
        return Metric("Loss", "nats", "Loss", "down", about)
    if known in METRICS:
        return METRICS[known]
    if known.startswith("math/") and "@" in known:
        return Metric(known.removeprefix("math/"), "%", "Answers", "up", _OF_SEVERAL[known[5:].partition("@")[0]])
    if known.startswith("accuracy_"):
        about = "pairs of this part of the data whose preferred answer scores higher; a tie counts half"
        return Metric(f"Accuracy, {known.removeprefix('accuracy_')}", "%", "Preference", "up", about)
    first = known.partition("/")[0]
    groups = {"reward": "Reward", "loss": "Loss", "policy": "Policy", "response": "Answers", "optimizer": "Optimiser"}
    groups |= dict.fromkeys(("time", "throughput", "memory", "budget"), "Cost")
    unit = "%" if known.endswith("_fraction") else ""
    return Metric(known, unit, groups.get(first, "Other"))
