"""Save and load everything that a resumed run needs; whole or not at all."""

from rlhf.checkpoint.checkpointer import Checkpointer

__all__ = ["Checkpointer"]
