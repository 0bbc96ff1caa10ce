"""A target that opens channels towards its client. Prints its port; after the first program is asked for, tries.

Argument: the host key file. Accepts any login. Answers `exec` with the outcome of its own channels; `extended` with how
much extended data came before the three bytes of input that it reads.
"""
import socket
import sys
import threading
import paramiko


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


def outcome(transport, kind):
    try:
        if kind == "x11":
            transport.open_channel(kind, src_addr=("127.0.0.1", 1), timeout=20)
        elif kind == "forwarded-tcpip":
            transport.open_channel(kind, ("127.0.0.1", 1), ("127.0.0.1", 2), timeout=20)
        else:
            transport.open_channel(kind, timeout=20)
        return "opened"
    except paramiko.ChannelException:
        return "refused"
    except (OSError, EOFError, paramiko.SSHException):
        return "gone"


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
    kinds = ["session"] * 100 if target.many else ["forwarded-tcpip", "x11", "session", "auth-agent@openssh.com", "tun@openssh.com"]
    told = " ".join(outcome(transport, kind) for kind in kinds)
    try:
        target.channel.sendall((told + "\n").encode())
        target.channel.send_exit_status(0)
        target.channel.close()
    except (OSError, EOFError):
        pass
    transport.close()
