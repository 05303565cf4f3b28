"""Opens one listening socket in the network namespace it is started in and hands it over; it knows nothing else.

It runs by path under ``python -I``, so it imports the standard library only and must not know who serves the socket.

    python -I listen.py FD ADDRESS PORT
"""

from __future__ import annotations

import socket
import subprocess
import sys

if __name__ == "__main__":
    channel, address, port = socket.socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    subprocess.run(("ip", "address", "replace", f"{address}/32", "dev", "lo"), check=True)
    with socket.create_server((address, port), backlog=64) as listener:
        socket.send_fds(channel, [b"."], [listener.fileno()])
