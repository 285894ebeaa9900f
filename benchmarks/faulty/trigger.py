"""The command of a fault: `trigger.py PORT NAME` lets the benchmark inject or heal it, and ends when that is done."""

import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=180) as connection:
    connection.sendall(f"{sys.argv[2]}\n".encode())
    answer = connection.makefile().readline().strip()
if answer != "done":
    sys.exit(answer or "the benchmark has not answered")
