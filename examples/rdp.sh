#!/usr/bin/env bash
# A desktop through the bastion, by stock programs. Alice asks for the desktop of a machine whose password she does not
# know; Bob says yes; a one-time ticket comes with an .rdp file, and xfreerdp shows the desktop. She types, pastes in, and
# cannot take out what is copied there. Bob looks at it and ends it; an auditor sees it again, as picture, film and text.
#
# It starts xrdp as the target, with an account of its own that goes with it, and a bastion beside it, both on loopback and
# in one folder under /tmp. xrdp logs accounts in, so this needs root. DOORWARD names the program, by default
# target/debug/doorward. The pictures and films stay in the folder that ARTEFACTS names, by default /tmp/doorward-desktop.
# Exit status 0: every step was true.
set -euo pipefail

[ "$(id -u)" = 0 ] || { echo "error: xrdp logs in accounts of this machine; run this as root" >&2; exit 2; }
. "$(dirname "$0")/tour.bash"
. "$(dirname "$0")/screens.bash"
KEPT=${ARTEFACTS:-/tmp/doorward-desktop}
mkdir -p "$KEPT"
KEPT=$(realpath "$KEPT")
rm -f "$KEPT"/{desktop,pasted,watched,after,export,last}.png "$KEPT"/export.{mp4,txt}
BLUE='#3050c0' # the target's desktop, so that a picture can be told from any other
cd "$HERE"

field()   { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; } # NAME: one of a JSON object
refused() { # COMMAND...: it must end with status 126
  shown "$@"
  local status=0
  "$@" > said 2>&1 || status=$?
  cat said
  [ "$status" = 126 ] || fail "$* ended with status $status"
}

# -----------------------------------------------------------------------------------------------------------------
step "A target: xrdp, and an account whose password nobody of these people knows"

