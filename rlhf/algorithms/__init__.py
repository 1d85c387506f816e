"""Each algorithm as pure functions on tensors, with its equation numbers. Imports torch and rlhf.types, nothing else."""
