#!/usr/bin/env bash
# The interactive gate: what a person sees who works under it. A strict shell in which no disguise of a shell starts and
# real work is pleasant, a menu, and a shell of the target's own whose Enter is held; each typed in a window, by tmux.
#
# It starts a throw-away OpenSSH server as the target and a bastion beside it, both on loopback and in one folder under
# /tmp. DOORWARD names the program, by default target/debug/doorward. Exit status 0: every step was true.
set -euo pipefail

. "$(dirname "$0")/tour.bash"
. "$(dirname "$0")/windows.bash"
cd "$HERE"
COLS=96 ROWS=24
PROMPT='@app1:[^ ]*[$#] $' # of the account's own shell

# -----------------------------------------------------------------------------------------------------------------
step "A target with a web site on it, a bastion; Alice of web, Bob of web-leads"

# The account's own files: what its shell reads at its start, and what it remembers of last week.
mkdir -p home www/cache srv/data
cat > home/.bash_profile <<END
PS1='\[\e[1;35m\]$ME@app1\[\e[0m\]:\[\e[34m\]\w\[\e[0m\]\\\$ '
cd
END
printf '%s\n' "cd $HERE/www" "rm $HERE/srv/data/orders" "ls cache" "rm -r $HERE/srv/data" > home/.bash_history
touch srv/data/orders srv/data/customers www/cache/shop.html www/cache/blog.html
for n in $(seq 60); do
  [ $((n % 7)) != 0 ] && status=200 || status=500
  [ $((n % 5)) != 0 ] && page=/cart || page=/login
  echo "10.0.0.$((n % 9 + 1)) GET $page $status"
done > www/access.log
target "SetEnv HOME=$HERE/home SHELL=/bin/bash LANG=C.UTF-8"
BASTION_PORT=$(free_port)
run doorward init --dir "$HERE/bastion" --listen "127.0.0.1:$BASTION_PORT" --make-auditor "$HERE/auditor.key"
for user in alice bob; do
  ssh-keygen -q -t ed25519 -N '' -C "$user" -f "${user}_key"
done
run doorward user add alice --group web
run doorward user add bob --group web-leads
for user in alice bob; do run doorward user key add "$user" "${user}_key.pub"; done
# One machine by three names, so that one tour can show three modes.
for place in web1:strict shop1:menu app1:guard; do
  run doorward target add "${place%:*}" --address "127.0.0.1:$TARGET_PORT" --host-key target_host_key.pub --label "commands=${place#*:}"
  run doorward secret set "$ME@${place%:*}" --private-key account_key
done

step "The rules: the same person, three kinds of shell"

