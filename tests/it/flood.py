"""A client that does not keep to the window (RFC 4254 section 5.2): sends 64 MiB to a program that reads nothing.

Arguments: port, login name, key file. Prints `cut` when the server ended the connection, `taken` if it did not.
"""
import sys
import paramiko

port, login, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", port, login, pkey=paramiko.Ed25519Key.from_private_key_file(key),
               allow_agent=False, look_for_keys=False)
channel = client.get_transport().open_session()
channel.exec_command("sleep 1000")
try:
    for _ in range(2048):
        channel.out_window_size = 1 << 40
        channel.sendall(b"x" * 32768)
    # Answered only on a connection that is still there.
    client.get_transport().open_session(timeout=10)
    print("taken")
except (OSError, EOFError, paramiko.SSHException):
    print("cut")
