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
# Completion runs a command substitution that stands where a command does.
function __dw_tab
    if string match -qr '[(`]' -- (commandline | string collect)
        commandline -f repaint
    else
        commandline -f $argv
    end
end
# Takes keys from what runs a line, an editor, a pager or a listing, whatever their names are; fails if any has one left.
function __dw_free
    set -l acts 'execute|__fish_man_page|edit_command_buffer|__fish_preview_current_file|__fish_paginate|__fish_list_current_token|__fish_whatis_current_token'
    for line in (bind --preset; bind --user)
        string match -qr "(?:^|[ ;'\"])(?:$acts)(?:\$|[ ;'\"&|])" -- $line; or continue
        echo -- $line | read -lat words
        set -l mine --user
        set -l options
        set -l at 2
        while string match -q -- '-*' $words[$at]
            switch $words[$at]
                case --preset
                    set mine --preset
                case -M --mode
                    set options -M $words[(math $at + 1)]
                    set at (math $at + 1)
                case -m --sets-mode
                    set at (math $at + 1)
                case -k --key
                    set -a options -k
            end
            set at (math $at + 1)
        end
        bind $mine -e $options -- $words[$at]
    end
    not begin; bind --preset; bind --user; end | string match -qr "(?:^|[ ;'\"])(?:$acts)(?:\$|[ ;'\"&|])"
end
function __dw_bind
    set -l named 1
    set -l enters \r \n
    set -l knocked \e\[24\;8~
    set -l tabs \t
    set -l back \e\[Z
    set -l dead \cx\r \cx\n \ep \el \ew \eh \eo \ee \ev \e\r \e\n
    if not string match -qr '^[0-3]\.' -- $version
        set enters enter shift-enter ctrl-enter ctrl-j ctrl-m
        set knocked ctrl-alt-shift-f12
        set tabs tab
        set back shift-tab
        set dead ctrl-x,enter ctrl-x,ctrl-j alt-p alt-l alt-w alt-h alt-o alt-e alt-v alt-enter f1
    end
    __dw_free; or return
    for mode in default insert visual replace replace_one
        for key in $enters
            bind -M $mode $key __dw_knock; or return
        end
        bind -M $mode $knocked __dw_enter; or return
        for key in $tabs
            bind -M $mode $key '__dw_tab complete'; or return
        end
        for key in $back
            bind -M $mode $key '__dw_tab complete-and-search'; or return
        end
        for key in $dead
            bind -M $mode $key true
        end
        bind -M $mode -k btab '__dw_tab complete-and-search' 2>/dev/null
        bind -M $mode -k f1 true 2>/dev/null
        for key in $enters
            string match -q '*__dw_knock*' -- (bind --user -M $mode $key); or return
        end
    end
end
# At the first prompt fish has bound its own keys. What is defined first is called first.
function __dw_start --on-event fish_prompt
    functions -e __dw_start
    if __dw_bind
        __dw_say ready
    else
        functions -e __dw_prompt __dw_ran
        bind -M default \r execute
        bind -M insert \r execute
        __dw_say unfit
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
