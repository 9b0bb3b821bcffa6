"""The report: what a feature space looks like and what is odd in it, as one page and as charts."""
