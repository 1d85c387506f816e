"""Engines that sample answers from a policy."""
