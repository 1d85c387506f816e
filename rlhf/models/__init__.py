"""Policies, frozen references and reward models: loading, saving, and the forward pass over packed batches."""
