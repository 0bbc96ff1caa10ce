#!/usr/bin/env bash
# Just in time: Alice asks, Bob and Carol decide, all with the `ssh` that they have.
#
# It starts a throw-away OpenSSH server as the target and a bastion beside it, both on loopback and in one folder under
# /tmp. DOORWARD names the program, by default target/debug/doorward. Exit status 0: every step was true.
set -euo pipefail

. "$(dirname "$0")/tour.bash"
refused() { shown "$@"; if "$@" >"$HERE/said" 2>&1; then fail "$* was not refused"; fi; cat "$HERE/said"; }
live() { # NAME COMMAND...: runs it in the background, waits until it says `ready`; its output is in NAME
  local name=$1
  shift
  shown "$@"
  "$@" < /dev/null > "$name" 2>&1 &
  LIVE=$!
  started+=("$LIVE")
  for _ in $(seq 200); do grep -q ready "$name" && return; sleep 0.05; done
  fail "it does not begin: $(cat "$name")"
}
ended() { # NAME: the session of `live` ends within 5 s, and not by itself
  SECONDS=0
  wait "$LIVE" && fail "the session ended as if nothing had happened"
  [ "$SECONDS" -le 5 ] || fail "it took $SECONDS s"
  say "on the screen:"
  tr -d '\r' < "$1" | sed 's/^/   | /'
}
request() { grep -oE 'r-[0-9a-z]{6}' "$HERE/said" | head -n 1; }
cd "$HERE"

# -----------------------------------------------------------------------------------------------------------------
step "A target, a bastion; Alice of dba, Bob and Carol of dba-leads"

target
BASTION_PORT=$(free_port)
run doorward init --dir "$HERE/bastion" --listen "127.0.0.1:$BASTION_PORT" --make-auditor "$HERE/auditor.key"
for user in alice bob carol; do
  ssh-keygen -q -t ed25519 -N '' -C "$user" -f "${user}_key"
done
run doorward user add alice --group dba
run doorward user add bob --group dba-leads
run doorward user add carol --group dba-leads
for user in alice bob carol; do run doorward user key add "$user" "${user}_key.pub"; done
run doorward target add db1 --address "127.0.0.1:$TARGET_PORT" --host-key target_host_key.pub --label env=prod
run doorward secret set "$ME@db1" --private-key account_key

rm bastion/policies/access/{administrators,backups,own-account}.toml
cat > bastion/policies/access/databases.toml <<END
schema = 1

[[rule]]
id        = "dba-prod"
who       = { groups = ["dba"] }
where     = { labels = { env = "prod" } }
accounts  = ["$ME"]
channels  = ["shell", "exec"]
grant     = { max = "1h", total = "2h", approvers = { group = "dba-leads" }, ticket = "CHG-[0-9]+" }

[[test]]
given  = { user = "alice", groups = ["dba"], target = "db1", labels = { env = "prod" }, account = "$ME" }
expect = "needs-grant dba-prod"
END
cat >> bastion/policies/access/databases.toml <<END

[[rule]]
id          = "dba-emergency"
who         = { groups = ["dba"] }
where       = { labels = { env = "prod" } }
accounts    = ["$ME"]
channels    = ["shell", "exec"]
break_glass = { max = "30m", reviewers = { group = "dba-leads" }, insecure_without_key = true } # no security key on a tour

[[audit]]
id     = "leads-oversee"
who    = { groups = ["dba-leads"] }
where  = { targets = ["*"] }
rights = ["watch", "freeze", "message", "kill", "lift"]
END
cat bastion/policies/access/databases.toml

step "How people are told: a webhook, and a mail program"

HOOK_PORT=$(free_port)
cat > hook.py <<'END'
import http.server, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        print(text, file=open(sys.argv[2], "a"), flush=True)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Hook).serve_forever()
END
python3 hook.py "$HOOK_PORT" "$HERE/hooked" 2> hook.log &
started+=($!)
answers $! "$HOOK_PORT" || fail "the webhook does not start"
sed -i "s|^\[notify\]|&\nwebhooks = [\"http://127.0.0.1:$HOOK_PORT/\"]\nmail_command = [\"/usr/bin/tee\", \"-a\", \"$HERE/mails\"]\nmail_from = \"doorward@example.org\"\nmail_domain = \"example.org\"|" bastion/doorward.toml
told() { for _ in $(seq 200); do grep -qs -- "$2" "$1" && return; sleep 0.05; done; fail "nobody was told: $2"; }

