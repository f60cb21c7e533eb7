"""The account: statistics, published numbers, verdicts, tables and figures, from records alone."""
