"""Run directories in, one report out: Markdown, figures, and a self-contained HTML page. Reads files; needs no torch.

reading -> headline, tables, samples, panels -> document -> markdown, html; build.build_report is the door.
"""
