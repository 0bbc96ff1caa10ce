#!/usr/bin/env bash
# Everyday: what people do with SSH all day, each thing four times - directly, by login name, by a jump (-J) and by a
# ProxyCommand (-W) through the bastion - and each time the result must be the same. At the end: what the recordings hold of
# each thing.
#
#   examples/everyday.sh           removes everything when it ends
#   QUICK=1 examples/everyday.sh   without what takes long to start: sshfs, lftp, Ansible, old scp
#
# It starts a throw-away OpenSSH server as the target and a bastion, on loopback and in one folder under /tmp. DOORWARD
# names the program, by default target/debug/doorward. What is not installed here (rsync, git, lftp, sshfs, ansible) is left out, and
# said so. Exit status 0: every result was the same.
set -euo pipefail
. "$(dirname "$0")/tour.bash"
cd "$HERE"

# -----------------------------------------------------------------------------------------------------------------
step "A target, and a bastion with a rule that opens everything that there is"

target
BASTION_PORT=$(free_port)
doorward init --dir "$HERE/bastion" --listen "127.0.0.1:$BASTION_PORT" --make-auditor "$HERE/auditor.key" 2> init.log
rm bastion/policies/access/{administrators,backups,own-account}.toml
cat > bastion/policies/access/tour.toml <<END
schema = 1

[[rule]]
id       = "everyday"
who      = { users = ["alice"] }
where    = { targets = ["db1"] }
accounts = ["$ME"]
channels = ["shell", "exec", "sftp-read", "sftp-write", "local-forward", "local-forward-unix", "remote-forward",
            "remote-forward-unix"]
forward  = { to = ["localhost:*"], sockets = ["$HERE/*"], listen = ["localhost:*"], listen_sockets = ["$HERE/*"] }
grant    = { required = false }

[[test]]
given  = { user = "alice", target = "db1", account = "$ME" }
expect = "allow everyday"
END
ssh-keygen -q -t ed25519 -N '' -C alice -f alice_key
doorward user add alice --key alice_key.pub 2>> init.log
doorward target add db1 --address "127.0.0.1:$TARGET_PORT" --host-key target_host_key.pub 2>> init.log
doorward secret set "$ME@db1" --private-key account_key 2>> init.log
serve
doorward host-ca > known_hosts
cat > ssh_config <<END
Host direct
  HostName 127.0.0.1
  Port $TARGET_PORT
  User $ME
  IdentityFile $HERE/account_key
  StrictHostKeyChecking accept-new
Host named
  HostName 127.0.0.1
  Port $BASTION_PORT
  User $ME@db1
  IdentityFile $HERE/alice_key
  StrictHostKeyChecking accept-new
Host jumped
  HostName db1
  User $ME
  ProxyJump bastion
  IdentityFile $HERE/alice_key
  StrictHostKeyChecking yes
Host proxied
  HostName db1
  User $ME
  ProxyCommand ssh -F $HERE/ssh_config -W %h:%p bastion
  IdentityFile $HERE/alice_key
  StrictHostKeyChecking yes
Host bastion
  HostName 127.0.0.1
  Port $BASTION_PORT
  User alice
  IdentityFile $HERE/alice_key
  StrictHostKeyChecking accept-new
Host *
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile $HERE/known_hosts
  GlobalKnownHostsFile /dev/null
  ControlPath $HERE/control-%n
  LogLevel ERROR
END
WAYS=(direct named jumped proxied)

# ---- One thing, four ways. ----

