"""Asyncio tasks: run them beside a block, in pairs, end them reliably, and log their failures once."""
