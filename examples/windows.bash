# Windows in which people type: tmux, driven by its keys and looked at. A tour sources this after tour.bash; it needs tmux.
# shellcheck shell=bash

cat > "$HERE/tmux.conf" <<'END'
set -g remain-on-exit on
set -g status off
set -g default-terminal tmux-256color
set -g escape-time 10
END
tmux() { env -u TMUX LC_ALL=C.UTF-8 tmux -S "$HERE/tmux" -f "$HERE/tmux.conf" "$@"; }
trap 'tmux kill-server 2> "$HERE/tmux.said" || true; clean_up' EXIT
declare -A PANE

person() { # NAME: the start-up file of their shell: their prompt, and `ssh` with the keys that they have
  cat > "$HERE/$1.rc" <<END
PS1='\[\e[32m\]$1@laptop\[\e[0m\]:~\$ '
HISTFILE=
ssh() { command ssh -F '$HERE/ssh_config' "\$@"; }
END
}
window() { # NAME COLS ROWS: a window of that size with a shell in it
  person "$1"
  PANE[$1]=$(tmux new-session -d -P -F '#{pane_id}' -x "$2" -y "$3" bash --noprofile --rcfile "$HERE/$1.rc")
  prompts "$1" 'laptop:~\$ $'
}
beside() { # NAME OTHER ROWS: one more below the other's, who keep theirs
  person "$1"
  local rows
  rows=$(tmux display-message -p -t "${PANE[$2]}" '#{window_height}')
  tmux resize-window -t "${PANE[$2]}" -y $((rows + $3 + 1))
  PANE[$1]=$(tmux split-window -v -P -F '#{pane_id}' -l "$3" -t "${PANE[$2]}" bash --noprofile --rcfile "$HERE/$1.rc")
  prompts "$1" 'laptop:~\$ $'
}
alone() { # NAME: the others leave their window, and it has the rows that it had before
  local rows
  rows=$(tmux display-message -p -t "${PANE[$1]}" '#{pane_height}')
  tmux kill-pane -a -t "${PANE[$1]}"
  tmux resize-window -t "${PANE[$1]}" -y "$rows"
}
clear() { # NAME PATTERN: an empty screen, but for a prompt like this
  keys "$1" C-l
  within "$1" "an empty screen" is_clear "$1" "$2"
}
is_clear() { ends "$1" "$2" && [ "$(tmux capture-pane -p -J -t "${PANE[$1]}" | grep -c '[^ ]')" = 1 ]; }
keys()  { local to=${PANE[$1]}; shift; tmux send-keys -t "$to" "$@"; }     # NAME KEY...: presses keys, by tmux's names
types() { tmux send-keys -t "${PANE[$1]}" -l -- "$2"; }                    # NAME TEXT: types it
seen()  { tmux capture-pane -p -J -t "${PANE[$1]}" | tr -s '[:space:]' ' '; } # NAME: their screen in one line
last()  { tmux capture-pane -p -J -t "${PANE[$1]}" | sed -n '/[^ ]/h; ${ x; s/ *$/ /; p; }'; } # NAME: the last row with something on it

within() { # NAME WHAT COMMAND...: waits until the command is true; says WHAT is missing if it does not become so
  local name=$1 what=$2 deadline=$((SECONDS + 30))
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || { look "$name"; fail "$name does not see $what"; }
    sleep 0.05
  done
}
enter() { # NAME TEXT: types it, and Enter once some of it is on the screen: what is waited for next is then not what was there
  local before
  before=$(seen "$1")
  types "$1" "$2"
  within "$1" "what is typed" changed "$1" "$before"
  keys "$1" Enter
}
changed() { [ "$(seen "$1")" != "$2" ]; }
has()     { [[ "$(seen "$1")" == *"$2"* ]]; }
ends()    { [[ "$(last "$1")" =~ $2 ]]; }
shows()   { within "$1" "$2" has "$1" "$2"; }                     # NAME TEXT: waits until it is on the screen
prompts() { within "$1" "a prompt like $2" ends "$1" "$2"; }      # NAME PATTERN: waits until the last row is like this
lacks()   { ! has "$1" "$2"; }
loses()   { within "$1" "$2 go" lacks "$1" "$2"; }                # NAME TEXT: waits until it is on the screen no more

look() { # NAME [WORDS]: prints what they see, as they see it
  printf '   \033[2m╭─ %s\033[0m\n' "$1${2:+: $2}"
  # tmux says what changes from one row to the next; here each row is to stand for itself.
  tmux capture-pane -p -e -t "${PANE[$1]}" | awk '{
    row = $0; shown = colours row; bare = row; gsub(/\033\[[0-9;:]*m| /, "", bare)
    while (match(row, /\033\[[0-9;:]*m/)) {
      colour = substr(row, RSTART, RLENGTH); row = substr(row, RSTART + RLENGTH)
      if (colour ~ /\[0?m$/ || colour ~ /\[0;/) colours = ""
      if (colour ~ /\[39m$/) gsub(/\033\[(3[0-7]|9[0-7]|38;5;[0-9]+)m/, "", colours)
      else if (colour ~ /\[49m$/) gsub(/\033\[(4[0-7]|10[0-7]|48;5;[0-9]+)m/, "", colours)
      else if (colour !~ /\[0?m$/) colours = colours colour
    }
    if (bare == "") { blank++; next }
    for (; blank > 0; blank--) printf "   \033[2m│\033[0m\n"
    printf "   \033[2m│\033[0m %s\033[0m\n", shown
  }'
  printf '   \033[2m╰─\033[0m\n'
}
