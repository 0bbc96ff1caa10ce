"""A client that never logs in. Prints the messages by which the server answered, each with its count, then `cut` when
it ended the connection, else `alive`.

Arguments: port, and what to do once keys are agreed on (RFC 4252, RFC 4256):
  again      asks for the login service six times, as some clients do for each of their keys
  services   asks for it 1000 times
  service    asks for a service that there is none of
  methods    tries 1000 logins by methods that the bastion does not have
  offers     offers 1000 keys that nobody has
  count      answers questions with a count of 4294967295 and no answers
  short      answers with a text that ends before its length says
  more       answers with bytes behind the last answer
  unasked    answers 1000 times what nobody asked
"""
import collections
import os
import queue
import socket
import sys
import paramiko
from paramiko.message import Message

SERVICE_REQUEST, REQUEST, INFO_RESPONSE = 5, 50, 61
NAMES = {6: "accept", 51: "failure", 53: "banner", 60: "question"}

port, what = int(sys.argv[1]), sys.argv[2]
heard, counts = queue.Queue(), collections.Counter()


class Ear:
    """Takes the messages of a login in paramiko's place."""
    _handler_table = {number: (lambda _, message, name=name: heard.put(name)) for number, name in NAMES.items()}

    def is_authenticated(self):
        return False

    def abort(self):
        pass


def hear(name):
    """Waits until the server has said this."""
    while True:
        said = heard.get(timeout=60)
        counts[said] += 1
        if said == name:
            return


transport = paramiko.Transport(socket.create_connection(("127.0.0.1", port)))
transport.start_client(timeout=60)
transport.auth_handler = Ear()


def send(kind, *parts):
    message = Message()
    message.add_byte(bytes([kind]))
    for part in parts:
        message.add_bytes(part)
    transport._send_message(message)


def text(value):
    return len(value).to_bytes(4, "big") + value


def service(name=b"ssh-userauth"):
    send(SERVICE_REQUEST, text(name))


def login(method, *more):
    send(REQUEST, text(b"alice"), text(b"ssh-connection"), text(method), *more)


def flood():
    """What is to be done; whether the connection goes on after it."""
    service(b"ssh-connection" if what == "service" else b"ssh-userauth")
    if what == "again":
        for _ in range(5):
            service()
        for _ in range(6):
            hear("accept")
        return True
    if what == "services":
        for _ in range(1000):
            service()
    elif what == "methods":
        for number in range(1000):
            login(b"none" if number % 2 else b"hostbased")
    elif what == "offers":
        for _ in range(1000):
            key = text(b"ssh-ed25519") + text(os.urandom(32))
            login(b"publickey", b"\0", text(b"ssh-ed25519"), text(key))
    elif what == "unasked":
        for _ in range(1000):
            send(INFO_RESPONSE, (0).to_bytes(4, "big"))
    elif what != "service":
        two = (2).to_bytes(4, "big")
        answers = {"count": [b"\xff" * 4], "short": [two, b"\0\0\1\0", b"no"], "more": [two, text(b"a"), text(b"b"), b"c"]}
        login(b"keyboard-interactive", text(b""), text(b""))
        hear("question")
        send(INFO_RESPONSE, *answers[what])
        if what == "count":
            hear("failure")
            return True
    return False


try:
    if not flood():
        transport.join(60)
except (OSError, EOFError, paramiko.SSHException):
    # A write can fail a moment before the thread that reads has seen the end.
    transport.join(60)
while not heard.empty():
    counts[heard.get()] += 1
print(*(f"{name} {count}" for name, count in sorted(counts.items())), "alive" if transport.is_active() else "cut")