SAME=0
same() { # WHAT STATUS LINE: `{}` in the shell's line is the host; what it prints, its status, and the files in result/ must be
  # the same each way, and the status this one: what fails in every way alike is no comparison
  local what=$1 wanted=$2 line=$3 way first= began=$EPOCHSECONDS
  for way in "${WAYS[@]}"; do
    rm -rf result there
    mkdir result there
    local status=0
    local from=$EPOCHREALTIME
    timeout 120 bash -eo pipefail -c "${line//\{\}/$way}" > out 2> err < /dev/null || status=$?
    { cat out; echo "status $status"; (cd result && find . -type f -exec sha256sum {} + | sort -k 2); } > "outcome.$way"
    [ -n "$first" ] || { first=$way; printf '\033[36m$ %s\033[0m\n' "$(sed 's/{}/HOST/g' <<< "$line")"; }
    printf '%s\t%s\t%s\t%s\n' "$what" "$way" "$from" "$EPOCHREALTIME" >> things
    [ "$status" = "$wanted" ] || fail "$what by way '$way' ended with status $status, not $wanted:"$'\n'"$(tail -n 5 out err)"
    cmp -s "outcome.$first" "outcome.$way" ||
      fail "$what differs by way '$way':"$'\n'"$(diff "outcome.$first" "outcome.$way" | head -n 20)"$'\n'"$(tail -n 5 err)"
  done
  SAME=$((SAME + 1))
  say "$what: the same (status $status, $((EPOCHSECONDS - began)) s)"
}
slow() { [ -z "${QUICK:-}" ] || { say "left out, to be quick: $1"; return 1; }; }
have() { command -v "$1" >/dev/null || { say "left out: $1 is not installed here"; return 1; }; }
export -f ssh
export HERE ME
mkdir files
printf 'one\n' > files/one
head -c 400000 /dev/urandom > files/'two words'
mkdir files/deep && printf 'x' > files/deep/er
chmod 751 files/deep

# -----------------------------------------------------------------------------------------------------------------
step "Commands and shells"

same "a command" 7 'ssh {} "echo out; echo err >&2; exit 7"'
same "a script on standard input" 3 "ssh -T {} <<< 'echo \$((6*7)); exit 3'"
same "piped input" 0 "cat files/two* | ssh {} sha256sum"
same "a terminal" 0 "ssh -tt {} 'stty -echo -onlcr; tty -s && echo on a terminal' | grep -v doorward: | tr -d '\r'"
same "a reader that leaves" 0 "{ ssh {} yes || true; } | head -n 3"
same "ten channels of one connection (ControlMaster)" 0 \
  'ssh -MNf {}; for n in $(seq 10); do ssh {} "echo $n"; done; ssh -O exit {} 2>/dev/null'

step "Files"

same "scp there and back" 0 \
  'scp -qF ssh_config files/two* {}:"$HERE/there/x y" && scp -qF ssh_config {}:"$HERE/there/x\ y" result/'
same "scp of a tree" 0 'scp -qrF ssh_config files {}:"$HERE/there/" && cp -r there/. result/'
slow "scp as it was" && same "scp as it was (-O)" 0 'scp -OqrF ssh_config files {}:"$HERE/there/" && scp -OqrF ssh_config {}:"$HERE/there/files" result/'
cat > batch <<END
put files/one $HERE/there/one
rename $HERE/there/one $HERE/there/uno
chmod 600 $HERE/there/uno
mkdir $HERE/there/d
get $HERE/there/uno result/uno
rm $HERE/there/uno
rmdir $HERE/there/d
END
same "sftp, each operation" 0 'sftp -qF ssh_config -b batch {} > /dev/null && ls there | wc -l'
if have rsync; then
  same "rsync there" 0 'rsync -ae "ssh -F ssh_config" files/ {}:"$HERE/there/" && cp -a there/. result/ && find there -printf "%P %m\n" | sort'
  same "rsync back, with a change" 0 \
    'cp -a files/. there/ && echo more >> there/one && rsync -ae "ssh -F ssh_config" {}:"$HERE/there/" result/'
fi
if have git; then
  same "git push and clone" 0 '
    export GIT_SSH_COMMAND="ssh -F $HERE/ssh_config" GIT_CONFIG_GLOBAL=/dev/null HOME=$HERE
    git init -q --bare there/r.git && git init -q work.{} && cd work.{}
    echo text > file && git add file && git -c user.name=a -c user.email=a@b commit -qm first
    git push -q "ssh://{}$HERE/there/r.git" HEAD:refs/heads/main
    git clone -q -b main "ssh://{}$HERE/there/r.git" ../result/clone && rm -rf ../result/clone/.git'
fi

if slow lftp && have lftp; then
  same "lftp mirrors a tree" 0 \
    'HOME=$HERE lftp -e "set sftp:connect-program \"ssh -axF $HERE/ssh_config\"; open sftp://{}; mirror -R files $HERE/there/m; bye" &&
     cp -r there/. result/'
fi
if slow sshfs && have sshfs && [ -w /dev/fuse ]; then
  same "sshfs, a folder of the target as one's own" 0 '
    mkdir -p mounted && sshfs -F "$HERE/ssh_config" {}:"$HERE/there" mounted
    cp -r files/. mounted/ && mv mounted/one mounted/uno && find mounted -type f -printf "%P %s\n" | sort
    fusermount3 -u mounted && cp -r there/. result/'
