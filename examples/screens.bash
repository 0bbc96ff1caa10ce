# Screens at which people sit: X servers without a monitor, typed at and looked at. A tour sources this after tour.bash; it
# needs Xvfb, xsetroot, xdotool and ImageMagick.
# shellcheck shell=bash

declare -A SCREEN

soon() { # WHAT COMMAND...: waits until the command is true; says WHAT is missing if it does not become so
  local what=$1 deadline=$((SECONDS + 60))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || fail "there is no $what"
    sleep 0.05
  done
}
screen() { # NAME WIDTHxHEIGHT: a black screen of that size
  Xvfb -displayfd 3 -screen 0 "$2x24" -nolisten tcp -noreset 3> "$HERE/$1.display" 2> "$HERE/$1.screen.log" &
  started+=($!)
  soon "screen for $1" test -s "$HERE/$1.display"
  SCREEN[$1]=:$(cat "$HERE/$1.display")
  at "$1" xsetroot -solid black
}
at()     { local display=${SCREEN[$1]}; shift; DISPLAY=$display "$@"; } # NAME COMMAND...: runs it at their screen
shot()   { at "$1" import -silent -window root "$2"; }                  # NAME FILE: what is on it, as a picture
enter()  { at "$1" xdotool mousemove 100 60 type --delay 40 "$2"; at "$1" xdotool key Return; } # NAME TEXT: types it, and Enter, where the windows are

share()  { # FILE COLOUR: how much of a picture has this colour, to the eye, in percent
  convert "$1" -fuzz 5% -fill black +opaque "$2" -fill white -opaque "$2" -format '%[fx:round(100*mean)]' info:
}
has()    { shot "$1" "$HERE/seen.png"; [ "$(share "$HERE/seen.png" "$2")" -ge "$3" ]; } # NAME COLOUR PERCENT: whether so much of it has it
differs() { # FILE FILE: how many pixels of two pictures differ by more than a codec does
  convert "$1" "$2" -compose difference -composite -colorspace gray -threshold 15% -format '%[fx:round(w*h*mean)]' info:
}
