"""Hostile and odd text becomes visible, inert and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.reports.text import markdown_block, markdown_inline, one_line, shortened, slug, visible


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x1b[31mred\x00", "a␛[31mred␀"),
        ("one\r\ntwo\tthree", "one\ntwo\tthree"),
        ("pay\u202eexe.txt", "pay⟨U+202E⟩exe.txt"),
        ("zero\u200bwidth", "zero⟨U+200B⟩width"),
        ("half \ud800 pair", "half \ufffd pair"),
        ("\x7f\x85", "␡⟨U+0085⟩"),
        ("naïve 日本語 🙂", "naïve 日本語 🙂"),
    ],
)
def test_invisible_characters_become_visible(raw, shown):
    assert visible(raw) == shown


@given(st.text())
def test_visible_text_has_no_control_character_and_can_be_written(raw):
    shown = visible(raw)
    shown.encode("utf-8")
    assert not any(ord(c) < 0x20 and c not in "\n\t" for c in shown)


@given(st.text())
def test_a_markdown_cell_stays_one_cell_on_one_line(raw):
    cell = markdown_inline(raw)
    assert "\n" not in cell and "<" not in cell
    assert "|" not in cell.replace("\\\\", "").replace("\\|", "")


def test_markdown_markup_is_inert_and_plain_names_stay_readable():
    assert markdown_inline("# **bold** [x](y) `c`") == r"\# \*\*bold\*\* \[x\](y) \`c\`"
    assert markdown_inline("trainer.num_steps _x_") == r"trainer.num_steps \_x\_"
    assert markdown_inline("- item") == r"\- item"
    assert markdown_inline("<script>&") == "&lt;script&gt;&amp;"


@given(st.text(alphabet="`~ \nab"))
def test_a_fence_is_longer_than_any_run_of_backticks_inside(raw):
    block = markdown_block(raw)
    lines = block.split("\n")
    fence = lines[-1]
    assert set(fence) == {"`"} and lines[0] == fence + "text"
    assert fence not in "\n".join(lines[1:-1])


def test_long_text_is_cut_and_says_so():
    assert shortened("x" * 10_000, 100).startswith("x" * 100 + "\n[… 9,900 more characters")
    assert one_line("word " * 100, 20) == "word word word word…"
    assert slug("GRPO (seed 1)/x") == "grpo-seed-1-x" and slug("日本") == "x"
