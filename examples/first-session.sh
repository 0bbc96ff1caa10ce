#!/usr/bin/env bash
# The first session: a tour of Doorward on real programs, and a test that each step does what it says.
#
#   examples/first-session.sh           the tour; removes everything when it ends
#   examples/first-session.sh --stay    prepares all of it, then leaves the bastion running for you to try;
#                                       its recordings stay in recordings/
#
# It starts a throw-away OpenSSH server as the target and a bastion beside it, both on loopback and in one folder
# under /tmp. DOORWARD names the program, by default target/debug/doorward. Exit status 0: every step was true.
set -euo pipefail

. "$(dirname "$0")/tour.bash"
RECORDINGS=$(realpath "$(dirname "$0")/../recordings")
refused() { shown "$@"; if "$@" >"$HERE/said" 2>&1; then fail "$* was not refused"; fi; cat "$HERE/said"; }
newest() { "$@" --json | grep -oE '"(id|session)": *"[^"]*"' | tail -n 1 | cut -d '"' -f 4; } # the id in a listing's last row
cd "$HERE"

# -----------------------------------------------------------------------------------------------------------------
step "A target: an OpenSSH server of its own, with an account that accepts one key"

target
say "db1 listens on port $TARGET_PORT. Whoever holds account_key is $ME there: that key is what Doorward will hide."

# -----------------------------------------------------------------------------------------------------------------
step "A bastion: one folder, one key outside the state"

BASTION_PORT=$(free_port)
# Recordings are sealed for auditors. On a tour the auditor is here too; a real one's identity never is.
AUDITOR=$HERE/auditor.key
auditor=(--make-auditor "$AUDITOR")
if [ "${1:-}" = --stay ]; then # the recordings of `make run` outlive its bastion, and so does who can read them
  AUDITOR=$RECORDINGS/auditor.key
  auditor=(--make-auditor "$AUDITOR")
  [ ! -e "$AUDITOR" ] || auditor=(--auditor "$(sed -n 's/^# public key: //p' "$AUDITOR")")
fi
run doorward init --dir "$HERE/bastion" --listen "127.0.0.1:$BASTION_PORT" "${auditor[@]}"
if [ "${1:-}" = --stay ]; then
  for part in rec env; do
    mkdir -p "$RECORDINGS/$part"
    rmdir "bastion/data/$part"
    ln -s "$RECORDINGS/$part" "bastion/data/$part"
  done
fi

step "Who, where, and with what: Alice, db1, and the credential that Alice never sees"

ssh-keygen -q -t ed25519 -N '' -C alice -f alice_key # hers; the bastion gets the public half
run doorward user add alice --group admins
run doorward user key add alice alice_key.pub
run doorward target add db1 --address "127.0.0.1:$TARGET_PORT" --host-key target_host_key.pub --label env=prod
run doorward secret set "$ME@db1" --private-key account_key

step "A rule, with its own test: administrators may, but only while somebody has granted it"

cat > bastion/policies/access/first.toml <<END
schema = 1

[[rule]]
id        = "admins-prod"
who       = { groups = ["admins"] }
where     = { labels = { env = "prod" } }
accounts  = ["$ME"]
channels  = ["shell", "exec"]
grant     = { required = true }

[[test]]
given  = { user = "alice", groups = ["admins"], target = "db1", labels = { env = "prod" }, account = "$ME" }
expect = "needs-grant admins-prod"
END
cat bastion/policies/access/first.toml
# The starter rules are for reading; with this one in their place the tour has one reason for each answer.
rm bastion/policies/access/{administrators,backups,own-account}.toml
run doorward check

step "The server"

shown doorward serve
serve

# Alice's side is plain OpenSSH. This is all that she configures.
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

if [ "${1:-}" = --stay ]; then
  run doorward grant add alice "$ME@db1" --for 8h --reason "CHG-123 trying things out"
  step "It is yours until you press Ctrl-C. In another terminal:"
  say "alias doorward='$DOORWARD --config $HERE/bastion/doorward.toml'" \
    "ssh -F $HERE/ssh_config $ME@db1@bastion                   # a shell on the target" \
    "ssh -F $HERE/ssh_config $ME@db1@bastion 'cat /etc/os-release'" \
    "doorward session list                                     # who is in" \
    "doorward recording list                                   # what was done" \
    "doorward recording replay SESSION --identity $AUDITOR   # space pauses, q ends" \
    "doorward grant list" \
    "doorward grant revoke GRANT                               # ends the sessions on it at once"
  wait "$SERVER"
  exit
