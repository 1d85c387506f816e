"""Generative reward models: how well their scores order held-out pairs, and whether a score prompt gives a signal."""