fi

step "Tunnels"

cat > speaks-first.py <<'END'
import socket, sys, threading
def serve(listening):
    while True:
        stream = listening.accept()[0]
        threading.Thread(target=lambda s=stream: (s.sendall(b"220 hello\n"), s.sendall(s.recv(100).upper()), s.close())).start()
tcp = socket.create_server(("127.0.0.1", int(sys.argv[1])))
unix = socket.socket(socket.AF_UNIX)
unix.bind(sys.argv[2])
unix.listen()
threading.Thread(target=serve, args=(unix,)).start()
serve(tcp)
END
cat > ask.py <<'END'
import socket, sys, time
for _ in range(200):
    try:
        stream = socket.create_connection(("127.0.0.1", int(sys.argv[1]))) if sys.argv[1].isdigit() else None
        if stream is None:
            stream = socket.socket(socket.AF_UNIX)
            stream.connect(sys.argv[1])
        break
    except OSError:
        time.sleep(0.05)
if len(sys.argv) > 2:  # by SOCKS 5, by name
    port = int(sys.argv[2])
    stream.sendall(b"\5\1\0\5\1\0\3\tlocalhost" + port.to_bytes(2, "big"))
    answer = 12  # which method, and where it leads
    while answer:
        got = len(stream.recv(answer))
        answer -= got or sys.exit("the proxy ended the connection")
said = b""
while not said.endswith(b"\n"):
    said += stream.recv(1) or sys.exit("no answer")
stream.sendall(b"question")
print(said.decode().strip(), stream.recv(100).decode())
END
SERVICE_PORT=$(free_port)
python3 speaks-first.py "$SERVICE_PORT" "$HERE/service.sock" 2> service.log &
started+=($!)
answers $! "$SERVICE_PORT" || fail "the service does not start"
export SERVICE_PORT
tunnel() { # FLAGS WAY QUESTION: a tunnel, a question through it, and its end
  command ssh -F "$HERE/ssh_config" -N $1 "$2" & local pid=$! # not the function: its process is another one
  python3 ask.py $3
  kill $pid; wait $pid 2>/dev/null || true
}
export -f tunnel
LOCAL_PORT=$(free_port)
export LOCAL_PORT
same "ssh -N -L to what speaks first" 0 'tunnel "-L $LOCAL_PORT:127.0.0.1:$SERVICE_PORT" {} $LOCAL_PORT'
same "ssh -N -L of a socket" 0 'rm -f near.sock; tunnel "-L $HERE/near.sock:$HERE/service.sock" {} "$HERE/near.sock"'
same "ssh -N -D, by name" 0 'tunnel "-D $LOCAL_PORT" {} "$LOCAL_PORT $SERVICE_PORT"'
same "ssh -N -R" 0 'tunnel "-R $LOCAL_PORT:127.0.0.1:$SERVICE_PORT" {} $LOCAL_PORT'
same "ssh -N -R of a socket" 0 'rm -f far.sock; tunnel "-R $HERE/far.sock:$HERE/service.sock" {} "$HERE/far.sock"'
same "ssh -W" 0 'printf question | ssh -W 127.0.0.1:$SERVICE_PORT {}'

step "An editor's way (VS Code Remote): a bootstrap by exec, a server on the target, a forward to it"

EDITOR_PORT=$(free_port)
export EDITOR_PORT
same "bootstrap, then -D to the port that it says" 0 '
  printf "%s\n" "cd \"$HERE\"" "rm -f editor.sock" "(python3 speaks-first.py $EDITOR_PORT editor.sock >/dev/null 2>&1 & echo \$! > editor.pid)" \
    "for n in \$(seq 200); do [ ! -S editor.sock ] || break; sleep 0.05; done" "echo listeningOn==$EDITOR_PORT==" | ssh -T {} "bash -s" | grep listeningOn
  tunnel "-D $LOCAL_PORT" {} "$LOCAL_PORT $EDITOR_PORT"
  ssh {} "kill \$(cat $HERE/editor.pid)"'

