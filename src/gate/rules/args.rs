//! Arguments and options that rules name.

use std::fmt;

use crate::gate::shell::word::Word;
use crate::pattern::part_matches;

/// One word that a rule's `args` wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// This word, or one with something in it that may vary.
    One {
        /// What stands before it, or the whole word.
        head: String,
        /// What may vary.
        hole: Option<Hole>,
        /// What stands behind it.
        tail: String,
    },
    /// `...`: any words, or none.
    Rest,
}

/// `{name}` or `{name:pattern}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// Its name, for people.
    pub name: String,
    /// What it takes.
    pub takes: Takes,
}

/// What a placeholder takes. Never a word that begins with a dash, unless the rule writes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// Letters, digits and `. _ @ : + = , % -`: what stands in no path.
    Word,
    /// Digits.
    Number,
    /// The name or the address of a machine.
    Host,
    /// A path: judged by `reads`, `writes` and `deletes`.
    Path,
    /// One of these; `*` in them stands for anything but blanks and `/`.
    OneOf(Vec<String>),
}

impl Arg {
    /// As it is written.
    pub fn text(&self) -> String {
        match self {
            Self::Rest => String::from("..."),
            Self::One { head, hole: None, .. } => head.clone(),
            Self::One { head, hole: Some(Hole { name, takes }), tail } => {
                let takes = match takes {
                    Takes::Word => String::new(),
                    Takes::Number => String::from(":number"),
                    Takes::Host => String::from(":host"),
                    Takes::Path => String::from(":path"),
                    Takes::OneOf(all) => format!(":{}", all.join("|")),
                };
                format!("{head}{{{name}{takes}}}{tail}")
            }
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "..." {
            return Ok(Self::Rest);
        }
        if text.chars().any(char::is_control) {
            return Err("an argument in a rule has no control characters");
        }
        let Some((head, rest)) = text.split_once('{') else {
            return match text.contains(['}', '*']) {
                true => Err("`*` and `}` stand in placeholders only: write {name:app-*}"),
                false => Ok(Self::One { head: text.to_owned(), hole: None, tail: String::new() }),
            };
        };
        let (inside, tail) = rest.split_once('}').ok_or("a `{` is not closed")?;
        if head.contains(['}', '*']) || tail.contains(['{', '}', '*']) {
            return Err("one placeholder in a word, and no `*` outside of it");
        }
        let (name, pattern) = inside.split_once(':').unwrap_or((inside, "word"));
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if name.is_empty() || !name.chars().all(good) {
            return Err("a placeholder has a name of a-z 0-9 _ -: {unit:nginx|php*-fpm}");
        }
        let takes = match pattern {
            "word" => Takes::Word,
            "number" => Takes::Number,
            "host" => Takes::Host,
            "path" => Takes::Path,
            pattern => {
                let choices: Vec<String> = pattern.split('|').map(str::to_owned).collect();
                if choices.iter().any(|choice| choice.is_empty() || choice.trim() != choice) {
                    return Err("a choice is empty, or has a blank at its edge");
                }
                Takes::OneOf(choices)
            }
        };
        let hole = Some(Hole { name: name.to_owned(), takes });
        Ok(Self::One { head: head.to_owned(), hole, tail: tail.to_owned() })
    }

    /// Whether this is one of the words that it wants.
    pub(in crate::gate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Rest => true,
            Self::One { head, hole: None, .. } => head == text,
            Self::One { head, hole: Some(hole), tail } => text
                .strip_prefix(head.as_str())
                .and_then(|text| text.strip_suffix(tail.as_str()))
                .is_some_and(|text| hole.takes.accepts(text, head.is_empty())),
        }
    }
}

impl Takes {
    /// Whether it takes this; `leads`: at the start of a word, where a dash would make it an option.
    pub(super) fn accepts(&self, text: &str, leads: bool) -> bool {
        let own = |choice: &str| leads && choice.starts_with('-');
        if text.is_empty() {
            return matches!(self, Self::OneOf(choices) if choices.iter().any(|choice| choice == "*"));
        }
        let dash = leads && text.starts_with('-');
        match self {
            Self::Word => !dash && text.chars().all(|c| c.is_ascii_alphanumeric() || "._@:+=,%-".contains(c)),
            Self::Number => text.bytes().all(|byte| byte.is_ascii_digit()),
            Self::Host => !dash && super::paths::host_of(text).is_some_and(|host| host == text.to_ascii_lowercase()),
            Self::Path => text.starts_with('/') && !text.chars().any(char::is_control),
            Self::OneOf(choices) => choices.iter().any(|choice| {
                if !choice.contains('*') {
                    return choice == text;
                }
                let plain = !text.contains('/') && !text.chars().any(|c| c.is_whitespace() || c.is_control());
                plain && (!dash || own(choice)) && part_matches(choice.as_bytes(), text.as_bytes())
            }),
        }
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rest => f.write_str("..."),
            Self::One { head, hole: None, .. } => f.write_str(head),
            Self::One { head, hole: Some(hole), tail } => write!(f, "{head}{{{}}}{tail}", hole.name),
        }
    }
}

