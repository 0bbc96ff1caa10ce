//! What a decision costs: lines of every corpus, and lines of 32 KiB made to be hard.

use std::time::Instant;

use crate::corpus::Entry;
use crate::judge::{Gate, Policy};
use crate::report::Report;

/// The longest line that the gate reads.
const LINE_BYTES_MAX: usize = doorward::gate::LINE_BYTES_MAX;

pub fn measure(gate: &Gate, entries: &[Entry], report: &mut Report) {
    let lines: Vec<String> =
        entries.iter().filter(|entry| entry.source != "lolbas").map(|entry| entry.judged().to_owned()).collect();
    report.times("everyday and attack lines", &times(gate, &lines), true);
    let longest = longest();
    report.times("lines of 32 KiB", &times(gate, &longest), false);
    if std::env::args().any(|word| word == "--kinds") {
        for line in &longest {
            let time = (0..3).map(|_| once(gate, line)).fold(f64::MAX, f64::min);
            if time > 500.0 {
                println!("{time:6.0} us: {:?}...", line.chars().take(24).collect::<String>());
            }
        }
    }
}

/// Microseconds of each line, sorted.
fn times(gate: &Gate, lines: &[String]) -> Vec<f64> {
    let mut all: Vec<f64> =
        lines.iter().map(|line| (0..3).map(|_| once(gate, line)).fold(f64::MAX, f64::min)).collect();
    all.sort_by(f64::total_cmp);
    all
}

fn once(gate: &Gate, line: &str) -> f64 {
    let start = Instant::now();
    std::hint::black_box(gate.judge(Policy::NoShell, std::hint::black_box(line)));
    start.elapsed().as_secs_f64() * 1e6
}

/// Lines as long as may be, each hard in another way.
fn longest() -> Vec<String> {
    let pieces = [
        "a",
        "a ",
        "ls;",
        "ls|",
        "ls&&",
        "'",
        "''",
        "\"\"",
        "\\",
        "\\a",
        "$a",
        "${a}",
        "${a:-",
        "$(",
        "$(ls) ",
        "`",
        "`ls` ",
        "(",
        "( ",
        "{ ",
        "<(",
        "<<a\n",
        ">a ",
        "[[ ",
        "((",
        "$((",
        "$((1)) ",
        "if ls;then ",
        "while ls;do ",
        "for a in ",
        "case a in ",
        "a()",
        "{a,",
        "{a,b}",
        "*",
        "?",
        "[a",
        "~a ",
        "a=b ",
        "a[1]=b ",
        "sudo ",
        "env a=b ",
        "nice -n 1 ",
        "xargs -n 1 ",
        "sh -c 'ls' ; ",
        "sh -c \"sh -c ",
        "find . -exec ls {} \\; ",
        "ssh h ",
        "timeout 1 ",
        "9",
        "9>",
        "!",
        "! ",
        "time ",
        "#",
        "\n",
        "\t",
        "é",
        "\u{200b}",
        "$'\\x41'",
        "$'\\",
        "<<<a ",
        "&",
        "& ",
        ">&1 ",
        "2>&1 ",
        "--a=b ",
        "-abc ",
        "eval ",
        "eval 'ls' ; ",
        "tar -cf a --to-command=ls b;",
        "awk '{print}' a;",
        "sed -e p a;",
        "git -c a=b log;",
        "/etc/passwd ",
        "http://a/ ",
        "a:b ",
        "python3 -c 'x' ",
        "find . -name a -o ",
    ];
    let fill = |piece: &str| piece.repeat(LINE_BYTES_MAX / piece.len());
    let alone = pieces.iter().map(|piece| fill(piece));
    let after = HEADS.iter().flat_map(|head| {
        pieces.iter().map(move |piece| {
            let mut line = format!("{head}{}", fill(piece));
            while line.len() > LINE_BYTES_MAX {
                line.pop();
            }
            line
        })
    });
    alone.chain(after).collect()
}

/// What the pieces stand behind: programs whose words are read each in another way.
const HEADS: [&str; 13] = [
    "ls ",
    "cp ",
    "rm ",
    "find . ",
    "sudo ",
    "xargs ",
    "ssh h ",
    "tar cf x ",
    "git ",
    "sed -e ",
    "nosuch ",
    "nosuch --exec ",
    "for a in ",
];
