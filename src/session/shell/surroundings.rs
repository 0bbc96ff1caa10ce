//! Where a command of the shell starts: its directory, and the variables that it has. Pure.

use crate::gate::canonical::Argument;
use crate::gate::directory::Directory;

/// What a program on a terminal finds set: pagers that start nothing, and no editor. Built into every shell, so that no
/// program runs; a target's SSH server would drop most of it were it asked for as environment.
const ON_TERMINAL: &str = "export LESSSECURE=1 PAGER=cat SYSTEMD_PAGER= GIT_PAGER=cat EDITOR= VISUAL=; ";

/// The longest path (Linux's `PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;
/// So many variables may be set.
const VARIABLES_MAX: usize = 16;

/// What a user has chosen for the commands that follow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    directory: Option<Directory>,
    previous: Option<Option<Directory>>,
    environment: Vec<(String, String)>,
}

impl Surroundings {
    /// As a shell begins: in the account's home, with what its user's client has set.
    pub fn at_home(environment: Vec<(String, String)>) -> Self {
        Self { environment, ..Self::default() }
    }

    /// The directory; none in the account's home.
    pub fn directory(&self) -> Option<&Directory> {
        self.directory.as_ref()
    }

    /// As a prompt shows it.
    pub fn shown(&self) -> &str {
        self.directory().map_or("~", Directory::as_str)
    }

    /// What the target is sent before a line.
    pub fn before(&self, terminal: bool) -> String {
        let entered = self.directory().map(Directory::entered).unwrap_or_default();
        if terminal { format!("{ON_TERMINAL}{entered}") } else { entered }
    }

    /// The variables that are asked for.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Goes to a directory that the target has named.
    pub fn go(&mut self, directory: Option<Directory>) {
        let left = std::mem::replace(&mut self.directory, directory);
        self.previous = Some(left);
    }

    /// What tells whether a directory is there, and what its own name is: built into every shell.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub fn asks_for(&self, wanted: &Wanted) -> Result<Asked, String> {
        let path = match wanted {
            Wanted::Home => return Ok(Asked::Known(None)),
            Wanted::Previous => {
                return self
                    .previous
                    .clone()
                    .map(Asked::Known)
                    .ok_or_else(|| String::from("there is no directory before"));
            }
            Wanted::Path(path) => match self.directory() {
                _ if path.starts_with('/') => path.clone(),
                Some(directory) => format!("{}/{path}", directory.as_str().trim_end_matches('/')),
                None => format!("./{path}"),
            },
            // By a path that begins with a dot no variable of the target's leads elsewhere.
            Wanted::BelowHome(path) => format!("./{path}"),
        };
        let path = Argument::text(&path).map_err(|why| why.to_string())?;
        // fish knows `-P` of `pwd` alone.
        Ok(Asked::Target(format!("cd -- {path} && pwd -P")))
    }

    /// A file's path, as the target's SFTP takes it: what is relative begins in the account's home.
    ///
    /// # Errors
    /// Why it is none.
    pub fn file(&self, wanted: &Wanted) -> Result<String, &'static str> {
        let path = match (wanted, self.directory()) {
            (Wanted::Home | Wanted::Previous, _) => return Err("it is a directory"),
            (Wanted::Path(path), _) if path.starts_with('/') => path.clone(),
            (Wanted::Path(path), Some(directory)) => format!("{}/{path}", directory.as_str().trim_end_matches('/')),
            (Wanted::Path(path), None) | (Wanted::BelowHome(path), _) => format!("./{path}"),
        };
        if path.chars().any(char::is_control) {
            return Err("its name has control characters");
        }
        if path.len() > PATH_BYTES_MAX { Err("its path is too long") } else { Ok(path) }
    }

    /// Sets a variable.
    ///
    /// # Errors
    /// Why not.
    pub fn export(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '@' | '-');
        let named =
            name == "LANG" || (name.starts_with("LC_") && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        if !named || name.len() > 64 {
            return Err("only LANG and LC_... pass to programs here");
        }
        if value.len() > 64 || !value.chars().all(plain) {
            return Err("its value is letters, digits, `_`, `.`, `@` and `-`, and at most 64 of them");
        }
        if self.environment.len() >= VARIABLES_MAX && self.environment.iter().all(|(own, _)| own != name) {
            return Err("too many are set");
        }
        self.environment.retain(|(own, _)| own != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        Ok(())
    }
}

