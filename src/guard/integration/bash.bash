exec 3<&-
if [ -r /etc/profile ]; then . /etc/profile; fi
for __dw in ~/.bash_profile ~/.bash_login ~/.profile; do
  if [ -r "$__dw" ]; then . "$__dw"; break; fi
done
\builtin shopt -u expand_aliases
__dw_say() {
  builtin local LC_ALL=C s=${2-}
  s=${s//[%]/%25} s=${s//$'\n'/%0A} s=${s//$'\r'/%0D} s=${s//$'\t'/%09} s=${s//$'\e'/%1B} s=${s//$'\a'/%07}
  builtin printf '\e]7379;@REPORT@;%s;%s\a' "$1" "$s" 2>/dev/null >/dev/tty
}
__dw_then() {
  builtin local m
  for m in emacs-standard vi-insert vi-command; do builtin bind -m "$m" "\"\\C-x\\C-$1@ACCEPT@\": $2"; done
}
__dw_enter() {
  builtin local LC_ALL=C IFS= v= c=
  __dw_say "$__dw_at" "$READLINE_LINE"
  until builtin read -rsN 17 v </dev/tty || (( $? <= 128 )); do :; done
  while [[ ${#v} == 17 && $v != @VERDICT@? ]]; do
    builtin read -rsN 1 c </dev/tty || c=
    v=${v:1}$c
  done
  case $v in
    *r) __dw_at=next; __dw_then _ accept-line ;;
    *m) READLINE_LINE+=$'\n' READLINE_POINT=${#READLINE_LINE}; __dw_then _ redraw-current-line ;;
    *k) __dw_then _ redraw-current-line ;;
    *) READLINE_LINE= READLINE_POINT=0; __dw_then _ redraw-current-line ;;
  esac
}
# Completion runs what stands in the index of an array; and what functions for programs run is anybody's guess.
__dw_tab() {
  builtin local LC_ALL=C f=complete
  if [[ $READLINE_LINE == *[\`]* || $READLINE_LINE == *['$<>='][\(\{\[]* ]]; then
    f=redraw-current-line
  elif [[ ${__dw_tabbed-} == "$READLINE_POINT:$READLINE_LINE" ]]; then
    f=possible-completions
  fi
  __dw_tabbed=$READLINE_POINT:$READLINE_LINE
  __dw_then ^ "$f"
}
__dw_prompt() {
  builtin local s=$?
  __dw_at=line
  builtin set +H
  __dw_then _ redraw-current-line
  __dw_say prompt
  builtin return "$s"
}
# Takes functions from their keys, map by map since an older bash does not look into the maps behind ESC and Ctrl-X; and
# looks whether any has one left.
__dw_free() {
  builtin local m f l
  for m in emacs-standard emacs-meta emacs-ctlx vi-insert vi-command; do
    for f; do builtin bind -m "$m" -u "$f"; done
    l=$'\n'$(LC_ALL=C builtin bind -m "$m" -p)$'\n'
    [[ $l == *' (not bound)'* ]] || builtin return 1
    for f; do
      if [[ $l == *'": '"$f"$'\n'* ]]; then builtin return 1; fi
    done
  done
}
__dw_bind() {
  builtin local m
  __dw_free operate-and-get-next edit-and-execute-command vi-edit-and-execute-command insert-comment \
    shell-expand-line re-read-init-file execute-named-command \
    complete possible-completions insert-completions menu-complete menu-complete-backward old-menu-complete \
    complete-filename possible-filename-completions complete-command possible-command-completions \
    complete-variable possible-variable-completions complete-into-braces delete-char-or-list vi-complete || builtin return
  for m in emacs-standard vi-insert vi-command; do
    builtin bind -m "$m" -x '"\C-x\C-]": __dw_enter' && builtin bind -m "$m" -x '"\C-x\C-t": __dw_tab' || builtin return
  done
  if ! __dw_free accept-line; then
    for m in emacs-standard vi-insert vi-command; do builtin bind -m "$m" '"\C-m": accept-line'; done
    builtin return 1
  fi
  for m in emacs-standard vi-insert vi-command; do
    builtin bind -m "$m" '"\C-m": "\C-x\C-]\C-x\C-_@ACCEPT@"'
    builtin bind -m "$m" '"\C-j": "\C-x\C-]\C-x\C-_@ACCEPT@"'
    if [[ $m != vi-command ]]; then builtin bind -m "$m" '"\C-i": "\C-x\C-t\C-x\C-^@ACCEPT@"'; fi
  done
} 2>/dev/null
if __dw_bind; then
  builtin set +H
  if [[ $(builtin declare -p PROMPT_COMMAND 2>/dev/null) == 'declare -a'* ]]; then
    PROMPT_COMMAND+=(__dw_prompt)
  else
    PROMPT_COMMAND=${PROMPT_COMMAND:+$PROMPT_COMMAND$'\n'}__dw_prompt
  fi
  PS0='$(__dw_say ran)'${PS0-}
  __dw_say ready
else
  __dw_say unfit
fi
builtin unset -f __dw_bind __dw_free
builtin unset __dw
builtin shopt -s expand_aliases
