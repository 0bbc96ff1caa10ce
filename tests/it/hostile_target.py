"""A target that opens channels towards its client. Prints its port; after the first program is asked for, tries.

Argument: the host key file. Accepts any login. Answers `exec` of types of channels with the outcome of opening each, `many` with
that of a hundred sessions; `ask [[kind, name, whether an answer is wanted, hexadecimal payload], ...]` with those; `extended` with how
much extended data came before the three bytes of input that it reads.
"""
import json
import socket
import sys
import threading
import paramiko
from paramiko.common import (MSG_CHANNEL_FAILURE, MSG_CHANNEL_SUCCESS, cMSG_CHANNEL_OPEN, cMSG_CHANNEL_REQUEST,
                             cMSG_GLOBAL_REQUEST)
from paramiko.message import Message


class Target(paramiko.ServerInterface):
    def __init__(self):
        self.asked = threading.Event()

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        self.channel, self.many, self.command = channel, command == b"many", command
        self.asked.set()
        return True


def string(text):
    return len(text).to_bytes(4, "big") + text


PLACE = string(b"127.0.0.1") + (1).to_bytes(4, "big")
SOCKET = string(b"/tmp/x.sock") + string(b"")
# What each type of channel is opened with, beside its numbers (RFC 4254; OpenSSH's PROTOCOL).
PAYLOADS = {
    "x11": PLACE,
    "direct-tcpip": PLACE + PLACE,
    "forwarded-tcpip": PLACE + PLACE,
    "direct-streamlocal@openssh.com": SOCKET + (0).to_bytes(4, "big"),
    "forwarded-streamlocal@openssh.com": SOCKET,
}


def outcome(transport, kind):
    """As `Transport.open_channel`, with any payload."""
    with transport.lock:
        number = transport._next_channel()
        message = Message()
        message.add_byte(cMSG_CHANNEL_OPEN)
        message.add_string(kind)
        message.add_int(number)
        message.add_int(1 << 21)
        message.add_int(1 << 15)
        message.add_bytes(PAYLOADS.get(kind, b""))
        channel = paramiko.Channel(number)
        transport._channels.put(number, channel)
        transport.channel_events[number] = answered = threading.Event()
        transport.channels_seen[number] = True
        channel._set_transport(transport)
        channel._set_window(1 << 21, 1 << 15)
    try:
        transport._send_user_message(message)
    except (OSError, EOFError, paramiko.SSHException):
        return "gone"
    for _ in range(200):
        if answered.wait(0.1):
            return "refused" if transport._channels.get(number) is None else "opened"
        if not transport.is_active():
            break
    return "gone"



# A server's side of paramiko closes a channel whose request was refused: here it only says so.
def answered(how):
    def told(channel, message):
        channel.answer = how
        channel.event.set()
    return told


paramiko.Transport._channel_handler_table[MSG_CHANNEL_SUCCESS] = answered("taken")
paramiko.Transport._channel_handler_table[MSG_CHANNEL_FAILURE] = answered("refused")


def asked(transport, channel, kind, name, reply, payload):
    """Asks for something; `taken`, `refused`, or `mute` where no answer is wanted."""
    message = Message()
    if kind == "request":
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        event = channel.event
    else:
        message.add_byte(cMSG_GLOBAL_REQUEST)
        event = transport.completion_event = threading.Event()
    message.add_string(name)
    message.add_boolean(reply)
    message.add_bytes(payload)
    event.clear()
    transport._send_user_message(message)
    if not reply:
        return "mute"
    if not event.wait(20):
        return "silence"
    if kind == "request":
        return channel.answer
    return "refused" if transport.global_response is None else "taken"


listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
while True:
    transport = paramiko.Transport(listening.accept()[0])
    transport.add_server_key(paramiko.Ed25519Key.from_private_key_file(sys.argv[1]))
    target = Target()
    try:
        transport.start_server(server=target)
    except (EOFError, paramiko.SSHException):
        continue
    if not target.asked.wait(20):
        continue
    if target.command == b"extended":
        target.channel.recv(3)
        came = 0
        while target.channel.recv_stderr_ready():
            came += len(target.channel.recv_stderr(65536))
        target.channel.sendall(b"%d bytes\n" % came)
        target.channel.send_exit_status(0)
        target.channel.close()
        continue
    if target.command.startswith(b"ask "):
        told = " ".join(
            asked(transport, target.channel, kind, name, reply, bytes.fromhex(payload))
            for kind, name, reply, payload in json.loads(target.command[4:]))
        try:
            target.channel.sendall((told + "\n").encode())
            if b'"exit-' not in target.command:
                target.channel.send_exit_status(0)
            target.channel.close()
        except (OSError, EOFError):
            pass
        continue
    kinds = ["session"] * 100 if target.many else target.command.decode().split()
    told = " ".join(outcome(transport, kind) for kind in kinds)
    try:
        target.channel.sendall((told + "\n").encode())
        target.channel.send_exit_status(0)
        target.channel.close()
    except (OSError, EOFError):
        pass
    transport.close()
