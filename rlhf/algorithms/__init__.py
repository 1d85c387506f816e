"""Each algorithm as pure functions on tensors, with its equation numbers. Imports only torch and rlhf.types."""