/// Whether the words are those that the rule wants, each in its place.
pub(super) fn fit(args: &[Arg], words: &[&Word]) -> bool {
    let mut words = words.iter();
    for arg in args {
        if *arg == Arg::Rest {
            return true;
        }
        if !words.next().and_then(|word| word.literal()).is_some_and(|text| arg.matches(&text)) {
            return false;
        }
    }
    words.next().is_none()
}

/// Whether the words have, or may have, those of the rule in its order, whatever stands between: options stand in any place.
pub(super) fn may_have(args: &[Arg], words: &[Word]) -> bool {
    // What only the target knows may become any words.
    if words.iter().any(|word| word.literal().is_none()) {
        return true;
    }
    let mut words = words.iter();
    let mut wanted = args.iter().filter(|arg| **arg != Arg::Rest);
    wanted.all(|arg| words.any(|word| word.literal().is_some_and(|text| arg.matches(&text))))
}

/// An option that a rule names: `-n`, `--lines`, `-n=` with a value, `-#` for a dash and digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// As it is typed.
    pub text: String,
    /// Whether it takes a value, in the same word or the next.
    pub valued: bool,
}

impl Flag {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, valued) = text.strip_suffix('=').map_or((text, false), |name| (name, true));
        let good = |c: char| c.is_ascii_graphic() && c != '=';
        if name.len() < 2 || !name.starts_with('-') || name == "--" || !name.chars().all(good) {
            return Err("write an option as it is typed, with `=` behind it if it takes a value: -n, --lines=");
        }
        Ok(Self { text: name.to_owned(), valued })
    }
}

/// The words without the options that are named.
///
/// # Errors
/// The first option that is not.
pub(super) fn without_flags<'w>(flags: &[Flag], words: &'w [Word]) -> Result<Vec<&'w Word>, String> {
    let mut left = Vec::new();
    let mut words = words.iter();
    let mut ended = false;
    while let Some(word) = words.next() {
        let text = word.literal().unwrap_or_default();
        if ended || !text.starts_with('-') || text == "-" {
            left.push(word);
        } else if text == "--" {
            ended = true;
        } else {
            match named(flags, &text) {
                Some(true) => drop(words.next()),
                Some(false) => {}
                None => return Err(text.into_owned()),
            }
        }
    }
    Ok(left)
}

/// Whether the option is named, and if so, whether its value is the next word.
fn named(flags: &[Flag], text: &str) -> Option<bool> {
    let find = |name: &str| flags.iter().find(|flag| flag.text == name);
    if let Some(flag) = find(text) {
        return Some(flag.valued);
    }
    let digits = text.strip_prefix('-').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    if digits && find("-#").is_some() {
        return Some(false);
    }
    if text.starts_with("--") {
        let (name, _) = text.split_once('=')?;
        return find(name).filter(|flag| flag.valued).map(|_| false);
    }
    // Letters in one word; what stands behind one with a value is its value.
    let mut letters = text.chars();
    letters.next();
    while let Some(letter) = letters.next() {
        let flag = find(&format!("-{letter}"))?;
        if flag.valued {
            return Some(letters.as_str().is_empty());
        }
        if letters.as_str().bytes().all(|byte| byte.is_ascii_digit()) && !letters.as_str().is_empty() {
            return Some(false);
        }
    }
    Some(false)
}