if slow Ansible && have ansible; then
  step "Ansible"
  export ANSIBLE_LOCALHOST_WARNING=False ANSIBLE_HOST_KEY_CHECKING=False ANSIBLE_RETRY_FILES_ENABLED=False \
    ANSIBLE_SSH_ARGS="-F $HERE/ssh_config -o ControlMaster=auto -o ControlPersist=2s" ANSIBLE_SCP_EXTRA_ARGS="-F $HERE/ssh_config" \
    ANSIBLE_SFTP_EXTRA_ARGS="-F $HERE/ssh_config" ANSIBLE_HOME=$HERE/ansible ANSIBLE_LOCAL_TEMP=$HERE/ansible/local \
    ANSIBLE_REMOTE_TEMP=$HERE/ansible/remote ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3 ANSIBLE_NOCOLOR=1
  cat > play.yml <<END
- hosts: all
  gather_facts: false
  tasks:
    - copy: { src: files/one, dest: $HERE/there/by-sftp, mode: "0640" }
      vars: { ansible_ssh_transfer_method: sftp }
    - copy: { src: files/one, dest: $HERE/there/by-scp }
      vars: { ansible_ssh_transfer_method: scp }
    - copy: { src: files/one, dest: $HERE/there/piped }
      vars: { ansible_ssh_transfer_method: piped }
    - shell: id -un > $HERE/there/pipelined
      vars: { ansible_pipelining: true }
END
  # One play for all: most of its time is its own start.
  same "a play: copies by sftp, scp and a pipe, a command by a pipeline" 0 \
    'ansible-playbook -i {}, play.yml | grep -o "ok=[0-9]* *changed=[0-9]*" && cp there/* result/ && stat -c "%n %a" there/*'
fi

# -----------------------------------------------------------------------------------------------------------------
step "What is on record"

kill "$SERVER"
wait "$SERVER" || fail "the server ended with status $?"
mkdir bundles
doorward recording list --json > list.json
doorward audit list --json > audit.json
python3 - <<'END' > sessions
import json
print("\n".join(row["session"] for row in json.load(open("list.json"))))
END
while read -r session; do
  doorward recording export "$session" --identity auditor.key --proof "bundles/$session" 2>> export.log || fail "no evidence of $session"
done < sessions
python3 - <<'END' || fail "the recordings do not hold what was done"
import collections, datetime, glob, json, sys
listed = {row["session"]: row for row in json.load(open("list.json"))}
events = collections.defaultdict(collections.Counter)
for row in json.load(open("audit.json")):
    if row.get("session"):
        events[row["session"]][row["type"]] += 1
things = [line.rstrip("\n").split("\t") for line in open("things")]
began = lambda row: datetime.datetime.fromisoformat(row["started"].replace("Z", "+00:00")).timestamp()
found = collections.defaultdict(list)
for session, row in listed.items():
    at = began(row)
    # The bastion's time is in milliseconds, rounded down.
    of = [(what, way) for what, way, since, until in things if float(since) - 0.002 <= at <= float(until)]
    if len(of) != 1 or of[0][1] == "direct":
        sys.exit(f"{session} was recorded while nothing, or nothing through the bastion, was done: {of}")
    found[of[0][0]].append((of[0][1], session))
print(f"   {'what':50} {'sessions':>8} {'bytes':>10} {'recorded':>10} {'files':>6} {'forwards':>8}  channels")
for what in dict.fromkeys(thing[0] for thing in things):
    sessions = found[what]
    missing = {"named", "jumped", "proxied"} - {way for way, _ in sessions}
    if missing:
        sys.exit(f"of `{what}` nothing is recorded by {sorted(missing)}")
    classes, count = collections.Counter(), collections.Counter()
    for _, session in sessions:
        for channel in json.load(open(f"bundles/{session}/coverage.json"))["channels"]:
            if channel.get("class"):
                classes[channel["class"]] += 1
                for way in ("stdin", "stdout", "stderr"):
                    count["bytes"] += channel[way]["bytes"]
                    count["recorded"] += channel[way]["recorded"]
        count["files"] += events[session]["file"]
        count["forwards"] += events[session]["forward"]
    if not classes:
        sys.exit(f"of `{what}` no channel is recorded")
    kinds = ", ".join(f"{number} {name}" for name, number in sorted(classes.items()))
    print(f"   {what:50} {len(sessions):8} {count['bytes']:10} {count['recorded']:10} {count['files']:6} {count['forwards']:8}  {kinds}")
END
sessions=$(wc -l < sessions)
[ "$sessions" -ge "$SAME" ] || fail "only $sessions sessions are on record"
run doorward verify --store bastion/data --vkey "$(cat bastion/data/log/key.pub)"
say "$SAME things done four ways each, all the same; $sessions recorded sessions verify."
