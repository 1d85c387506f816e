"""Text that others wrote (models, datasets, exceptions) made safe to show. It is data: shown as it is, never obeyed."""

from __future__ import annotations

import html
import re

MAX_SHOWN = 6000  # characters of one prompt or answer; the whole text stays in samples.jsonl
_REORDERING = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")  # invisible, or turn text around
_MARKDOWN_SIGNS = re.compile(r"([\\`*{}\[\]#|~$]|(?<![^\W_])_|_(?![^\W_]))")
_LINE_STARTS = re.compile(r"^(\s*)([-+=]|\d+(?=[.)]\s))", re.MULTILINE)


def visible(text: object) -> str:
    """`text` with everything invisible made visible, so that nothing hides and no terminal or browser is steered.

    Control characters become their pictures (ESC -> ␛), reordering marks their code points, half surrogates U+FFFD.
    Newlines and tabs stay; other line ends become newlines.
    """
    cleaned = str(text).replace("\r\n", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    cleaned = "".join(map(_picture, cleaned)) if not cleaned.isascii() or not cleaned.isprintable() else cleaned
    return _REORDERING.sub(lambda m: f"⟨U+{ord(m.group()):04X}⟩", cleaned)


def _picture(character: str) -> str:
    code = ord(character)
    if character in "\n\t":
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0x80 <= code <= 0x9F:
        return f"⟨U+{code:04X}⟩"
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else character


def one_line(text: object, limit: int = 200) -> str:
    """`text` on one line, at most `limit` characters, the rest shown as an ellipsis."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def shortened(text: object, limit: int = MAX_SHOWN) -> str:
    """`text` made visible and cut at `limit` characters, saying how many are missing."""
    shown = visible(text)
    if len(shown) <= limit:
        return shown
    return f"{shown[:limit]}\n[… {len(shown) - limit:,} more characters; the whole text is in samples.jsonl]"


def markdown_inline(text: object, limit: int = 300) -> str:
    """`text` for a sentence or a table cell of Markdown: one line, no markup and no HTML survives."""
    escaped = html.escape(one_line(text, limit), quote=False)
    return _LINE_STARTS.sub(r"\1\\\2", _MARKDOWN_SIGNS.sub(r"\\\1", escaped))


def markdown_block(text: object) -> str:
    """`text` as a fenced block of Markdown. The fence is longer than any run of backticks inside."""
    shown = shortened(text)
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown}\n{fence}"


def slug(text: object) -> str:
    """A short name for files and anchors: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-")[:60] or "x"
