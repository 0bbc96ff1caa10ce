# What the tours share: how they speak, and the programs that they start. Each tour sources this file; the steps are in it.
# After it, HERE is a folder of the tour's own, which goes with it, ME the account on the target (root, if you are root).
# shellcheck shell=bash

DOORWARD=$(realpath "${DOORWARD:-$(dirname "$0")/../target/debug/doorward}")
[ -x "$DOORWARD" ] || { echo "error: no program at $DOORWARD; run \`make build\`" >&2; exit 2; }
HERE=$(mktemp -d /tmp/doorward-tour.XXXXXX)
ME=$(id -un)

step()  { printf '\n\033[1m== %s\033[0m\n' "$*"; }
say()   { printf '   %s\n' "$@"; }
fail()  { printf '\nerror: this step did not do what it says: %s\n' "$*" >&2; tail -n 20 "$HERE"/*.log >&2; exit 1; }
shown() { printf '\033[36m$'; printf ' %s' "${@@Q}" | sed "s/ '\([A-Za-z0-9_@:.\/=+-]*\)'/ \1/g"; printf '\033[0m\n'; }
run()   { shown "$@"; "$@" 2>&1 | tee "$HERE/said" || fail "$* ended with status $?"; }
said()  { grep -q -- "$1" "$HERE/said" || fail "expected to read: $1"; }

free_port() {
  local port
  while port=$((10000 + RANDOM % 20000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}
answers() { # PID PORT: waits until that process listens there
  for _ in $(seq 200); do
    (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null && return
    kill -0 "$1" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}
started=()
clean_up() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$HERE"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Short forms, so that a tour shows what you would type yourself.
doorward() { "$DOORWARD" --config "$HERE/bastion/doorward.toml" "$@"; }
ssh() { command ssh -F "$HERE/ssh_config" "$@"; }

target() { # [LINE...]: starts an OpenSSH server whose one account accepts account_key, with more lines in its configuration
  TARGET_PORT=$(free_port)
  ssh-keygen -q -t ed25519 -N '' -C target -f target_host_key
  ssh-keygen -q -t ed25519 -N '' -C account -f account_key
  cat > sshd_config <<END
ListenAddress 127.0.0.1
Port $TARGET_PORT
HostKey $HERE/target_host_key
AuthorizedKeysFile $HERE/account_key.pub
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
PrintMotd no
PrintLastLog no
END
  [ $# = 0 ] || printf '%s\n' "$@" >> sshd_config
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd # sshd wants it; Debian's own unit makes it
  "$(PATH=$PATH:/usr/sbin command -v sshd)" -D -e -f sshd_config 2> target.log &
  started+=($!)
  answers $! "$TARGET_PORT" || fail "sshd does not start: $(cat target.log)"
}
serve() { # starts the bastion, on a disk that is nearly full, too: a tour is about other things
  sed -i 's|^# free_min_percent = .*|free_min_percent = 0|' "$HERE/bastion/doorward.toml"
  "$DOORWARD" --config "$HERE/bastion/doorward.toml" serve 2>> "$HERE/bastion.log" &
  SERVER=$!
  started+=("$SERVER")
  answers "$SERVER" "$BASTION_PORT" || fail "the server does not start: $(cat "$HERE/bastion.log")"
}
clients() { # writes the configuration of everybody's ssh; who uses which key comes from standard input
  cat - > ssh_config.users
  cat - ssh_config.users > ssh_config <<END
Host *
  HostName 127.0.0.1
  Port $BASTION_PORT
  IdentitiesOnly yes
  UserKnownHostsFile $HERE/known_hosts
  StrictHostKeyChecking accept-new
  LogLevel ERROR
END
}
