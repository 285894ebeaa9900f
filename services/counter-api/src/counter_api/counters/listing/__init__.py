"""Which counters there are: an index of their names, so that a page costs what it holds."""
