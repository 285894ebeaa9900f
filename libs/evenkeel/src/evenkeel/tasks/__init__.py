"""Asyncio tasks: run them beside a block, in pairs, and end them whatever happens."""
