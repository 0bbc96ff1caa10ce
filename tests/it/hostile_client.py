"""A client that does what stock ones never do. Prints `cut` when the server ended the connection, else `alive`.

Arguments: port, login name, key file, and what to do:
  window    sends 64 MiB to a program that reads nothing, whatever the window says (RFC 4254 section 5.2)
  requests  sends 2000 unknown channel requests of 200 KiB on a channel that has not started anything
  tiny      sends 70000 window changes on such a channel
  unknown   asks for a channel, a channel request and a global request that nobody knows
  bytes     asks for forwards, a variable and a channel whose names are no UTF-8
  forwards  asks for 500 forwards
"""
import sys
import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST
from paramiko.message import Message

port, login, key, what = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", port, login, pkey=paramiko.Ed25519Key.from_private_key_file(key),
               allow_agent=False, look_for_keys=False)
transport = client.get_transport()


def request(channel, name, payload):
    message = Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(name)
    message.add_boolean(False)
    message.add_bytes(payload)
    transport._send_user_message(message)


def field(text):
    return len(text).to_bytes(4, "big") + text


def refused(kind, **more):
    try:
        transport.open_channel(kind, timeout=30, **more)
        print("taken", kind)
    except paramiko.ChannelException:
        pass


try:
    if what == "forwards":
        for _ in range(500):
            refused("direct-tcpip", dest_addr=("10.0.0.1", 22), src_addr=("127.0.0.1", 1))
    elif what == "unknown":
        refused("tun@openssh.com")
        request(transport.open_session(), "nobody@knows", b"")
        transport.global_request("anything@else", wait=True)
    elif what == "bytes":
        refused("direct-tcpip", dest_addr=(b"10.0.0\xff.1", 22), src_addr=(b"\xfe", 1))
        refused(b"session\xff")
        request(transport.open_session(), "env", field(b"LC_ALL") + field(b"\xe9"))
        transport.global_request("tcpip-forward", (b"127.0.0\xff.1", 8080), wait=True)
    else:
        channel = transport.open_session()
        if what == "window":
            channel.exec_command("sleep 1000")
            for _ in range(2048):
                channel.out_window_size = 1 << 40
                channel.sendall(b"x" * 32768)
        elif what == "requests":
            for _ in range(2000):
                request(channel, "x@y", b"p" * 200000)
        elif what == "tiny":
            for _ in range(70000):
                request(channel, "window-change", bytes(16))
    # Answered only on a connection that is still there.
    transport.open_session(timeout=20)
    print("alive")
except (OSError, EOFError, paramiko.SSHException):
    # A write can fail a moment before the thread that reads has seen the end.
    transport.join(20)
    print("cut" if not transport.is_active() else "no answer")
