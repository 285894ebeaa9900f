"""State that stays right when a FastAPI service runs as more than one replica."""
