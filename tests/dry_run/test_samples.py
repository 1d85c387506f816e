from rlhf.dry_run.samples import as_text, samples_of
from rlhf.types import Continuation, TokenGroup


def ids(text):
    return tuple(text.encode())


def test_answers_are_bracketed_and_markup_stays_text(byte_tokenizer):
    group = TokenGroup(ids("[red]hi"), (Continuation((*ids("[/red]\x1b[2J"), 257)),))
    (sample,) = samples_of("sft", [group], byte_tokenizer)
    assert as_text(sample, colour=False).plain == "[red]hi⟦[/red]\\x1b[2J<eos>⟧"
    assert as_text(sample, colour=True).plain == "[red]hi[/red]\\x1b[2J<eos>"


def test_a_loss_mask_is_shown(byte_tokenizer):
    group = TokenGroup(ids("p"), (Continuation(ids("abc"), (False, True, False)),))
    (sample,) = samples_of("sft", [group], byte_tokenizer)
    assert as_text(sample, colour=False).plain == "pa⟦b⟧c"


def test_a_reward_model_reads_the_last_token(byte_tokenizer):
    group = TokenGroup(ids("p"), (Continuation(ids("yes")), Continuation(ids("no"))))
    shown = [as_text(s, colour=False).plain for s in samples_of("reward", [group], byte_tokenizer)]
    assert shown == ["pye⟦s⟧", "pn⟦o⟧"]


def test_sampled_answers_are_announced(byte_tokenizer):
    (sample,) = samples_of("grpo", [TokenGroup(ids("p"), ())], byte_tokenizer, 8)
    assert as_text(sample, colour=False).plain == "p⟦at most 8 sampled tokens⟧"


def test_three_examples_and_long_ones_shortened(byte_tokenizer):
    group = TokenGroup(ids("x" * 2000), (Continuation(ids("y")),))
    shown = samples_of("sft", [group] * 5, byte_tokenizer)
    assert len(shown) == 3
    text = as_text(shown[0], colour=False).plain
    assert "1400 characters" in text and len(text) < 700
