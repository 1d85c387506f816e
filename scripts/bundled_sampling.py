"""Sampling of answers from SmolLM2-135M-Instruct for the bundled dataset (used by `make_bundled_dataset.py`).

All prompts of a style start with the same tokens (system prompt and examples), so their keys and values are computed
once and shared by the batch, and finished answers leave the batch while it is decoded.
"""

import copy
import re
from collections import Counter
from dataclasses import dataclass

import torch
from bundled_prompts import STYLES, Style
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from rlhf.models.bundled import bundled_folder

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
TEMPERATURE = 0.7
TOP_P = 0.9
CANDIDATES = 100
"""Tokens considered at each step; the nucleus of `TOP_P` is taken inside the most likely ones."""
MAX_NEW_TOKENS = 80
BATCH_SIZE = 96
COMPACT_SHARE = 0.8
"""The batch drops its finished rows when fewer than this share of them are still being decoded."""
MAX_TRIGRAM_REPEATS = 2
"""An answer that uses three words in a row more often than this is taken as a decoding loop."""
COPIED_RUN = 5
"""An answer that shares this many words in a row with an example of the styles is taken as a copy of it."""

_PLAIN_TEXT = re.compile(r"[\n -~\u00a3\u00b0\u00c0-\u00ff\u2013\u2014\u2026\u20ac]+")
_ROLE_OR_MODEL = re.compile(
    r"\b(ai|a\.i|chatbots?|language model|assistants?|smollm|hugging face|system prompt|sentences?|few words)\b"
    r"|\b(user|system|human|bot) ?:|<\||https?:|[#@\[\]{}*_]",
    re.IGNORECASE,
)

_UNSUITABLE = re.compile(
    r"\b(die[ds]?|dying|blood|flesh|kill\w*|suicid\w*|sex\w*|drunk|stupid|dumb|idiots?|fold (a|the) shirt|new chair)\b",
    re.IGNORECASE,
)
"""Words that do not belong in small talk, and the subjects of the style examples."""


@dataclass
class Sampler:
    """The model, its tokenizer and the generator that draws tokens."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    generator: torch.Generator


def load_sampler() -> Sampler:
    """Load the model, its tokenizer and a generator that `sample_style` seeds."""
    folder = bundled_folder(MODEL)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    return Sampler(model, AutoTokenizer.from_pretrained(folder), torch.Generator())


def style_token_ids(tokenizer: PreTrainedTokenizerBase, style: Style, prompts: list[str]) -> tuple[list, list[list]]:
    """Return the token ids all prompts of a style share, and the ids of each prompt's own turn after them."""
    shared = [{"role": "system", "content": style.system}]
    for question, answer in style.examples:
        shared += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    head = tokenizer.apply_chat_template(shared, tokenize=False)
    turns = []
    for prompt in prompts:
        messages = [*shared, {"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        turns.append(tokenizer(text.removeprefix(head), add_special_tokens=False).input_ids)
    return tokenizer(head, add_special_tokens=False).input_ids, turns


def draw_tokens(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw one token per row of `logits` (batch, vocabulary) with temperature and nucleus sampling."""
    probabilities, tokens = torch.softmax(logits.float() / TEMPERATURE, dim=-1).topk(CANDIDATES, dim=-1)
    outside = probabilities.cumsum(dim=-1) - probabilities >= TOP_P
    choice = torch.multinomial(probabilities.masked_fill(outside, 0.0), 1, generator=generator)
    return tokens.gather(-1, choice).squeeze(-1)


def decode_batch(sampler: Sampler, head_cache: DynamicCache, turns: list[list[int]]) -> list[list[int] | None]:
    """Sample one answer per turn after the shared head; None stands for an answer that did not reach its end token."""
    eos = sampler.tokenizer.eos_token_id
    width = max(map(len, turns))
    ids = torch.tensor([[eos] * (width - len(turn)) + turn for turn in turns])
    own = torch.tensor([[0] * (width - len(turn)) + [1] * len(turn) for turn in turns])
    mask = torch.cat([torch.ones(len(turns), head_cache.get_seq_length(), dtype=torch.long), own], dim=1)
    positions = (mask.cumsum(dim=1) - 1)[:, -width:]
    cache = copy.deepcopy(head_cache)
    cache.batch_repeat_interleave(len(turns))
    rows, drawn, done = torch.arange(len(turns)), [[] for _ in turns], [False] * len(turns)
    for _ in range(MAX_NEW_TOKENS):
        output = sampler.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1
        )
        tokens = draw_tokens(output.logits[:, -1], sampler.generator)
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            done[row] = done[row] or token == eos
            if not done[row]:
                drawn[row].append(token)
        running = torch.tensor([index for index, row in enumerate(rows.tolist()) if not done[row]], dtype=torch.long)
        if len(running) == 0:
            break
        positions = positions[:, -1:] + 1
        if len(running) < COMPACT_SHARE * len(rows):
            cache.batch_select_indices(running)
            rows, tokens, mask, positions = rows[running], tokens[running], mask[running], positions[running]
        ids = tokens[:, None]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
    return [tokens if finished else None for tokens, finished in zip(drawn, done, strict=True)]


@torch.inference_mode()
def sample_style(sampler: Sampler, style: Style, prompts: list[str], seed: int) -> list[list[str]]:
    """Sample `style.copies` answers per prompt, starting from `seed`; answers that did not finish are left out."""
    sampler.generator.manual_seed(seed)
    head, turns = style_token_ids(sampler.tokenizer, style, prompts)
    head_cache = DynamicCache()
    sampler.model(input_ids=torch.tensor([head]), past_key_values=head_cache, logits_to_keep=1)
    jobs = [index for index in range(len(prompts)) for _ in range(style.copies)]
    answers: list[list[str]] = [[] for _ in prompts]
    for start in range(0, len(jobs), BATCH_SIZE):
        batch = jobs[start : start + BATCH_SIZE]
        for index, tokens in zip(batch, decode_batch(sampler, head_cache, [turns[i] for i in batch]), strict=True):
            if tokens is not None:
                answers[index].append(clean(sampler.tokenizer.decode(tokens, skip_special_tokens=True)))
    return answers


def clean(text: str) -> str:
    """Return `text` with straight quotes, without blank lines and without outer whitespace."""
    straight = text.translate(str.maketrans("\u2018\u2019\u201c\u201d", "''\"\""))
    return re.sub(r"\s*\n\s*", "\n", straight).strip()


def word_runs(text: str, length: int) -> list[tuple[str, ...]]:
    """Return every run of `length` words of `text`, in lower case and without punctuation."""
    words = re.findall(r"[\w']+", text.lower())
    return [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]


_EXAMPLE_RUNS = {run for style in STYLES for _, answer in style.examples for run in word_runs(answer, COPIED_RUN)}


def is_usable(answer: str) -> bool:
    """Say whether an answer is plain prose: no mark-up, role tags, talk of being a model, loops or copied examples."""
    if not _PLAIN_TEXT.fullmatch(answer) or _ROLE_OR_MODEL.search(answer) or _UNSUITABLE.search(answer):
        return False
    if not re.search(r"[A-Za-z]{2}", answer) or not _EXAMPLE_RUNS.isdisjoint(word_runs(answer, COPIED_RUN)):
        return False
    repeats = Counter(word_runs(answer, 3)).values()
    return max(repeats, default=0) <= MAX_TRIGRAM_REPEATS
