"""From rows to typed examples: which columns mean what, for every format that dataset.format names.

    hh_transcripts    chosen, rejected: whole transcripts; split at their last assistant turn
    pairs             chosen, rejected, and a prompt, or none where both sides begin with it; strings or lists of turns
    prompts           prompt: a string or a list of turns
    question_answer   prompt, answer: the answer is kept as the prompt's reference answer
    messages          messages: a conversation; where its last turn is the assistant's, that is the answer
    math              a problem or question with its answer, in the shapes of MATH and GSM8K (rlhf.data.math_rows)
    summaries         a text, two summaries of it, and which is better (rlhf.data.summaries)

The formats serve other kinds than their own: prompts come from every format (each different prompt once),
demonstrations from pairs and summaries (the chosen side), from question_answer, from messages and from math (the
worked solution).

A prompt given as a string is what dataset.template makes of it; without one it is a user turn, unless it is an HH
transcript (its turns) or dataset.render=verbatim (the text itself). A pair of strings without a prompt column is split
where they begin to differ, at the last white space before, and stays verbatim text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from rlhf.config.sections import DatasetConfig
from rlhf.config.templates import load_template
from rlhf.data.columns import detect_format, number_of, refuse_unknown_columns, text_of, value_of
from rlhf.data.conversations import MalformedExample, Turns, answer_of, split_conversations, split_strings, turns_of
from rlhf.data.math_rows import MathRow, math_row
from rlhf.data.rows import Row
from rlhf.data.sources import Kind
from rlhf.data.summaries import summary_row
from rlhf.data.templates import template_metadata, templated
from rlhf.data.transcripts import is_transcript, merge_turns, parse_transcript
from rlhf.errors import DataError
from rlhf.types import Demonstration, Message, PreferencePair, Prompt

PAIRED = ("hh_transcripts", "pairs", "summaries")
"""Formats whose rows are preference pairs."""


class RowParser:
    """Turns rows into examples of one kind. `format` is the format it uses; None until the first row told it.

    Raises DataError, with the row's origin, where a column is missing or holds what the format does not; raises
    MalformedExample, which names a reason to be counted, where the row is of the format but no example can be made of
    it.
    """

    def __init__(self, config: DatasetConfig, kind: Kind, *, id_column: str | None = None) -> None:
        self.config = config
        self.columns = config.columns
        self.template = None if config.template is None else load_template(config.template)
        self.kind = kind
        self.format: str | None = None if config.format == "auto" else config.format
        self._id_column = id_column or config.columns.id
        self._parse: Callable[[Row, str], Any] | None = None

    def parse(self, row: Row, default_id: str) -> PreferencePair | Prompt | Demonstration:
        """The example of `row`; `default_id` is its prompt's id where the data names none."""
        if self._parse is None:
            self._start(row)
        given = self._column(row, self._id_column) if self._id_column else None
        return self._parse(row, default_id if given is None else str(given))

    def _start(self, row: Row) -> None:
        refuse_unknown_columns(row, self.columns)
        if self.format is None:
            try:
                self.format = detect_format(row.values, self.columns)
            except DataError as error:
                raise DataError(f"{row.origin}: {error}") from None
        if self.kind == "pairs" and self.format not in PAIRED:
            raise DataError(
                f"{row.origin}: format {self.format} holds no preference pairs: they need chosen and rejected"
            )
        if self.kind == "demonstrations" and self.format == "prompts":
            raise DataError(
                f"{row.origin}: format prompts holds no answers to imitate; name one with dataset.columns.answer"
            )
        if self.template is not None and self.format in ("hh_transcripts", "messages", "summaries"):
            raise DataError(
                f"{row.origin}: dataset.template={self.config.template} needs rows with a question, which format "
                f"{self.format} has not; use dataset.template=null"
            )
        makers = {"pairs": self._pair, "prompts": self._prompt, "demonstrations": self._demonstration}
        self._parse = makers[self.kind]

    def _column(self, row: Row, name: str | None) -> Any:
        return value_of(row, name, f"dataset.format={self.format}")

    def _text(self, row: Row, name: str | None) -> str:
        return text_of(row, name, f"dataset.format={self.format}")

    def _metadata(self, row: Row) -> dict[str, Any]:
        used = {getattr(self.columns, f.name) for f in fields(self.columns) if f.name != "subset"} | {self._id_column}
        found = {key: value for key, value in row.values.items() if key not in used}
        return found if self.template is None else found | template_metadata(self.template)

    def _prompt(self, row: Row, prompt_id: str) -> Prompt:
        if self.format == "messages":
            turns = self._conversation(row)
            messages = turns[:-1] if turns[-1].role == "assistant" else turns
            return self._checked(Prompt(prompt_id, messages, metadata=self._metadata(row)))
        if self.format == "prompts":
            return self._checked(self._explicit_prompt(row, prompt_id))
        if self.format == "math":
            return self._math_prompt(self._math_row(row), prompt_id)
        if self.format == "question_answer":
            answer = self._text(row, self.columns.answer)
            return self._checked(self._explicit_prompt(row, prompt_id, reference_answer=answer))
        return self._pair(row, prompt_id).prompt

    def _demonstration(self, row: Row, prompt_id: str) -> Demonstration:
        if self.format in PAIRED:
            pair = self._pair(row, prompt_id)
            return Demonstration(pair.prompt, pair.chosen)
        if self.format == "math":
            return self._worked_solution(self._math_row(row), prompt_id)
        prompt = self._prompt(row, prompt_id)
        if self.format == "question_answer":
            return Demonstration(prompt, prompt.reference_answer or "")
        last = self._conversation(row)[-1]
        if last.role != "assistant":
            raise MalformedExample("no_final_assistant_turn")
        return Demonstration(prompt, last.content)

    def _math_row(self, row: Row) -> MathRow:
        return math_row(row, question=self.columns.prompt, answer=self.columns.answer)

    def _math_prompt(self, found: MathRow, prompt_id: str) -> Prompt:
        messages, text = self._question(found.question)
        metadata = found.metadata if self.template is None else found.metadata | template_metadata(self.template)
        return Prompt(prompt_id, messages, text, found.answer, metadata)

    def _worked_solution(self, found: MathRow, prompt_id: str) -> Demonstration:
        """The solution, in the template's form where there is one."""
        if found.solution is None or found.answer is None:
            raise MalformedExample("no_solution")
        shown = found.solution if self.template is None else self.template.worked(found.solution, found.answer)
        return Demonstration(self._math_prompt(found, prompt_id), shown)

    def _conversation(self, row: Row) -> Turns:
        turns = turns_of(self._column(row, self.columns.messages), row.origin, self.columns.messages)
        if not turns:
            raise MalformedExample("empty_prompt")
        return turns

    def _explicit_prompt(self, row: Row, prompt_id: str, reference_answer: str | None = None) -> Prompt:
        messages, text = self._prompt_value(row)
        return Prompt(prompt_id, messages, text, reference_answer, self._metadata(row))

    def _prompt_value(self, row: Row) -> tuple[Turns, str]:
        """(messages, text) of the prompt column, one of them empty."""
        value = self._column(row, self.columns.prompt)
        if isinstance(value, list):
            if self.template is not None:
                raise DataError(
                    f"{row.origin}: dataset.template={self.config.template} needs a question as text; column "
                    f"{self.columns.prompt!r} holds turns. Use dataset.template=null"
                )
            return turns_of(value, row.origin, self.columns.prompt), ""
        return self._question(self._text(row, self.columns.prompt))

    def _question(self, text: str) -> tuple[Turns, str]:
        """(messages, text) of a prompt given as a string, one of them empty."""
        if self.template is not None and text.strip():
            return templated(self.template, text)
        if self.config.render == "verbatim" or not text.strip():
            return (), text
        if is_transcript(text):
            turns = merge_turns(parse_transcript(text) or ())
            return (turns[:-1] if turns[-1] == Message("assistant", "") else turns), ""
        return (Message("user", text),), ""

    def _pair(self, row: Row, prompt_id: str) -> PreferencePair:
        if self.format == "summaries":
            return self._summary_pair(row, prompt_id)
        split = self._split_transcripts if self.format == "hh_transcripts" else self._split_sides
        messages, text, answers = split(row)
        return self._made_pair(row, Prompt(prompt_id, messages, text, metadata=self._metadata(row)), answers)

    def _summary_pair(self, row: Row, prompt_id: str) -> PreferencePair:
        found = summary_row(row)
        messages, text = self._question(found.request)
        prompt = Prompt(prompt_id, messages, text, metadata=found.metadata)
        return self._made_pair(row, prompt, (found.chosen, found.rejected))

    def _made_pair(self, row: Row, prompt: Prompt, answers: tuple[str, str]) -> PreferencePair:
        prompt = self._checked(prompt)
        subset = None if self.columns.subset is None else self._column(row, self.columns.subset)
        return PreferencePair(
            prompt,
            *answers,
            margin=self._margin(row),
            metadata=prompt.metadata,
            subset=None if subset is None else str(subset),
        )

    def _split_transcripts(self, row: Row) -> tuple[Turns, str, tuple[str, str]]:
        chosen, rejected = (parse_transcript(self._text(row, n)) for n in (self.columns.chosen, self.columns.rejected))
        if chosen is None or rejected is None:
            raise MalformedExample("not_a_transcript")
        messages, answers = split_conversations(chosen, rejected)
        if messages and messages[-1].role == "assistant":
            raise MalformedExample("prompt_ends_with_assistant")
        return merge_turns(messages), "", answers

    def _split_sides(self, row: Row) -> tuple[Turns, str, tuple[str, str]]:
        """(messages, text, answers) of format `pairs`: strings or lists of turns, with or without a prompt."""
        names = (self.columns.chosen, self.columns.rejected)
        conversational = [isinstance(self._column(row, name), list) for name in names]
        if len(set(conversational)) != 1:
            raise DataError(f"{row.origin}: {names[0]!r} and {names[1]!r} must both be text or both be lists of turns")
        has_prompt = self.columns.prompt is not None and row.values.get(self.columns.prompt) is not None
        messages, text = self._prompt_value(row) if has_prompt else ((), "")
        if not conversational[0]:
            sides = [self._text(row, name) for name in names]
            if has_prompt:
                return messages, text, (sides[0], sides[1])
            text, answers = split_strings(*sides)
            return (), text, answers
        turns = [turns_of(row.values[name], row.origin, name) for name in names]
        if has_prompt:
            return messages, text, (answer_of(turns[0], messages), answer_of(turns[1], messages))
        messages, answers = split_conversations(*turns)
        return messages, "", answers

    def _margin(self, row: Row) -> float | None:
        name = self.columns.margin
        return None if name is None else number_of(row, name, f"dataset.format={self.format}")

    def _checked(self, prompt: Prompt) -> Prompt:
        if not prompt.text.strip() and not any(m.content.strip() for m in prompt.messages if m.role != "system"):
            raise MalformedExample("empty_prompt")
        return prompt