/// Whether one of the options is given, or may be.
pub(super) fn may_give(flags: &[Flag], words: &[Word]) -> bool {
    words.iter().any(|word| {
        let Some(text) = word.literal() else { return true };
        flags.iter().any(|flag| {
            let short = flag.text.chars().nth(1).filter(|_| flag.text.len() == 2);
            match short {
                // In one word with others, perhaps behind one with a value: in doubt it is given.
                Some(letter) => text.starts_with('-') && !text.starts_with("--") && text.contains(letter),
                // Long names may be cut short.
                None => {
                    let name = text.split('=').next().unwrap_or(&text);
                    name == flag.text || (name.len() > 2 && name.starts_with("--") && flag.text.starts_with(name))
                }
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::shell::word::{Dynamic, Part};

    fn words(line: &str) -> Vec<Word> {
        let part = |text: &str| match text.strip_prefix('$') {
            Some(name) => Part::Dynamic(Dynamic::Parameter { name: name.into(), words: Vec::new() }),
            None => Part::Literal(text.into()),
        };
        line.split_whitespace().map(|text| Word { parts: vec![part(text)], at: 0..0 }).collect()
    }

    fn args(list: &[&str]) -> Vec<Arg> {
        list.iter().map(|text| Arg::parse(text).unwrap()).collect()
    }

    #[test]
    fn arguments_fit_word_by_word() {
        let fits = |list: &[&str], line: &str| fit(&args(list), &words(line).iter().collect::<Vec<_>>());
        let unit: &[&str] = &["{verb:restart|status}", "{unit:nginx|php*-fpm}"];
        for line in ["restart nginx", "status php8-fpm"] {
            assert!(fits(unit, line), "{line}");
        }
        for line in
            ["restart", "restart sshd", "restart php/x-fpm", "restart nginx x", "stop nginx", "restart $u", "-x nginx"]
        {
            assert!(!fits(unit, line), "{line}");
        }
        assert!(fits(&["list", "..."], "list") && fits(&["list", "..."], "list -x $y"));
        assert!(fits(&["--site={site}"], "--site=a-b") && !fits(&["--site={site}"], "--site=/etc/x"));
        assert!(!fits(&["{unit:*}"], "--root=x") && fits(&["{unit:*}"], "x") && fits(&["{u:-*}"], "-x"));
        assert!(fits(&["{n:number}"], "12") && !fits(&["{n:number}"], "-1"));
        assert!(fits(&["{h:host}"], "web3") && !fits(&["{h:host}"], "-oProxyCommand=x") && !fits(&["{h:host}"], "a/b"));
        assert!(fits(&["{f:path}"], "/a/b") && !fits(&["{f:path}"], "a"));
    }

    #[test]
    fn what_is_no_argument_of_a_rule_is_told() {
        for bad in ["app-*", "{a}{b}", "{a", "a}", "{A}", "{:x}", "{a:}", "{a:x|}", "{a:x | y}", "{a:x}*"] {
            assert!(Arg::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_forbidden_argument_is_found_wherever_it_stands_or_may_stand() {
        let has = |list: &[&str], line: &str| may_have(&args(list), &words(line));
        for line in ["stop x", "--no-pager stop x", "-H host stop", "$verb x", "x $rest"] {
            assert!(has(&["stop", "..."], line), "{line}");
        }
        for line in ["status x", "", "stopp"] {
            assert!(!has(&["stop", "..."], line), "{line}");
        }
    }

    #[test]
    fn options_are_those_that_the_rule_names() {
        let flags: Vec<Flag> =
            ["-n=", "-f", "-i", "--lines=", "--color", "-#"].iter().map(|text| Flag::parse(text).unwrap()).collect();
        let left = |line: &str| {
            let words = words(line);
            let left = without_flags(&flags, &words).map(|words| {
                words.iter().map(|word| word.literal().unwrap_or("$".into()).into_owned()).collect::<Vec<_>>().join(" ")
            });
            left.ok()
        };
        for (line, rest) in [
            ("-f /a", "/a"),
            ("-fi -n 20 /a", "/a"),
            ("-fn20 /a", "/a"),
            ("-20 /a", "/a"),
            ("--lines=3 --lines 4 a", "a"),
            ("-- -x", "-x"),
            ("-f - $x", "- $"),
        ] {
            assert_eq!(left(line).as_deref(), Some(rest), "{line}");
        }
        for line in ["-x", "-fx", "--line=3", "--color=auto", "-n5 -F"] {
            assert_eq!(left(line), None, "{line}");
        }
        assert!(may_give(&flags[..1], &words("-vn x")) && may_give(&flags[3..4], &words("--lin=2")));
        assert!(!may_give(&flags[..1], &words("--n x")) && may_give(&flags[..1], &words("$x")));
    }
}
