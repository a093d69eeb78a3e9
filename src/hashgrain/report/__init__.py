"""Pages of figures: charts, tables, comparisons."""
