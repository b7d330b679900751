"""Stage 1, raw material: sources are read, mapped, cleaned, deduplicated and split into documents."""
