"""dry_run=true: what a run would do and need, from its configuration and data alone. No weights; nothing written."""