run doorward check
shown doorward serve
serve

clients <<END
Match user alice,$ME@db1
  IdentityFile $HERE/alice_key
Match user bob
  IdentityFile $HERE/bob_key
Match user carol
  IdentityFile $HERE/carol_key
END

# -----------------------------------------------------------------------------------------------------------------
step "Without a grant: refused, and told how to ask"

refused ssh "$ME@db1@bastion" id
said "request"

step "Alice asks"

refused ssh alice@bastion request "$ME@db1" --for 30m --reason "vacuum is stuck"
said "ticket"
run ssh alice@bastion request "$ME@db1" --for 30m --reason "CHG-123 vacuum is stuck"
said "waiting for 1 of dba-leads (bob, carol)"
ID=$(request)

told hooked "alice asks for"
told mails "To: bob@example.org,"
say "Bob and Carol have mail: $(grep -m 1 Subject mails)"

step "Nobody approves what they ask for themselves"

refused ssh alice@bastion approve "$ID"
said "nobody approves"

step "Bob reads it and approves"

run ssh bob@bastion requests
said "CHG-123"
run ssh bob@bastion show "$ID"
run ssh bob@bastion approve "$ID" --note "after the backup"
said "granted until"

step "Alice works"

run ssh "$ME@db1@bastion" 'echo "I am $(id -un)"'
said "I am $ME"

step "It takes longer: she asks for more, Carol approves, the live session goes on"

live shell ssh -tt "$ME@db1@bastion" 'echo ready; sleep 600'
run ssh alice@bastion extend "$ID" --for 30m --reason "CHG-123 still vacuuming"
MORE=$(request)
run ssh carol@bastion approve "$MORE"
run doorward session list
refused ssh alice@bastion extend "$ID" --for 2h
said "the longest"

step "Revoked: her session dies on the screen"

GRANT=$(doorward grant list --json | grep -oE 'g-[0-9a-z]{8}' | head -n 1)
run doorward grant revoke "$GRANT" --reason "the change is called off"
ended shell
grep -q "revoked" shell || fail "it does not say why"
refused ssh "$ME@db1@bastion" id

step "At night, nobody answers: Alice breaks the glass. It is told before it opens anything"

run ssh alice@bastion break-glass "$ME@db1" --for 20m --reason "db1 is down, nobody answers the phone"
GLASS=$(request)
told hooked "ALERT: alice breaks the glass"
told mails "ALERT: alice breaks the glass"
say "$(grep -m 1 'Subject: .*ALERT' mails)"
live night ssh -tt "$ME@db1@bastion" 'echo ready; sleep 600'
refused ssh alice@bastion review "$GLASS" ok
run doorward grant revoke "$(doorward grant list --json | grep -oE 'g-[0-9a-z]{8}' | head -n 1)" --reason "it is day"
ended night
run ssh carol@bastion review "$GLASS" ok --note "I saw it in the recording"
run doorward audit list --type breakglass.open

step "Under attack: lock-down. It takes two people to lift"

run ssh alice@bastion request "$ME@db1" --for 30m --reason "CHG-124 index is broken"
run ssh bob@bastion approve "$(request)"
live day ssh -tt "$ME@db1@bastion" 'echo ready; sleep 600'
run doorward lockdown on --reason "somebody is in the network"
ended day
refused ssh "$ME@db1@bastion" id
said "locked"
run doorward lockdown lift
refused ssh "$ME@db1@bastion" id
run ssh carol@bastion lock list
LOCK=$(grep -oE 'k-[0-9a-z]+' "$HERE/said" | head -n 1)
run ssh carol@bastion lock lift "$LOCK"
run ssh "$ME@db1@bastion" 'echo "I am $(id -un)"'

step "All of it is on record, under the request's id"

run doorward audit list --type request.create
run doorward audit list --type request.step
said "approve"
