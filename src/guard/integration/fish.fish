set -g __dw_at line
function __dw_say
    set -l text (string escape --style=url -- "$argv[2]")
    printf '\e]7379;@REPORT@;%s;%s\a' $argv[1] "$text" >/dev/tty
end
# Abbreviations expand once this has returned: the buffer is reported when the key comes that answers the knock.
function __dw_knock
    commandline -f expand-abbr
    __dw_say knock
end
function __dw_enter
    set -l text (commandline | string collect)
    set text (string escape --style=url -- "$text")
    set -l verdict (printf '@VERDICT@\n\e]7379;@REPORT@;%s;%s\a\n' $__dw_at "$text" | command sh -c '
        IFS= read -r k; IFS= read -r t; o=$(stty -g </dev/tty) && stty raw -echo </dev/tty || exit
        printf %s "$t" >/dev/tty; v=$(dd bs=1 count=17 2>/dev/null </dev/tty)
        while case ${#v}-$v in 17-"$k"?) false ;; 17-*) true ;; *) false ;; esac; do
            v=${v#?}$(dd bs=1 count=1 2>/dev/null </dev/tty)
        done
        stty "$o" </dev/tty; printf %s "${v#"$k"}"')
    switch "$verdict"
        case r
            commandline -f execute
        case m
            commandline -C (string length -- "$(commandline | string collect)")
            commandline -i \n
        case k
            commandline -f repaint
        case '*'
            commandline -r ''
            commandline -f repaint
    end
end
function __dw_prompt --on-event fish_prompt
    set -g __dw_at line
    __dw_say prompt
end
function __dw_ran --on-event fish_preexec
    set -g __dw_at next
    __dw_say ran
end
function __dw_bind
    for mode in default insert visual replace replace_one
        for key in \r \n
            bind -M $mode $key __dw_knock
        end
        bind -M $mode \e\[7379~ __dw_enter
        for key in \cx\r \cx\n \ep \el \ew \eh \eo \ee \ev \e\r \e\n
            bind -M $mode $key true
        end
        bind -M $mode -k f1 true 2>/dev/null
    end
end
__dw_bind
__dw_say ready