fi

# -----------------------------------------------------------------------------------------------------------------
step "No grant, no session"

refused ssh "$ME@db1@bastion" id
said "grant"

step "A grant: for an hour, for a reason"

run doorward grant add alice "$ME@db1" --for 1h --reason "CHG-123 vacuum is stuck" # prints its id
run doorward grant list
said "CHG-123"

step "A command: output, errors and exit status are those of the target"

shown ssh "$ME@db1@bastion" 'echo "I am $(id -un)"; echo "an error line" >&2; exit 3'
status=0
ssh "$ME@db1@bastion" 'echo "I am $(id -un)"; echo "an error line" >&2; exit 3' >out 2>err || status=$?
say "stdout: $(cat out)" "stderr: $(cat err)" "status: $status"
[ "$(cat out) / $(cat err) / $status" = "I am $ME / an error line / 3" ] || fail "the command's result is another one"

step "A shell, as an administrator would type in it"

shown ssh "$ME@db1@bastion"
typed() { for line in "$@"; do sleep 0.3; printf '%s\n' "$line"; done; } # as fast as a person who reads
typed "PS1='db1# '" 'uptime' 'printf "caf\303\251 \033[1mbold\033[0m\n"' 'exit' |
  ssh -tt "$ME@db1@bastion" | tee "$HERE/said" | tr -d '\r'
said "doorward: "
said "load average"

step "What was recorded, and what was on the screen"

run doorward recording list
said "CHG-123"
SESSION=$(newest doorward recording list)
# Replay plays on a terminal, and `script` makes one where there is none; --quit waits for no key at the end.
shown doorward recording replay "$SESSION" --identity "$AUDITOR" --quit
replay=("$DOORWARD" --config "$HERE/bastion/doorward.toml" recording replay "$SESSION" --identity "$AUDITOR" --quit)
[ -t 0 ] && size=true || size="stty cols 100 rows 24"
LC_ALL=C.UTF-8 TERM=${TERM:-xterm} script -qec "$size; ${replay[*]@Q}" /dev/null | tee "$HERE/said" ||
  fail "the replay ended with status $?"
said "load average"
said "café"
run doorward recording export "$SESSION" --identity "$AUDITOR" --format txt # the same as text
said "load average"
echo
say "For others: asciicast v3 as it was recorded, or v2, which Debian's asciinema plays:"
doorward recording export "$SESSION" --identity "$AUDITOR" --format v2 > session.cast
shown asciinema cat session.cast
# asciinema opens /dev/tty, which a script may not have.
LC_ALL=C.UTF-8 script -qec "asciinema cat session.cast" /dev/null > "$HERE/said" || fail "asciinema cannot read it"
said "load average"
say "it plays, $(wc -l < session.cast) lines"

step "Revoke: the session on the grant ends at once"

shown ssh -tt "$ME@db1@bastion" 'echo working; sleep 600'
ssh -tt "$ME@db1@bastion" 'echo working; sleep 600' < /dev/null > live 2>&1 &
LIVE=$!
started+=("$LIVE")
for _ in $(seq 200); do grep -q working live && break; sleep 0.05; done
run doorward session list
said "alice"
SECONDS=0
run doorward grant revoke "$(newest doorward grant list)"
wait "$LIVE" && fail "the session ended as if nothing had happened"
[ "$SECONDS" -le 5 ] || fail "it took $SECONDS s"
say "Alice's terminal:"
tr -d '\r' < live | sed 's/^/   | /'
refused ssh "$ME@db1@bastion" id

step "The end: the server stops cleanly, the recordings stay"

kill "$SERVER"
wait "$SERVER" || fail "the server ended with status $?"
run doorward recording list
echo
say "This tour removes its folder now. In a bastion of yours they are kept under data/rec."
