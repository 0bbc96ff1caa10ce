"""Root of a target, at the agent that a user lends: asks for all that it must not get. One line of JSON for each answer.

Arguments: the bastion's host key, the key that logged the user in (both in base64).
"""
import base64
import json
import os
import socket
import struct
import sys

own_host, own_login = (base64.b64decode(text) for text in sys.argv[1:3])


def string(text):
    return struct.pack(">I", len(text)) + text


class Agent:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(50)
        self.socket.connect(os.environ["SSH_AUTH_SOCK"])

    def read(self, count):
        got = b""
        while len(got) < count:
            more = self.socket.recv(count - len(got))
            if not more:
                raise EOFError
            got += more
        return got

    def answer(self):
        return self.read(struct.unpack(">I", self.read(4))[0])

    def ask(self, body):
        self.socket.sendall(string(body))
        return self.answer()


def login(key, session=b"s" * 32, host=None, user=b"deploy"):
    method = b"publickey" if host is None else b"publickey-hostbound-v00@openssh.com"
    data = string(session) + b"\x32" + string(user) + string(b"ssh-connection") + string(method) + b"\x01"
    data += string(b"ssh-ed25519") + string(key)
    return data if host is None else data + string(host)


def sign(key, data):
    return b"\x0d" + string(key) + string(data) + struct.pack(">I", 0)


def tell(what, answer):
    print(json.dumps([what, answer]), flush=True)


agent = Agent()
# Before the list nothing is lent.
listed = agent.ask(b"\x0b")
length = struct.unpack(">I", listed[5:9])[0]
key = listed[9:9 + length]
tell("keys", struct.unpack(">I", listed[1:5])[0])
tell("unlisted", Agent().ask(sign(key, login(key)))[0])
other_host = string(b"ssh-ed25519") + string(b"h" * 32)
sshsig = b"SSHSIG" + string(b"file") + string(b"") + string(b"sha512") + string(b"h" * 64)
for what, body in [
    ("sshsig", sign(key, sshsig)),
    ("the bastion", sign(key, login(key, host=own_host))),
    ("the login key", sign(own_login, login(own_login))),
    ("the login key inside", sign(key, login(own_login))),
    ("garbage", sign(key, os.urandom(200))),
    ("nothing", sign(key, b"")),
    ("half a message", b"\x0d" + string(key)),
    ("add", b"\x11" + string(b"ssh-ed25519") + string(b"k" * 32) + string(b"k" * 64) + string(b"mine")),
    ("remove", b"\x12" + string(key)),
    ("remove all", b"\x13"),
    ("smart card", b"\x14" + string(b"/tmp/evil.so") + string(b"")),
    ("lock", b"\x16" + string(b"x")),
    ("version 1", b"\x01"),
    ("extension", b"\x1b" + string(b"query")),
    ("bind to the bastion", b"\x1b" + string(b"session-bind@openssh.com") + string(own_host) + string(b"s" * 32) + string(b"x") + b"\x00"),
]:
    tell(what, agent.ask(body)[0])
# What may be, is signed: else all of the above would say nothing.
tell("signed", agent.ask(sign(key, login(key, host=other_host)))[0])
tell("signed plainly", agent.ask(sign(key, login(key)))[0])
answers = [agent.ask(sign(key, login(key)))[0] for _ in range(100)]
tell("signed of 100", answers.count(14))
# All at once.
many = 10000
agent.socket.settimeout(None)
sender = os.fork()
if sender == 0:
    agent.socket.sendall(string(b"\x0b") * many)
    os._exit(0)
answers = [agent.answer()[0] for _ in range(many)]
os.waitpid(sender, 0)
tell("listed of 10000", answers.count(12))
tell("refused of 10000", answers.count(5))
for length in [0, 256 * 1024 + 1, 2**32 - 1]:
    hostile = Agent()
    hostile.socket.sendall(struct.pack(">I", length))
    try:
        tell("length %d" % length, hostile.answer()[0])
    except (EOFError, ConnectionResetError):
        tell("length %d" % length, "closed")
# So many at once, and no more.
held = []
try:
    for _ in range(20):
        one = Agent()
        one.ask(b"\x13")
        held.append(one)
except (EOFError, OSError):
    pass
tell("held", len(held))
