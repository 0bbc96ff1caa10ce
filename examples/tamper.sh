#!/usr/bin/env bash
# Tampering: a real session is recorded, verified, and then attacked in six ways; each is found.
#
#   examples/tamper.sh     removes everything when it ends
#
# It starts a throw-away OpenSSH server as the target, a bastion, and a witness, all on loopback and in one folder
# under /tmp. DOORWARD names the program, by default target/debug/doorward. Exit status 0: every step was true.
set -euo pipefail

. "$(dirname "$0")/tour.bash"
found() { # STATUS COMMAND...: the command must end with that status
  local wanted=$1 status=0
  shift
  shown "$@"
  "$@" >"$HERE/said" 2>&1 || status=$?
  cat "$HERE/said"
  say "status $status"
  [ "$status" = "$wanted" ] || fail "$* ended with status $status, not $wanted"
}
stop() { kill "$SERVER"; wait "$SERVER" || fail "the server ended with status $?"; }
attack() { # a fresh copy of the store, to be spoiled
  rm -rf "$HERE/copy"
  cp -a "$HERE/bastion/data" "$HERE/copy"
}
cd "$HERE"

# -----------------------------------------------------------------------------------------------------------------
step "A target, a bastion, and a witness on another machine (here: another process)"

target
ssh-keygen -q -t ed25519 -N '' -C alice -f alice_key

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
run "$DOORWARD" recording replay "$SESSION" --store bundle --identity auditor.key --quit
said 'the evidence'

step "The end"
say "Six attackers, six times found. This tour removes its folder now."