# Its session manager has one port on a machine: two tours, or a tour and a test, take turns. What the session manager
# starts may outlive it for a moment, and does not hold the lock.
exec 9> /tmp/xrdp.lock
flock 9
ACCOUNT=tour$RANDOM
PASSWORD=$(head -c 18 /dev/urandom | base64 | tr -d '+/=')
HOUSE=/home/$ACCOUNT
leave() {
  local displays
  displays=$(sed -n 's/.*Starting X server on display \([0-9]*\):.*/\1/p' "$HERE/sesman.log" 2>/dev/null || true)
  for pid in $(ps -o pid= -u "$ACCOUNT" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done
  clean_up
  # A display whose server was killed keeps its number taken.
  for number in $displays; do rm -f "/tmp/.X$number-lock" "/tmp/.X11-unix/X$number"; done
  for _ in $(seq 100); do userdel --force --remove "$ACCOUNT" > /dev/null 2>&1 && break; sleep 0.05; done
}
trap leave EXIT
useradd --create-home --home-dir "$HOUSE" --shell /bin/sh "$ACCOUNT"
echo "$ACCOUNT:$PASSWORD" | chpasswd

# What is on the desktop: one colour, and a terminal.
cat > "$HOUSE/desktop" <<END
#!/bin/sh
xsetroot -solid '$BLUE'
cd '$HOUSE'
exec xterm -T work -geometry 70x12+0+0 -e env PS1='work\$ ' sh
END
echo 'xclip -o -selection clipboard > pasted.new && mv pasted.new pasted' > "$HOUSE/paste"
echo 'echo "every customer there is" | xclip -i -selection clipboard && touch copied' > "$HOUSE/copy"
chmod 755 "$HOUSE/desktop"
chown -R "$ACCOUNT": "$HOUSE"

TARGET_PORT=$(free_port)
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=win1 -keyout target_key.pem -out target_cert.pem 2> openssl.log
sed -e "s|^LogFile=.*|LogFile=$HERE/sesman.log|" -e 's|^EnableSyslog=true|EnableSyslog=false|' \
  -e "s|^DefaultWindowManager=.*|DefaultWindowManager=$HOUSE/desktop|" -e 's|^EnableUserWindowManager=.*|EnableUserWindowManager=false|' \
  -e 's|^KillDisconnected=.*|KillDisconnected=true|' -e 's|^FuseMountName=|EnableFuseMount=false\n&|' \
  /etc/xrdp/sesman.ini > sesman.ini
sed -e "s|^port=3389|port=tcp://127.0.0.1:$TARGET_PORT|" -e "s|^certificate=.*|certificate=$HERE/target_cert.pem|" \
  -e "s|^key_file=.*|key_file=$HERE/target_key.pem|" -e "s|^LogFile=.*|LogFile=$HERE/xrdp.log|" \
  -e 's|^EnableSyslog=true|EnableSyslog=false|' -e 's|^autorun=.*|autorun=Xorg|' /etc/xrdp/xrdp.ini > xrdp.ini
mkdir -p /run/xrdp
"$(PATH=$PATH:/usr/sbin command -v xrdp-sesman)" -n -c "$HERE/sesman.ini" > sesman.out 2>&1 9>&- &
started+=($!)
"$(PATH=$PATH:/usr/sbin command -v xrdp)" -n -c "$HERE/xrdp.ini" > xrdp.out 2>&1 &
started+=($!)
listens() { grep -q "$(printf ':%04X 00000000:0000 0A' "$1")" /proc/net/tcp; }
soon "xrdp on port $TARGET_PORT" listens "$TARGET_PORT"
say "win1 listens on port $TARGET_PORT; its account is $ACCOUNT."

# -----------------------------------------------------------------------------------------------------------------
step "A bastion with a door for desktops; Alice of windows-admins, Bob of windows-leads"

BASTION_PORT=$(free_port)
RDP_PORT=$(free_port)
run doorward init --dir "$HERE/bastion" --listen "127.0.0.1:$BASTION_PORT" --make-auditor "$HERE/auditor.key"
cat >> bastion/doorward.toml <<END

[rdp]
listen  = "127.0.0.1:$RDP_PORT"
offered = ["nla"]
END
for user in alice bob; do ssh-keygen -q -t ed25519 -N '' -C "$user" -f "${user}_key"; done
run doorward user add alice --group windows-admins
run doorward user add bob --group windows-leads
for user in alice bob; do run doorward user key add "$user" "${user}_key.pub"; done

step "The rule: a desktop while a grant holds; text may be pasted in, nothing comes out"

rm bastion/policies/access/*.toml
cat > bastion/policies/access/desktops.toml <<END
schema = 1

[[rule]]
id        = "windows-desktop"
who       = { groups = ["windows-admins"] }
where     = { labels = { os = "windows" } }
accounts  = ["$ACCOUNT"]
channels  = ["desktop"]
desktop   = { clipboard_in = "text", clipboard_out = "off" }
grant     = { max = "1h", approvers = { group = "windows-leads", count = 1 } }
recording = { input = "full" }

[[audit]]
id     = "leads-oversee"
who    = { groups = ["windows-leads"] }
where  = { labels = { os = "windows" } }
rights = ["watch", "freeze", "kill"]

[[test]]
given  = { user = "alice", groups = ["windows-admins"], target = "win1", labels = { os = "windows" }, account = "$ACCOUNT", channel = "desktop" }
expect = "needs-grant windows-desktop"

[[test]] # the desktop, and no shell beside it
given  = { user = "alice", groups = ["windows-admins"], target = "win1", labels = { os = "windows" }, account = "$ACCOUNT", channel = "shell" }
expect = "deny"
END
cat bastion/policies/access/desktops.toml
run doorward check
run doorward policy test
shown doorward serve
serve

clients <<END
Match user alice
  IdentityFile $HERE/alice_key
Match user bob
  IdentityFile $HERE/bob_key
END

step "The target: its certificate is compared with what it says of itself, and pinned; its password goes into the vault"

# xrdp has no NLA. Windows has it: there --allow-tls-only is left out.
run doorward target add win1 --rdp "127.0.0.1:$TARGET_PORT" --label os=windows --allow-tls-only
OWN=$(openssl x509 -in target_cert.pem -noout -fingerprint -sha256 | cut -d = -f 2 | tr -d : | tr 'A-F' 'a-f')
run doorward target scan win1 --rdp --yes-fingerprint "sha256:$OWN"
echo "$PASSWORD" > password
chmod 600 password
run doorward secret set "$ACCOUNT@win1" --file password
rm password

# -----------------------------------------------------------------------------------------------------------------
step "Without a grant there is no ticket; Alice asks, Bob says yes"

refused ssh alice@bastion rdp "$ACCOUNT@win1"
run ssh alice@bastion request "$ACCOUNT@win1" --for 30m --reason "printer queue is stuck"
REQUEST=$(grep -oE 'r-[0-9A-Za-z]+' said | head -n 1)
run ssh bob@bastion approve "$REQUEST"

step "A ticket, with its .rdp file: once, two minutes, from here"

shown ssh alice@bastion rdp "$ACCOUNT@win1" --json
ssh alice@bastion rdp "$ACCOUNT@win1" --json > ticket.json || fail "there is no ticket"
field file < ticket.json > alice.rdp
field password < ticket.json > ticket.secret
cat alice.rdp
TICKET=$(field ticket < ticket.json)
CERTIFICATE=$(field command < ticket.json | grep -oE '/cert:[^ ]+')
grep -q "username:s:$TICKET" alice.rdp || fail "the file is for somebody else"
grep -q 'redirectclipboard:i:1' alice.rdp || fail "the file does not offer the clipboard"
grep -qF "$(cat ticket.secret)" alice.rdp && fail "the ticket's secret is in the file"

# -----------------------------------------------------------------------------------------------------------------
step "xfreerdp shows the desktop, on a screen without a monitor"

screen alice 1024x768
desktop() { # the program that people have; it reads the ticket's secret where it would ask for it
  at alice env HOME="$HERE" xfreerdp "$HERE/alice.rdp" "$CERTIFICATE" /from-stdin /size:800x600 < ticket.secret > xfreerdp.log 2>&1
}
shown xfreerdp alice.rdp "$CERTIFICATE" /from-stdin /size:800x600
desktop &
VIEWER=$!
started+=("$VIEWER")
shows() { # the desktop, while xfreerdp is there to show it
  kill -0 "$VIEWER" 2>/dev/null || fail "xfreerdp has ended: $(tail -n 3 xfreerdp.log)"
  has alice "$BLUE" 35
}
soon "desktop on her screen" shows
shot alice "$KEPT/desktop.png"
say "what Alice sees: $KEPT/desktop.png"
SESSION=$(doorward session list --json | grep -oE '"(id|session)": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)
run doorward session list

step "She types"

enter alice "echo the queue is empty > typed"
soon "file that was typed" grep -qs "the queue is empty" "$HOUSE/typed"
say "on the target: $(cat "$HOUSE/typed")"

step "What she has copied is pasted in, for the rule says so"

printf %s "printer-7 wants paper" | at alice xclip -i -selection clipboard > xclip.log 2>&1
enter alice "sh paste"
soon "file with what was pasted" test -e "$HOUSE/pasted"
say "on the target: $(cat "$HOUSE/pasted")"
grep -q "printer-7 wants paper" "$HOUSE/pasted" || fail "something else was pasted"

step "What is copied there stays there: her clipboard is what it was"

enter alice "sh copy"
soon "copy on the target" test -e "$HOUSE/copied"
for _ in $(seq 40); do
  [ "$(at alice xclip -o -selection clipboard)" = "printer-7 wants paper" ] || fail "her clipboard was changed from the target"
  sleep 0.05
done
say "on her side: $(at alice xclip -o -selection clipboard)"
shot alice "$KEPT/pasted.png"

# -----------------------------------------------------------------------------------------------------------------
step "Bob looks at it while it lasts"

shown ssh bob@bastion session watch "$SESSION" --png
ssh bob@bastion session watch "$SESSION" --png > "$KEPT/watched.png" || fail "there is nothing to see"
WATCHED=$(share "$KEPT/watched.png" "$BLUE")
[ "$WATCHED" -ge 60 ] || fail "$WATCHED% of what Bob sees is the desktop's colour"
say "what Bob sees: $KEPT/watched.png"

step "And ends it: Alice's program is told so, and her screen is empty"

run ssh bob@bastion session kill "$SESSION"
wait "$VIEWER" && fail "xfreerdp ended as if nothing was the matter"
grep -q ERRINFO_RPC_INITIATED_DISCONNECT xfreerdp.log || fail "xfreerdp was told something else: $(tail -n 5 xfreerdp.log)"
say "$(grep -oE 'ERRINFO_RPC_INITIATED_DISCONNECT[^.]*' xfreerdp.log | head -n 1)"
shot alice "$KEPT/after.png"
[ "$(share "$KEPT/after.png" "$BLUE")" = 0 ] || fail "the desktop is still on her screen"

step "The ticket was for once"

status=0
desktop || status=$?
[ "$status" != 0 ] || fail "a used ticket was taken"
grep -q LOGON_FAILURE xfreerdp.log || fail "it was refused for another reason: $(tail -n 5 xfreerdp.log)"

# -----------------------------------------------------------------------------------------------------------------
step "All of it is on record, and nobody has altered it"

run doorward recording list
run doorward audit list --type desktop.ticket
said "issued"
said "used"
run doorward audit list --type session.end
said "bob"
kill "$SERVER"
wait "$SERVER" || fail "the server ended with status $?"
run doorward verify --deep --identity auditor.key --store bastion/data --vkey "$(cat bastion/data/log/key.pub)"

step "The auditor sees it again: the last picture is what was on Alice's screen"

export_as() { # FORMAT: into the file of that name
  shown doorward recording export "$SESSION" --identity auditor.key --format "$1"
  doorward recording export "$SESSION" --identity auditor.key --format "$1" > "$KEPT/export.$1" || fail "it cannot be exported as $1"
}
export_as png
convert "$KEPT/pasted.png" -crop 800x600+0+0 +repage shown.png
as_shown() { # FILE: it is what she saw, with the pointer, which a screenshot leaves out; a word is some hundred pixels
  local pixels
  pixels=$(differs "$1" shown.png)
  [ "$pixels" -le 100 ] || fail "$pixels pixels are others than she saw"
  say "$pixels of 480000 pixels are others than in the screenshot, the pointer's: $1"
}
as_shown "$KEPT/export.png"

step "The film of it ends with the same picture"

export_as mp4
ffmpeg -nostdin -loglevel error -y -i "$KEPT/export.mp4" -update 1 "$KEPT/last.png"
as_shown "$KEPT/last.png"

step "And in words: what was typed and pasted, and nothing that came out"

export_as txt
cat "$KEPT/export.txt"
grep -q "echo the queue is empty > typed" "$KEPT/export.txt" || fail "what was typed is not in it"
grep -q "user to target.*printer-7 wants paper" "$KEPT/export.txt" || fail "what was pasted is not in it"
grep -q "target to user" "$KEPT/export.txt" && fail "something came out"

step "Pictures and film are in $KEPT"