rm bastion/policies/access/*.toml
for mode in strict menu guard; do
  case $mode in
    strict) sets='"web-work", "no-shell"' ;;
    menu) sets='"site-menu"' ;;
    guard) sets='"slips", "no-destruction"' ;;
  esac
  cat <<END
[[rule]]
id       = "web-$mode"
who      = { groups = ["web"] }
where    = { labels = { commands = "$mode" } }
accounts = ["$ME"]
channels = ["shell"]
grant    = { required = false }
commands = { mode = "$mode", sets = [$sets] }

END
done | { echo 'schema = 1'; echo; cat; } > bastion/policies/access/web.toml
cat > bastion/policies/commands/web-work.toml <<END
schema  = 1
mode    = "strict"
default = "deny"

[[rule]]
id      = "look"
effect  = "allow"
program = ["/usr/bin/ls", "/usr/bin/cat", "/usr/bin/head", "/usr/bin/tail", "/usr/bin/cut", "/usr/bin/sort", "/usr/bin/uniq", "/usr/bin/wc"]
flags   = { ls = ["-l", "-a", "-t"], head = ["-n="], tail = ["-n="], cut = ["-d=", "-f="], sort = ["-r", "-n"], uniq = ["-c"], wc = ["-l"] }
reads   = ["$HERE/www", "$HERE/www/**"]
pipe    = true
reason  = "whoever runs the web tier may look at it"

[[rule]]
id        = "maintenance"
effect    = "approve"
program   = "/usr/bin/touch"
writes    = ["$HERE/www/maintenance"]
approvers = { group = "web-leads", count = 1, within = "10m" }
reason    = "what takes the site off the air is seen by two"

[[test]]
expect = "allow look"
lines  = ["ls -l $HERE/www", "tail -n 3 $HERE/www/access.log", "cut -d ' ' -f 4 $HERE/www/access.log | sort | uniq -c"]

[[test]]
expect = "approve maintenance"
lines  = ["touch $HERE/www/maintenance"]

[[test]]
expect = "deny default"
lines  = ["cat /etc/shadow", "cat $HERE/www/../srv/data/orders"]
END
cat > bastion/policies/commands/site-menu.toml <<END
schema  = 1
mode    = "menu"
default = "deny"

[[menu]]
name  = "purge"
title = "Empty the page cache of one site"
run   = ["/usr/bin/rm", "-v", "--", "$HERE/www/cache/{site}.html"]
site  = { pattern = "[a-z0-9][a-z0-9-]{0,39}", help = "the site's short name" }

[[menu]]
name  = "log"
title = "Show the end of the access log"
run   = ["/usr/bin/tail", "-n", "{lines:number}", "$HERE/www/access.log"]
lines = { default = "10", help = "how many lines" }

[[menu]]
name  = "pages"
title = "List the pages in the cache"
run   = ["/usr/bin/ls", "-l", "$HERE/www/cache"]

[[menu]]
name  = "disk"
title = "Show how full the disks are"
run   = ["/usr/bin/df", "-h"]

[[test]]
menu   = "purge"
with   = { site = "shop" }
expect = "allow purge"

[[test]]
menu   = "purge"
with   = { site = "../../srv/data/orders" }
expect = "deny purge"
END
cat > bastion/policies/commands/slips.toml <<END
schema  = 1
mode    = "guard"
default = "allow"

[[rule]]
id      = "no-removal-of-data"
effect  = "deny"
program = ["rm", "rmdir", "shred", "unlink"]
deletes = ["$HERE/srv/**"]
reason  = "removing a service's data takes a change"

[[test]]
expect = "deny no-removal-of-data"
lines  = ["rm -r $HERE/srv/data"]

[[test]]
expect = "allow default"
lines  = ["rm notes.txt"]
END
cat bastion/policies/access/web.toml bastion/policies/commands/{web-work,site-menu,slips}.toml
run doorward check
run doorward policy test
shown doorward serve
serve

clients <<END
Match user $ME@web1,$ME@shop1,$ME@app1
  IdentityFile $HERE/alice_key
Match user bob
  IdentityFile $HERE/bob_key
END

# -----------------------------------------------------------------------------------------------------------------
step "Strict: the shell is the bastion's own, and says what it promises"

window alice "$COLS" "$ROWS"
enter alice "ssh $ME@web1@bastion"
prompts alice '@web1:~> $'
shows alice "no program starts on the target other than argv that a rule allowed"
look alice

step "Ten disguises of a shell: none starts"

count=0
while IFS= read -r line; do
  clear alice '@web1:~( \[126\])?> $'
  enter alice "$line"
  shows alice "doorward: refused"
  prompts alice '@web1:~ \[126\]> $'
  look alice
  count=$((count + 1))
done <<'END'
sh
s''h
s\h -c id
$'\x73\x68'
a=s; b=h; $a$b
/bin/s?
echo c2ggLWMgaWQ= | base64 -d | $0
eval $'\x73h'
env sh -c id
find / -exec sh {} +
END
[ "$count" = 10 ] || fail "$count disguises were tried"
[ "$(doorward commands --json | grep -c refused)" = 10 ] || fail "not each of them is on record"

step "Why: the last refusal once more, where it was refused"

clear alice '@web1:~ \[126\]> $'
enter alice why
shows alice "find / -exec"
prompts alice '@web1:~> $'
look alice

step "Real work: what may be run, by help"

clear alice '@web1:~> $'
enter alice help
prompts alice '@web1:~> $'
shows alice "What may run here now"
shows alice "(after somebody's yes)"
look alice

step "Real work: a directory, Tab, a pipeline"

clear alice '@web1:~> $'
enter alice "cd $HERE/www"
prompts alice '/www> $'
types alice "ta"
keys alice Tab
prompts alice 'tail $'
types alice "-"
keys alice Tab
prompts alice 'tail -n $'
enter alice "3 access.log"
shows alice "GET /login 200"
prompts alice '/www> $'
enter alice "cut -d ' ' -f 4 access.log | sort | uniq -c"
shows alice "52 200"
shows alice "8 500"
prompts alice '/www> $'
look alice

types alice "ls -"
keys alice Tab Tab
shows alice "-a"
look alice "Tab, twice"
keys alice C-c
prompts alice '\[130\]> $'

step "Real work: the history, and Ctrl-R"

clear alice '/www \[130\]> $'
enter alice "history"
shows alice "uniq -c"
prompts alice '/www> $'
keys alice C-r
types alice "tail"
shows alice "tail': tail -n 3 access.log"
look alice Ctrl-R
keys alice Enter
prompts alice '/www> $'
keys alice Up
prompts alice '> tail -n 3 access.log $'
look alice Up
keys alice C-c
prompts alice '\[130\]> $'

step "A yes is wanted: the session waits, with a countdown, and Bob gives it from his own window"

clear alice '/www \[130\]> $'
enter alice "touch maintenance"
shows alice "Ctrl-C withdraws it"
shows alice "9:5" # of ten minutes
loses alice "$(seen alice | grep -oE '9:5[0-9] left')"
ID=$(seen alice | grep -oE 'd-[0-9a-z]{8}' | head -n 1)
[ ! -e www/maintenance ] || fail "it did not wait"
beside bob alice 22
enter bob "ssh bob@bastion requests"
shows bob "$ID"
prompts bob 'laptop:~\$ $'
clear bob 'laptop:~\$ $'
enter bob "ssh bob@bastion show $ID"
shows bob "/usr/bin/touch"
prompts bob 'laptop:~\$ $'
look bob
look alice "meanwhile"
clear bob 'laptop:~\$ $'
enter bob "ssh bob@bastion approve $ID"
prompts bob 'laptop:~\$ $'
look bob
prompts alice '/www> $'
look alice
[ -e www/maintenance ] || fail "it did not run"
alone alice
keys alice C-d # the end of the strict shell
prompts alice 'laptop:~\$ $'

# -----------------------------------------------------------------------------------------------------------------
step "Menu: search"

clear alice 'laptop:~\$ $'
enter alice "ssh $ME@shop1@bastion"
shows alice "4 entries"
look alice
types alice "cache of"
shows alice "1 of 4 entries"
look alice "Search"

step "Menu: a form, with help; a value that cannot be is refused before anything is asked of the target"

keys alice Enter
shows alice "the site's short name"
look alice "Form"
enter alice "../../srv/data/orders"
shows alice "../../srv/data/orders"
look alice "A value that cannot be"
[ -e www/cache/shop.html ] || fail "something ran"

step "Menu: the last look at what runs, word by word; the run"

keys alice C-u
enter alice "shop"
shows alice "Last look"
shows alice "'/usr/bin/rm' '-v' '--' '$HERE/www/cache/shop.html'"
look alice "The last look"
[ -e www/cache/shop.html ] || fail "it did not wait for the last Enter"
keys alice Enter
shows alice "purge ended with status 0"
look alice "The run"
[ ! -e www/cache/shop.html ] && [ -e www/cache/blog.html ] || fail "not that page is gone"
types alice " "
shows alice "4 entries"
keys alice C-c
prompts alice 'laptop:~\$ $'

# -----------------------------------------------------------------------------------------------------------------
step "Guard: the target's own shell; Enter is held until the line is judged"

clear alice 'laptop:~\$ $'
enter alice "ssh $ME@app1@bastion"
shows alice "stops mistakes and casual misuse"
prompts alice "$PROMPT"
enter alice "echo \$((6 * 7)); ls $HERE/www"
shows alice "42 access.log"
prompts alice "$PROMPT"
look alice

step "Guard: a line of last week, recalled from the shell's history by Up: refused, and wiped"

clear alice "$PROMPT"
keys alice Up Up
shows alice "rm -r $HERE/srv/data"
look alice Up
keys alice Enter
shows alice "doorward: refused rm -r $HERE/srv/data (rule no-removal-of-data)"
prompts alice "$PROMPT"
look alice Enter
[ -e srv/data/customers ] || fail "it ran"

step "Guard: another, found by the shell's own Ctrl-R"

clear alice "$PROMPT"
keys alice C-r
types alice "orders"
shows alice "orders': rm $HERE/srv/data/orders"
look alice Ctrl-R
keys alice Enter
shows alice "doorward: refused rm $HERE/srv/data/orders (rule no-removal-of-data)"
prompts alice "$PROMPT"
look alice Enter
[ -e srv/data/orders ] || fail "it ran"

step "Guard: work goes on"

enter alice "cd $HERE/www && for n in 1 2 3; do echo \"line \$n\"; done | tac"
shows alice "line 3 line 2 line 1"
prompts alice "$PROMPT"
enter alice "tail -n 1 access.log"
shows alice "GET /login 200"
prompts alice "$PROMPT"
look alice
enter alice exit
prompts alice 'laptop:~\$ $'

# -----------------------------------------------------------------------------------------------------------------
step "All of it is on record: each line, with the second of its recording, and what became of it"

run doorward recording list
run doorward commands --since 1h
[ "$(grep -c ' refused ' said)" = 12 ] || fail "not all twelve refusals are on record"
said "rm -r $HERE/srv/data"
run doorward audit list --type command.waits
said "touch maintenance"
run doorward audit list --type command.step
said "by=\"bob by"

step "In the recording, to the second; opened with the auditor's key"

SESSION=$(doorward recording list | awk '/@app1/ { print $1 }')
run doorward recording export "$SESSION" --identity auditor.key --format txt
said "rule no-removal-of-data"
doorward recording export "$SESSION" --identity auditor.key --format v3 > guard.cast
run grep '"m","command' guard.cast
said "command refused: rm -r $HERE/srv/data"

step "And nobody has altered it"

kill "$SERVER"
wait "$SERVER" || fail "the server ended with status $?"
run doorward verify --store bastion/data --vkey "$(cat bastion/data/log/key.pub)"
