#!/usr/bin/env bash
# Commands under rules: what may run is sent in the form that was judged, what may not is refused, and what needs a second
# person waits for one; all by stock `ssh`.
#
# It starts a throw-away OpenSSH server as the target and a bastion beside it, both on loopback and in one folder under
# /tmp. DOORWARD names the program, by default target/debug/doorward. Exit status 0: every step was true.
set -euo pipefail

. "$(dirname "$0")/tour.bash"
refused() { # COMMAND...: it must end with status 126, and have no output
  shown "$@"
  local status=0
  "$@" >"$HERE/out" 2>"$HERE/said" || status=$?
  cat "$HERE/said"
  [ "$status" = 126 ] || fail "$* ended with status $status"
  [ ! -s "$HERE/out" ] || fail "$* has written: $(cat "$HERE/out")"
}
cd "$HERE"

# -----------------------------------------------------------------------------------------------------------------
step "A target, a bastion; Alice of web, Bob of web-leads"

target
BASTION_PORT=$(free_port)
run doorward init --dir "$HERE/bastion" --listen "127.0.0.1:$BASTION_PORT" --make-auditor "$HERE/auditor.key"
for user in alice bob; do
  ssh-keygen -q -t ed25519 -N '' -C "$user" -f "${user}_key"
done
run doorward user add alice --group web
run doorward user add bob --group web-leads
for user in alice bob; do run doorward user key add "$user" "${user}_key.pub"; done
run doorward target add web1 --address "127.0.0.1:$TARGET_PORT" --host-key target_host_key.pub --label env=prod
run doorward secret set "$ME@web1" --private-key account_key

step "The rules: which commands, and what becomes of the others"

