#!/usr/bin/env python3
"""Stands between a client and HOST:PORT, and breaks connections on which the client sends much.

Usage: breaking_relay.py HOST:PORT TIMES BYTES     says its own address on standard output, then relays until it is killed; of the first
TIMES connections on which the client sends more than BYTES, no more is passed on, and both ends are closed
"""

import socket
import struct
import sys
import threading


class Relay:
    def __init__(self, target, times, most_bytes):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.most_bytes = most_bytes
        self.lock = threading.Lock()
        self.left = times  # guarded by lock

    def pass_on(self, source, to, broken):
        """broken: an event to set when it was broken; None: it is not to be."""
        passed = 0
        try:
            while piece := source.recv(65536):
                passed += len(piece)
                if broken and passed > self.most_bytes and self.take_one():
                    broken.set()
                    break
                to.sendall(piece)
        except OSError:
            pass
        for end in (source, to):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def relay(self, client):
        broken = threading.Event()
        with client, socket.create_connection(self.target) as server:
            answers = threading.Thread(target=self.pass_on, args=(server, client, None))
            answers.start()
            self.pass_on(client, server, broken)
            answers.join()
            if broken.is_set():  # with a reset, not an end: a client may go on sending after that
                for end in (client, server):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def take_one(self):
        with self.lock:
            if self.left == 0:
                return False
            self.left -= 1
            return True

    def serve(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self.relay, args=(client,), daemon=True).start()


if __name__ == "__main__":
    Relay(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).serve()
