"""`make demo`: what breaks with a tutorial's state, and what happens here, measured side by side."""