rm bastion/policies/access/*.toml
mkdir -p bastion/policies/commands
cat > bastion/policies/access/web.toml <<END
schema = 1

[[rule]]
id       = "web-prod"
who      = { groups = ["web"] }
where    = { labels = { env = "prod" } }
accounts = ["$ME"]
channels = ["exec"]
grant    = { required = false }
commands = { mode = "strict", sets = ["web-work"] }
END
cat > bastion/policies/commands/web-work.toml <<'END'
schema  = 1
mode    = "strict"
default = "deny"

[[rule]]
id      = "look"
effect  = "allow"
program = ["/usr/bin/cat", "/usr/bin/head"]
reads   = ["/etc/os-release", "/var/log/**"]
reason  = "whoever runs the web tier may look"

[[rule]]
id        = "make-a-file"
effect    = "approve"
program   = "/usr/bin/touch"
writes    = ["/tmp/**"]
approvers = { group = "web-leads", count = 1, within = "10m" }
reason    = "what changes a machine is seen by two"

[[rule]]
id      = "never-shell"
effect  = "deny"
effects = ["shell", "run-program", "interactive-escape", "load-code"]
alert   = "high"
reason  = "no shell from this account"

[[test]]
expect = "allow look"
lines  = ["cat /etc/os-release", "head -n 3 /var/log/syslog"]

[[test]]
expect = "approve make-a-file"
lines  = ["touch /tmp/x"]

[[test]]
expect = "deny never-shell"
lines  = ["sh", "cat /var/log/syslog | sh"]

[[test]]
expect = "deny default"
lines  = ["cat /etc/shadow", "cat /var/log/../../etc/shadow"]
END
cat bastion/policies/commands/web-work.toml

step "Who is told when a rule says so: a webhook, whose messages are signed"

HOOK_PORT=$(free_port)
cat > hook.py <<'END'
import hashlib, hmac, http.server, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        own = "sha256=" + hmac.new(b"a-secret-of-the-hook", body, hashlib.sha256).hexdigest()
        ours = hmac.compare_digest(own, self.headers["doorward-signature"])
        print("signed" if ours else "FORGED", body.decode(), file=open(sys.argv[2], "a"), flush=True)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Hook).serve_forever()
END
python3 hook.py "$HOOK_PORT" "$HERE/hooked" 2> hook.log &
started+=($!)
answers $! "$HOOK_PORT" || fail "the webhook does not start"
echo a-secret-of-the-hook > hook.secret
sed -i "s|^\[notify\]|&\nwebhooks = [{ url = \"http://127.0.0.1:$HOOK_PORT/\", secret = \"$HERE/hook.secret\" }]|" bastion/doorward.toml

run doorward check
shown doorward serve
serve

clients <<END
Match user alice,$ME@web1
  IdentityFile $HERE/alice_key
Match user bob
  IdentityFile $HERE/bob_key
END

# -----------------------------------------------------------------------------------------------------------------
step "What the rules allow runs as it would directly"

run ssh "$ME@web1@bastion" cat /etc/os-release
said "NAME="

step "What they do not is refused, with the rule, the reason and what to do"

refused ssh "$ME@web1@bastion" cat /etc/shadow
said "no rule allows it"
refused ssh "$ME@web1@bastion" 'sh -c id'
said "rule never-shell"
said "no shell from this account"
for _ in $(seq 40); do grep -qs '"rule":"never-shell"' hooked && break; sleep 0.05; done
grep -m 1 '^signed .*"rule":"never-shell"' hooked || fail "nobody was told within two seconds"

step "Why: the rules are asked, and say which word of which rule it fails at"

run doorward policy explain 'cat /etc/shadow' --as alice --on web1 --account "$ME" --channel exec
said "no path of the rule is for it"

step "Ten disguises of a shell"

count=0
while IFS= read -r line; do
  refused ssh -n "$ME@web1@bastion" "$line" # without -n it would read the other lines
  said "doorward: refused"
  count=$((count + 1))
done <<'END'
s''h
s\h -c id
$'\x73\x68'
a=s; b=h; $a$b
/bin/s?
echo c2ggLWMgaWQ= | base64 -d | $0
eval $'\x73h'
env sh -c id
cat /etc/os-release; bash
find /var/log -exec sh {} ;
END
[ "$count" = 10 ] || fail "$count disguises were tried"
run ssh alice@bastion why

step "What changes the machine waits for a second person"

shown ssh "$ME@web1@bastion" touch "$HERE/made"
ssh "$ME@web1@bastion" touch "$HERE/made" < /dev/null > waiting 2>&1 &
WAITING=$!
started+=("$WAITING")
for _ in $(seq 200); do grep -q "Ctrl-C withdraws" waiting && break; sleep 0.05; done
cat waiting
ID=$(grep -oE 'd-[0-9a-z]{8}' waiting | head -n 1)
[ ! -e made ] || fail "it did not wait"
run ssh bob@bastion requests
run ssh bob@bastion show "$ID"
said "/usr/bin/touch"
run ssh bob@bastion approve "$ID"
wait "$WAITING" || fail "it did not run: $(cat waiting)"
[ -e made ] || fail "it did not run"
shown ssh alice@bastion approve "$ID"
if ssh alice@bastion approve "$ID" 2>&1 | tee said; then fail "a yes counts twice"; fi

step "A wider rule: what it widens is said, and rehearsed against what was recorded"

refused ssh "$ME@web1@bastion" cat /etc/hostname
cp -r bastion/policies wider
sed -i 's|"/var/log/\*\*"\]|"/var/log/**", "/etc/hostname"]|' wider/commands/web-work.toml
run doorward policy test --policies wider
run doorward policy diff bastion/policies wider
said "look"
run doorward policy replay --new wider --since 1h
said "newly allowed"
said "cat /etc/hostname"

step "It is in force at the next command; nobody connects again"

cp wider/commands/web-work.toml bastion/policies/commands/
run doorward policy reload
run ssh "$ME@web1@bastion" cat /etc/hostname

step "All of it is on record"

run doorward audit list --type command
said "never-shell"
said "touch"