/// Where somebody wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// To the account's home.
    Home,
    /// To where they were before.
    Previous,
    /// By this path.
    Path(String),
    /// By this path from the account's home.
    BelowHome(String),
}

/// How it is learnt where that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It is known.
    Known(Option<Directory>),
    /// The target says so, by this.
    Target(String),
}

/// The directory that a target has named: the last line of what it printed. Whatever a start-up file prints comes before it.
pub fn answered(printed: &[u8]) -> Option<Directory> {
    let text = std::str::from_utf8(printed).ok()?;
    let line = text.strip_suffix('\n')?.rsplit('\n').next()?;
    Directory::parse(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Surroundings {
        Surroundings { directory: Directory::parse(text), ..Surroundings::default() }
    }

    #[test]
    fn a_line_starts_where_its_user_is_with_pagers_that_start_nothing() {
        assert_eq!(Surroundings::default().before(false), "");
        assert_eq!(at("/srv/a b").before(false), "cd -- '/srv/a b' || exit 1; ");
        let on_terminal = at("/srv").before(true);
        assert!(on_terminal.starts_with("export LESSSECURE=1 PAGER=cat ") && on_terminal.ends_with("exit 1; "));
    }

    #[test]
    fn the_target_is_asked_for_a_directory_in_quotes_and_never_by_its_own_search_path() {
        let path = |text: &str| Wanted::Path(text.to_owned());
        let asked = |surroundings: &Surroundings, wanted: &Wanted| match surroundings.asks_for(wanted).unwrap() {
            Asked::Target(line) => line,
            Asked::Known(known) => format!("{known:?}"),
        };
        let home = Surroundings::default();
        assert_eq!(asked(&home, &path("a; id")), "cd -- './a; id' && pwd -P");
        assert_eq!(asked(&home, &path("..")), "cd -- './..' && pwd -P");
        assert_eq!(asked(&home, &path("/etc")), "cd -- '/etc' && pwd -P");
        assert_eq!(asked(&at("/srv"), &path("-x")), "cd -- '/srv/-x' && pwd -P");
        assert_eq!(asked(&at("/"), &path("x")), "cd -- '/x' && pwd -P");
        assert_eq!(asked(&at("/srv"), &Wanted::BelowHome("x".into())), "cd -- './x' && pwd -P");
        assert_eq!(asked(&at("/srv"), &Wanted::Home), "None");
        assert!(home.asks_for(&Wanted::Previous).is_err() && home.asks_for(&path("a\u{1b}b")).is_err());
        let mut moved = at("/srv");
        moved.go(Directory::parse("/etc"));
        assert_eq!(moved.asks_for(&Wanted::Previous), Ok(Asked::Known(Directory::parse("/srv"))));
    }

    #[test]
    fn a_file_is_named_from_where_its_user_is() {
        let path = |text: &str| Wanted::Path(text.to_owned());
        let home = Surroundings::default();
        assert_eq!(home.file(&path("a b")).unwrap(), "./a b");
        assert_eq!(home.file(&path("/etc/x")).unwrap(), "/etc/x");
        assert_eq!(at("/srv").file(&path("../x")).unwrap(), "/srv/../x");
        assert_eq!(at("/").file(&path("x")).unwrap(), "/x");
        assert_eq!(at("/srv").file(&Wanted::BelowHome("x".into())).unwrap(), "./x");
        for wrong in [Wanted::Home, Wanted::Previous, path("a\u{1b}b"), path(&"x".repeat(5000))] {
            assert!(home.file(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_a_whole_last_line_that_is_a_path_is_a_directory() {
        assert_eq!(answered(b"welcome\n/srv/a\n").unwrap().as_str(), "/srv/a");
        for bad in [&b""[..], b"/srv", b"srv\n", b"/srv/\xff\n", b"/a\x1b[2J\n", b"/srv\n\n", b"/srv/../etc\n"] {
            assert_eq!(answered(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn only_a_language_is_exported() {
        let mut surroundings = Surroundings::at_home(vec![("LANG".into(), "C".into())]);
        surroundings.export("LANG", "de_DE.UTF-8").unwrap();
        assert_eq!(surroundings.environment(), [("LANG".to_owned(), "de_DE.UTF-8".to_owned())]);
        for (name, value) in [("LD_PRELOAD", "x"), ("PATH", "x"), ("LC_a", "x"), ("LC_ALL", "$(id)"), ("LANG ", "x")] {
            assert!(surroundings.export(name, value).is_err(), "{name}={value}");
        }
    }
}
