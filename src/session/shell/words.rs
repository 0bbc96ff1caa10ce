//! What the shell does by itself. Pure.

use super::surroundings::Wanted;
use crate::gate::shell;
use crate::gate::shell::tree::Command;
use crate::gate::shell::word::{Dynamic, Part, Word};

/// What is built into the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Builtin {
    /// What may be run here, and what the shell does by itself.
    Help,
    /// Why the last was refused.
    Why,
    /// How to ask for more.
    Request,
    /// What was run before.
    History,
    /// How the last one ended.
    Status,
    /// Where the next one starts.
    Pwd,
    /// Another directory.
    Cd(Wanted),
    /// A file is edited.
    Edit(Wanted),
    /// The variables that are set; or one more.
    Export(Option<(String, String)>),
    /// The end, perhaps with a status.
    Exit(Option<u32>),
}

/// What a line is to the shell itself: `None` if it is one to be judged.
///
/// # Errors
/// How it is used.
pub fn builtin(line: &str) -> Option<Result<Builtin, &'static str>> {
    if let Some(name) = line.trim().strip_prefix(':') {
        return match name {
            "request" => Some(Ok(Builtin::Request)),
            "why" => Some(Ok(Builtin::Why)),
            "help" => Some(Ok(Builtin::Help)),
            _ => None,
        };
    }
    let words = words(line)?;
    let (name, rest) = words.split_first()?;
    let name = name.literal()?;
    let alone = |builtin| if rest.is_empty() { Ok(builtin) } else { Err("it stands alone") };
    Some(match name.as_ref() {
        "help" => alone(Builtin::Help),
        "why" => alone(Builtin::Why),
        "history" => alone(Builtin::History),
        "status" => alone(Builtin::Status),
        "pwd" => alone(Builtin::Pwd),
        "cd" => place(rest).map(Builtin::Cd).ok_or("use it as: cd [DIRECTORY], or cd -"),
        "edit" => place(rest).filter(is_file).map(Builtin::Edit).ok_or("use it as: edit FILE"),
        "export" => export(rest).map(Builtin::Export).ok_or("use it as: export [NAME=VALUE]"),
        "exit" | "logout" => exit(rest).map(Builtin::Exit).ok_or("use it as: exit [STATUS]"),
        _ => return None,
    })
}

/// The words of a line that is one plain command.
fn words(line: &str) -> Option<Vec<Word>> {
    let script = shell::parse(line).ok()?;
    let [entry] = script.entries.as_slice() else { return None };
    let (None, [piped]) = (entry.pipeline.prefix, entry.pipeline.commands.as_slice()) else { return None };
    let Command::Simple(simple) = &piped.command else { return None };
    let plain = simple.assignments.is_empty()
        && simple.redirections.is_empty()
        && entry.then == shell::tree::Joint::Sequence
        && !piped.errors_too;
    plain.then(|| simple.words.clone())
}

/// Whether it names a file, or might.
fn is_file(wanted: &Wanted) -> bool {
    matches!(wanted, Wanted::Path(_) | Wanted::BelowHome(_))
}

fn place(words: &[Word]) -> Option<Wanted> {
    let words = match words.split_first() {
        Some((first, rest)) if first.literal().is_some_and(|text| text == "--") => rest,
        Some(_) | None => words,
    };
    let word = match words {
        [] => return Some(Wanted::Home),
        [word] => word,
        _ => return None,
    };
    if let Some((Part::Dynamic(Dynamic::Home(home)), rest)) = word.parts.split_first()
        && home == "~"
    {
        let rest = Word { parts: rest.to_vec(), at: word.at.clone() };
        let rest = rest.literal()?;
        let rest = rest.trim_start_matches('/');
        return Some(if rest.is_empty() { Wanted::Home } else { Wanted::BelowHome(rest.to_owned()) });
    }
    match word.literal()?.as_ref() {
        "" => None,
        "-" => Some(Wanted::Previous),
        path => Some(Wanted::Path(path.to_owned())),
    }
}

fn export(words: &[Word]) -> Option<Option<(String, String)>> {
    match words {
        [] => Some(None),
        [word] => {
            let (name, value) = word.split_at_equals()?;
            Some(Some((name, value.literal()?.into_owned())))
        }
        _ => None,
    }
}

fn exit(words: &[Word]) -> Option<Option<u32>> {
    match words {
        [] => Some(None),
        [word] => word.literal()?.parse::<u8>().ok().map(|status| Some(u32::from(status))),
        _ => None,
    }
}

/// What `help` says of the shell itself, where files may be edited or not.
pub fn help(edits: bool) -> String {
    let edit = if edits { EDIT } else { "" };
    format!("{FIRST}{edit}{REST}")
}

const EDIT: &str = "  edit FILE          fetches a file; shows what differs, writes it after a yes\n";

const FIRST: &str = "\
Each line is judged by the rules of your access, and runs only in the form that
was judged, in a channel of its own. Words are read as in any shell: quotes,
pipes, && || and ; work; variables, substitutions, & and functions do not.
  help, why          this; why the last line was refused
  :request           how to ask for more
  cd [DIR], pwd      where the next line starts; cd alone leads home, cd - back
";

const REST: &str = "  history            what you ran; Up, Down and Ctrl-R look for it
  export NAME=VALUE  LANG and LC_... for the programs that you run
  status             how the last line ended
  exit, Ctrl-D       the end
  Ctrl-C             ends what runs, drops what you type, withdraws what waits
  Ctrl-Z             does nothing here: there are no jobs
What you type while a program runs is the program's. What comes behind its end
stands in the next line, and runs once you press Enter.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_window_of_80_columns() {
        let help = help(true);
        assert!(help.lines().all(|line| line.chars().count() < 80), "{help}");
    }

    #[test]
    fn the_shell_itself_does_what_is_one_plain_command_of_its_own() {
        for (line, expected) in [
            ("help", Builtin::Help),
            (" why ", Builtin::Why),
            (":request", Builtin::Request),
            ("cd", Builtin::Cd(Wanted::Home)),
            ("cd ~", Builtin::Cd(Wanted::Home)),
            ("cd ~/a", Builtin::Cd(Wanted::BelowHome("a".into()))),
            ("cd -", Builtin::Cd(Wanted::Previous)),
            ("cd -- '-'x", Builtin::Cd(Wanted::Path("-x".into()))),
            ("cd 'a b'\\;id", Builtin::Cd(Wanted::Path("a b;id".into()))),
            ("edit a", Builtin::Edit(Wanted::Path("a".into()))),
            ("edit -- ~/'a b'", Builtin::Edit(Wanted::BelowHome("a b".into()))),
            ("export LANG=C", Builtin::Export(Some(("LANG".into(), "C".into())))),
            ("export", Builtin::Export(None)),
            ("exit", Builtin::Exit(None)),
            ("logout 3", Builtin::Exit(Some(3))),
        ] {
            assert_eq!(builtin(line), Some(Ok(expected)), "{line}");
        }
        for wrong in [
            "cd a b", "cd $(id)", "cd $HOME", "cd ~root", "exit 300", "export x", "help me", "cd ''", "edit", "edit -",
            "edit a b",
        ] {
            assert!(matches!(builtin(wrong), Some(Err(_))), "{wrong}");
        }
        for judged in [
            "cd /etc; id",
            "cd /etc && id",
            "cd /etc > x",
            "x=1 cd /",
            "cd / &",
            "cd | cat",
            "$(cd)",
            "",
            "(cd /)",
            "!cd",
            "/cd",
        ] {
            assert_eq!(builtin(judged), None, "{judged}");
        }
    }
}
