"""Thin loops that read as the algorithms do. Each asks for its parts by name; rlhf.run hands them in."""
