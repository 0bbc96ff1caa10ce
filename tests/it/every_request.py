"""Asks for everything that SSH has, one line of output for each: kind, name, `yes` or `no`.

Arguments: port, login name, key file. Standard input: lines of JSON, each [kind, name, hexadecimal payload].
Each request on a channel has a channel of its own.
"""
import json
import sys
import threading

import paramiko
from paramiko.common import cMSG_CHANNEL_OPEN, cMSG_CHANNEL_REQUEST, cMSG_GLOBAL_REQUEST
from paramiko.message import Message

port, login, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", port, login, pkey=paramiko.Ed25519Key.from_private_key_file(key),
               allow_agent=False, look_for_keys=False)
transport = client.get_transport()


def channel(kind, payload):
    """As `Transport.open_channel`, with any payload."""
    with transport.lock:
        number = transport._next_channel()
        message = Message()
        message.add_byte(cMSG_CHANNEL_OPEN)
        message.add_string(kind)
        message.add_int(number)
        message.add_int(1 << 21)
        message.add_int(1 << 15)
        message.add_bytes(payload)
        opened = paramiko.Channel(number)
        transport._channels.put(number, opened)
        transport.channel_events[number] = answered = threading.Event()
        transport.channels_seen[number] = True
        opened._set_transport(transport)
        opened._set_window(1 << 21, 1 << 15)
    transport._send_user_message(message)
    assert answered.wait(30), "no answer to " + kind
    return transport._channels.get(number)


# Never answered (RFC 4254 sections 6.7 and 6.9; OpenSSH's PROTOCOL section 2.1).
WITHOUT_REPLY = {"window-change", "signal", "eow@openssh.com"}


def request(name, payload):
    on = channel("session", b"")
    message = Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(on.remote_chanid)
    message.add_string(name)
    message.add_boolean(name not in WITHOUT_REPLY)
    message.add_bytes(payload)
    on.event.clear()
    on.event_ready = False
    transport._send_user_message(message)
    assert name in WITHOUT_REPLY or on.event.wait(30), "no answer to " + name
    # What is refused closes, or fails: in neither case it is ready.
    ready = on.event_ready
    on.close()
    return ready


def asked(name, payload):
    transport.completion_event = answered = threading.Event()
    message = Message()
    message.add_byte(cMSG_GLOBAL_REQUEST)
    message.add_string(name)
    message.add_boolean(True)
    message.add_bytes(payload)
    transport._send_user_message(message)
    assert answered.wait(30), "no answer to " + name
    return transport.global_response is not None


for line in sys.stdin:
    kind, name, payload = json.loads(line)
    payload = bytes.fromhex(payload)
    if kind == "channel":
        opened = channel(name, payload)
        taken = opened is not None
        if taken:
            opened.close()
    elif kind == "request":
        taken = request(name, payload)
    else:
        taken = asked(name, payload)
    print(kind, name, "yes" if taken else "no", flush=True)
