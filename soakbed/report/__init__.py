"""The page: from archived records to tables, plots and one self-contained file."""
