"""How this process talks to the Redis of the counters: key names, queues, delivery, connections."""
