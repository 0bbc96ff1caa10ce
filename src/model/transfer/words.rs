//! A command line, cut into words as a POSIX shell does where it expands nothing (POSIX.1-2024, XCU 2.2 and 2.3).

/// The words of a line in which a shell finds nothing but words: plain characters, `'...'`, `"..."` and `\` before a
/// character. `None` if there is anything else in it, or a control character anywhere.
pub fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    // What there is of the current word; none between words.
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => loop {
                match rest.next()? {
                    '\'' => {
                        word.get_or_insert_default();
                        break;
                    }
                    c => take(&mut word, c)?,
                }
            },
            '"' => loop {
                match rest.next()? {
                    '"' => {
                        word.get_or_insert_default();
                        break;
                    }
                    // XCU 2.2.3: before anything but these the backslash stays.
                    '\\' => match rest.next()? {
                        c @ ('$' | '`' | '"' | '\\') => take(&mut word, c)?,
                        c => {
                            take(&mut word, '\\')?;
                            take(&mut word, c)?;
                        }
                    },
                    '$' | '`' => return None,
                    c => take(&mut word, c)?,
                }
            },
            '\\' => take(&mut word, rest.next()?)?,
            // zsh puts a program's path there, behind empty quotes, too.
            '=' if word.as_deref().unwrap_or_default().is_empty() => return None,
            // yash takes blanks of other scripts for blanks.
            c if is_plain(c) || (!c.is_ascii() && !c.is_whitespace()) => take(&mut word, c)?,
            _ => return None,
        }
    }
    words.extend(word);
    Some(words)
}

/// A control character moves cursors in listings, and shells differ in what they make of some.
fn take(word: &mut Option<String>, c: char) -> Option<()> {
    (!c.is_control()).then(|| word.get_or_insert_default().push(c))
}

/// Means nothing to any shell.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./:,@%+=".contains(c)
}

/// A word as every shell reads it back: POSIX shells, and csh and fish too, which have their own ideas of `\` and `!`
/// between quotes.
pub fn quoted(word: &str) -> String {
    if !word.is_empty() && word.chars().all(is_plain) && !word.starts_with(['=', '%']) {
        return word.to_owned();
    }
    let mut quoted = String::from("'");
    for c in word.chars() {
        if matches!(c, '\'' | '\\' | '!') {
            quoted.extend(['\'', '\\', c, '\'']);
        } else {
            quoted.push(c);
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_are_read_as_posix_has_them() {
        for (line, wanted) in [
            ("", &[][..]),
            ("  a  b ", &["a", "b"]),
            ("a''b", &["ab"]),
            ("''", &[""]),
            ("\"\" x", &["", "x"]),
            (r#"'a\b' "a\b" a\b"#, &[r"a\b", r"a\b", "ab"]),
            (r#""\$ \` \" \\ \x""#, &[r#"$ ` " \ \x"#]),
            (r#""it's"'"'"#, &[r#"it's""#]),
            (r"\*\ \~", &["* ~"]),
            ("'*;$(x)' \"!#\"", &["*;$(x)", "!#"]),
            ("'ü\u{3000}ß' a=b", &["ü\u{3000}ß", "a=b"]),
        ] {
            assert_eq!(words(line).unwrap(), wanted, "{line}");
        }
    }

    #[test]
    fn what_some_shell_reads_differently_is_refused() {
        for line in ["scp -f =sh", "scp -f a\u{3000}b", "scp ''=x"] {
            assert_eq!(words(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(word in "[^\\p{Cc}]{0,20}") {
            prop_assert_eq!(words(&quoted(&word)), Some(vec![word]));
        }

        #[test]
        fn no_line_has_a_word_that_it_does_not_hold(line in ".{0,60}") {
            if let Some(words) = words(&line) {
                prop_assert!(words.iter().map(String::len).sum::<usize>() <= line.len());
            }
        }
    }
}
