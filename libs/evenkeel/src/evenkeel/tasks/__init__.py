"""Asyncio tasks: run them beside a block, in pairs or unawaited, end them reliably, and log their failures once."""
