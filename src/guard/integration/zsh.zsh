exec 3<&-
command rm -f -- "$ZDOTDIR/.zshenv"
command rmdir -- "$ZDOTDIR"
if [[ -n $DOORWARD_ZDOTDIR ]]; then export ZDOTDIR=$DOORWARD_ZDOTDIR; else unset ZDOTDIR; fi
unset DOORWARD_ZDOTDIR
__dw_say() {
  builtin emulate -L zsh
  local s=${2-}
  s=${s//\%/%25} s=${s//$'\n'/%0A} s=${s//$'\r'/%0D} s=${s//$'\t'/%09} s=${s//$'\e'/%1B} s=${s//$'\a'/%07}
  builtin printf '\e]7379;@REPORT@;%s;%s\a' "$1" "$s" 2>/dev/null >/dev/tty
}
__dw_enter() {
  builtin emulate -L zsh
  if [[ $CONTEXT == (select|vared) ]]; then builtin zle .accept-line; return; fi
  local v= c= k=line
  [[ $CONTEXT == cont ]] && k=next
  POSTDISPLAY=
  __dw_say $k "$BUFFER"
  builtin read -rk 17 v
  while [[ ${#v} == 17 && $v != @VERDICT@? ]]; do
    builtin read -rk 1 c || c=
    v=${v[2,-1]}$c
  done
  case $v in
    (*r) builtin zle .accept-line ;;
    (*m) CURSOR=${#BUFFER}; LBUFFER+=$'\n' ;;
    (*k) builtin zle -I ;;
    (*) BUFFER=; builtin zle -I ;;
  esac
}
__dw_dead() { builtin zle .beep }
__dw_plain() {
  builtin emulate -L zsh
  [[ $BUFFER != *[\`\(]* && $BUFFER != *['$=<>'][\{\[]* ]]
}
__dw_prompt() { builtin setopt no_bang_hist; __dw_say prompt }
__dw_ran() { __dw_say ran }
__dw_start() {
  builtin emulate -L zsh
  local m w
  precmd_functions=(${precmd_functions:#__dw_start} __dw_prompt)
  preexec_functions=($preexec_functions __dw_ran)
  builtin zle -N __dw_enter
  builtin zle -N accept-line __dw_enter
  for w in accept-and-hold accept-and-infer-next-history accept-line-and-down-history run-help which-command \
    edit-command-line execute-named-cmd execute-last-named-cmd pound-insert vi-pound-insert \
    expand-word list-expand _expand_word; do
    builtin zle -N $w __dw_dead
  done
  for w in expand-or-complete expand-or-complete-prefix complete-word menu-complete menu-expand-or-complete \
    reverse-menu-complete accept-and-menu-complete list-choices delete-char-or-list; do
    builtin zle -A $w __dw_own_$w
    builtin eval "__dw_do_$w() { if __dw_plain; then builtin zle __dw_own_$w; else builtin zle .beep; fi }"
    builtin zle -N $w __dw_do_$w
  done
  # By the name that begins with a dot a key has the widget that nobody replaces.
  for m in ${(f)"$(builtin bindkey -l)"}; do
    [[ $m == .safe ]] && continue
    for w in ${(f)"$(builtin bindkey -M $m)"}; do
      if [[ $w == *' '(execute-(last-|)named-cmd|.accept*|.run-help|.which-command|.execute-*|.expand-*|.*complete*|.list-*|.delete-char-or-list) ]]; then
        builtin bindkey -M $m -r ${(Q)${(z)w}[1]}
      fi
    done
  done
  for m in emacs viins vicmd; do
    builtin bindkey -M $m '^M' __dw_enter '^J' __dw_enter
  done
  builtin unfunction __dw_start
  __dw_say ready
  __dw_prompt
}
__dw_first() { builtin setopt no_bang_hist; precmd_functions=(${precmd_functions:#__dw_first}); builtin unfunction __dw_first; __dw_start }
typeset -ga precmd_functions preexec_functions
precmd_functions=(__dw_first)
if [[ -r ${ZDOTDIR:-$HOME}/.zshenv ]]; then builtin source "${ZDOTDIR:-$HOME}/.zshenv"; fi
