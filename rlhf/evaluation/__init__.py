"""Judging finished models on held-out data: samples, rewards, accuracies, and intervals on every number."""
