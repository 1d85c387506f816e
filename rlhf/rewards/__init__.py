"""What scores an answer: a learned model, the gold rule, a Python function, or a weighted sum of them."""
