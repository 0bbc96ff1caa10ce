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
__dw_accept() {
  builtin local m
  for m in emacs-standard vi-insert vi-command; do builtin bind -m "$m" "\"\\C-x\\C-_@ACCEPT@\": $1"; done
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
    *r) __dw_at=next; __dw_accept accept-line ;;
    *m) READLINE_LINE+=$'\n' READLINE_POINT=${#READLINE_LINE}; __dw_accept redraw-current-line ;;
    *k) __dw_accept redraw-current-line ;;
    *) READLINE_LINE= READLINE_POINT=0; __dw_accept redraw-current-line ;;
  esac
}
__dw_prompt() {
  builtin local s=$?
  __dw_at=line
  builtin set +H
  __dw_accept redraw-current-line
  __dw_say prompt
  builtin return "$s"
}
__dw_bind() {
  builtin local m f
  for m in emacs-standard vi-insert vi-command; do
    for f in accept-line operate-and-get-next edit-and-execute-command vi-edit-and-execute-command insert-comment \
      shell-expand-line re-read-init-file execute-named-command; do
      builtin bind -m "$m" -u "$f"
    done
    builtin bind -m "$m" -x '"\C-x\C-]": __dw_enter'
    builtin bind -m "$m" '"\C-m": "\C-x\C-]\C-x\C-_@ACCEPT@"'
    builtin bind -m "$m" '"\C-j": "\C-x\C-]\C-x\C-_@ACCEPT@"'
  done
} 2>/dev/null
__dw_bind
builtin unset -f __dw_bind
builtin unset __dw
builtin set +H
if [[ $(builtin declare -p PROMPT_COMMAND 2>/dev/null) == 'declare -a'* ]]; then
  PROMPT_COMMAND+=(__dw_prompt)
else
  PROMPT_COMMAND=${PROMPT_COMMAND:+$PROMPT_COMMAND$'\n'}__dw_prompt
fi
PS0='$(__dw_say ran)'${PS0-}
builtin shopt -s expand_aliases
__dw_say ready
