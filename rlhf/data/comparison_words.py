"""The words of dataset.path=comparisons, by their number of letters, so that answers can be exactly equally long.

Positive and negative words are as many of each length; the other words say nothing good or bad.
"""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """The words of `text`, in order."""
    return tuple(text.split())


def by_letters(text: str) -> dict[int, tuple[str, ...]]:
    """Number of letters -> the words of `text` with so many, in its order."""
    found: dict[int, tuple[str, ...]] = {}
    for word in words(text):
        found[len(word)] = (*found.get(len(word), ()), word)
    return found


POSITIVE = by_letters("""
    kind warm glad nice good fond
    happy sunny merry sweet brave loyal
    gentle lovely joyful polite caring tender
    helpful amazing welcome radiant patient smiling
    cheerful friendly pleasant generous charming splendid
""")
NEGATIVE = by_letters("""
    mean rude vile grim ugly evil
    nasty cruel angry awful gross harsh
    bitter rotten brutal wicked filthy grumpy
    hateful hostile vicious selfish jealous hideous
    horrible spiteful dreadful terrible annoying wretched
""")
NOUNS = by_letters("""
    boat lamp farm shop door mill book coat clock
    baker clerk nurse pilot train table river house truck
    farmer driver tailor garden bridge market window doctor
    teacher painter village station kitchen plumber library
    customer musician building corridor engineer magazine
""")
VERBS = by_letters("""
    stood moved spoke began
    turned waited stayed passed opened closed
    arrived started stopped changed
    returned appeared remained followed
""")
PLACES = by_letters("""
    here then soon once
    today again there later
    nearby inside
    outside indoors
    tomorrow upstairs
""")
NAMES = words("""
    Ada Ben Clara David Emma Felix Greta Hugo Irene Jonas Karin Leo Maria Nora Oscar Paula Quentin Rosa Simon Tina
    Viktor Walter Yara Zoe
""")
THINGS = words("""
    bakery ferry office harbour museum orchard meeting concert lesson journey letter report party picnic holiday parade
    exhibition wedding course match hotel clinic theatre workshop festival school studio campsite auction library
""")
TIMES = (
    "in the morning", "at noon", "in the evening", "at night", "on Monday", "on Friday", "in spring", "in winter",
    "after lunch", "before dinner", "during the storm", "on the first day",
)  # fmt: skip
QUESTIONS = (
    "What did {name} say about the {thing} {time}?",
    "How would {name} describe the {thing} {time}?",
    "What does {name} remember of the {thing} {time}?",
    "Which words did {name} find for the {thing} {time}?",
    "What was the {thing} like for {name} {time}?",
    "Finish the note that {name} wrote on the {thing} {time}.",
    "Tell me what {name} saw of the {thing} {time}.",
    "What should people know of {name} and the {thing} {time}?",
)
