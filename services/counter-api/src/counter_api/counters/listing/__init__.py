"""An index of the counters' names. A page of counters costs what the page holds, however many others there are."""
