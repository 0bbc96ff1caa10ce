#!/usr/bin/env bash
# Tampering: a real session is recorded, verified, and then attacked in six ways; each is found.
#
#   examples/tamper.sh     removes everything when it ends
#
# It starts a throw-away OpenSSH server as the target, a bastion, and a witness, all on loopback and in one folder
# under /tmp. DOORWARD names the program, by default target/debug/doorward. Exit status 0: every step was true.
set -euo pipefail

DOORWARD=$(realpath "${DOORWARD:-$(dirname "$0")/../target/debug/doorward}")
[ -x "$DOORWARD" ] || { echo "error: no program at $DOORWARD; run \`make build\`" >&2; exit 2; }
HERE=$(mktemp -d /tmp/doorward-tamper.XXXXXX)
ME=$(id -un) # the account on the target; root, if you are root

# ---- How the tour speaks. The steps below are what you want to read. ----

step()  { printf '\n\033[1m== %s\033[0m\n' "$*"; }
say()   { printf '   %s\n' "$@"; }
fail()  { printf '\nerror: this step did not do what it says: %s\n' "$*" >&2; tail -n 20 "$HERE"/*.log >&2; exit 1; }
shown() { printf '\033[36m$'; printf ' %s' "${@@Q}" | sed "s/ '\([A-Za-z0-9_@:.\/=+-]*\)'/ \1/g"; printf '\033[0m\n'; }
run()   { shown "$@"; "$@" 2>&1 | tee "$HERE/said" || fail "$* ended with status $?"; }
said()  { grep -q -- "$1" "$HERE/said" || fail "expected to read: $1"; }
found() { # STATUS COMMAND...: the command must end with that status
  local wanted=$1 status=0
  shift
  shown "$@"
  "$@" >"$HERE/said" 2>&1 || status=$?
  cat "$HERE/said"
  say "status $status"
  [ "$status" = "$wanted" ] || fail "$* ended with status $status, not $wanted"
}

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

doorward() { "$DOORWARD" --config "$HERE/bastion/doorward.toml" "$@"; }
ssh() { command ssh -F "$HERE/ssh_config" "$@"; }
serve() { # starts the bastion
  "$DOORWARD" --config "$HERE/bastion/doorward.toml" serve 2>> "$HERE/bastion.log" &
  SERVER=$!
  started+=("$SERVER")
  answers "$SERVER" "$BASTION_PORT" || fail "the server does not start"
}
stop() { kill "$SERVER"; wait "$SERVER" || fail "the server ended with status $?"; }
attack() { # a fresh copy of the store, to be spoiled
  rm -rf "$HERE/copy"
  cp -a "$HERE/bastion/data" "$HERE/copy"
}
cd "$HERE"

# -----------------------------------------------------------------------------------------------------------------
step "A target, a bastion, and a witness on another machine (here: another process)"

TARGET_PORT=$(free_port)
ssh-keygen -q -t ed25519 -N '' -C target -f target_host_key
ssh-keygen -q -t ed25519 -N '' -C account -f account_key
ssh-keygen -q -t ed25519 -N '' -C alice -f alice_key
cat > sshd_config <<END
ListenAddress 127.0.0.1
Port $TARGET_PORT
HostKey $HERE/target_host_key
AuthorizedKeysFile $HERE/account_key.pub
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
END
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd # sshd wants it; Debian's own unit makes it
"$(PATH=$PATH:/usr/sbin command -v sshd)" -D -e -f sshd_config 2> target.log &
started+=($!)
answers $! "$TARGET_PORT" || fail "sshd does not start"

BASTION_PORT=$(free_port)
doorward init --dir "$HERE/bastion" --listen "127.0.0.1:$BASTION_PORT" --make-auditor "$HERE/auditor.key" 2> init.log
cp bastion/data/log/key.pub log.key # what `init` printed; verifiers keep it elsewhere
cat > bastion/policies/access/tour.toml <<END
schema = 1

[[rule]]
id       = "tour"
who      = { users = ["alice"] }
where    = { targets = ["db1"] }
accounts = ["$ME"]
channels = ["shell", "exec"]
grant    = { required = false }

[[test]]
given  = { user = "alice", target = "db1", account = "$ME" }
expect = "allow tour"
END
rm bastion/policies/access/{administrators,backups,own-account}.toml
doorward user add alice --key alice_key.pub 2>> init.log
doorward target add db1 --address "127.0.0.1:$TARGET_PORT" --host-key target_host_key.pub 2>> init.log
doorward secret set "$ME@db1" --private-key account_key 2>> init.log

WITNESS_PORT=$(free_port)
run "$DOORWARD" witness init witness --name tour/witness
grep -o 'tour/witness+[^ ]*' said | head -n 1 > witness.key
run "$DOORWARD" witness add witness "$(cat log.key)"
"$DOORWARD" witness serve witness --listen "127.0.0.1:$WITNESS_PORT" > /dev/null 2> witness.log &
started+=($!)
answers $! "$WITNESS_PORT" || fail "the witness does not start"
cat >> bastion/doorward.toml <<END

[[witness]]
url = "http://127.0.0.1:$WITNESS_PORT"
key = "$(cat witness.key)"
END
cat > ssh_config <<END
Host bastion
  HostName 127.0.0.1
  Port $BASTION_PORT
  IdentityFile $HERE/alice_key
  IdentitiesOnly yes
  UserKnownHostsFile $HERE/known_hosts
  StrictHostKeyChecking accept-new
  LogLevel ERROR
END

# -----------------------------------------------------------------------------------------------------------------
step "Yesterday: one session"

serve
run ssh "$ME@db1@bastion" 'echo what happened yesterday'
stop
cp -a bastion/data yesterday

step "Today: two sessions more, and all of it verifies, with nothing but public keys"

serve
run ssh "$ME@db1@bastion" 'echo the evidence; ls /'
run ssh "$ME@db1@bastion" 'echo more of it'
stop
# The witness is asked what it signed last, so that nobody can show an older store.
verify=("$DOORWARD" verify --vkey log.key --witness "http://127.0.0.1:$WITNESS_PORT" --witness-key witness.key)
found 0 "${verify[@]}" --store bastion/data --require-witness 1
said "3 OK"
mapfile -t sessions < <(find bastion/data/rec -mindepth 4 -maxdepth 4 -type d | sort)
of() { echo "copy/${sessions[$1]#bastion/data/}"; } # the directory of a session in the copy that is attacked

# -----------------------------------------------------------------------------------------------------------------
step "Attacker 1 edits one byte of a recording"

attack
byte=$(od -An -tu1 -j200 -N1 "$(of 1)/1/000000.seg")
printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$(of 1)/1/000000.seg" bs=1 seek=200 conv=notrunc status=none
found 5 "${verify[@]}" --store copy
said "TAMPERED"

step "Attacker 2 cuts the tail off"

attack
truncate -s -40 "$(of 1)/1/000000.seg"
found 5 "${verify[@]}" --store copy
said "TAMPERED"

step "Attacker 3 deletes a session, key and all"

attack
rm -r "$(of 1)" copy/env/"$(basename "$(of 1)")".age
found 4 "${verify[@]}" --store copy
said "MISSING"

step "Attacker 4 swaps two segments"

attack
mv "$(of 1)/1/000000.seg" kept.seg
mv "$(of 2)/1/000000.seg" "$(of 1)/1/000000.seg"
mv kept.seg "$(of 2)/1/000000.seg"
found 5 "${verify[@]}" --store copy
said "2 TAMPERED"

step "Attacker 5 puts yesterday's copy of everything in the place of today's"

say "By itself that copy is flawless, and without a witness nobody could tell:"
found 0 "$DOORWARD" verify --vkey log.key --store yesterday
said "ANCHOR: none"
found 5 "${verify[@]}" --store yesterday
said "rolled back"

step "Attacker 6 has stolen every key, and signs another history from yesterday on"

HONEST=$(doorward audit checkpoint | sed -n 2p) # how many leaves the witness has seen
mv bastion/data today
cp -a yesterday bastion/data
mv bastion/doorward.toml honest.toml
sed '/^\[\[witness\]\]/,$d' honest.toml > bastion/doorward.toml # this bastion had better not ask the witness
serve
leaves() { doorward audit checkpoint | sed -n 2p; }
until [ "$(leaves)" -gt "$HONEST" ]; do ssh "$ME@db1@bastion" 'echo nothing to see here' > /dev/null; done
stop
mv bastion/data forged
found 0 "$DOORWARD" verify --vkey log.key --store forged # its signatures are those of the true key
said "ANCHOR: none"
found 5 "${verify[@]}" --store forged
said "rewritten"
mv today bastion/data
mv honest.toml bastion/doorward.toml

# -----------------------------------------------------------------------------------------------------------------
step "The auditor, elsewhere: an evidence bundle, the log's public key, the own identity; no server, no store"

SESSION=$(basename "${sessions[1]}")
run "$DOORWARD" recording export "$SESSION" --store bastion/data --identity auditor.key --proof bundle
mkdir auditor
mv bundle log.key auditor.key auditor/
cd auditor
run ls bundle
found 6 "$DOORWARD" verify bundle bundle # with no key from elsewhere it proves nothing, and says so
said "UNPINNED"
found 0 "$DOORWARD" verify bundle bundle --vkey log.key --identity auditor.key
run grep -o 'the evidence' bundle/channel-1.cast

step "The end"
say "Six attackers, six times found. This tour removes its folder now."
