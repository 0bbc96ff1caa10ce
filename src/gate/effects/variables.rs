//! Variables of the environment and of the shell that decide what runs.

use super::EffectKind;
use super::text::{after, head};
use crate::gate::shell::word::Word;

/// What programs start by name, or read as a list of commands: shown text is run.
const RUN: &[&str] = &[
    "BROWSER",
    "CVS_RSH",
    "EDITOR",
    "FCEDIT",
    "LESSCLOSE",
    "LESSOPEN",
    "MANPAGER",
    "MANROFFOPT",
    "PAGER",
    "PATH",
    "PROMPT_COMMAND",
    "PSQL_EDITOR",
    "PSQL_PAGER",
    "RSYNC_CONNECT_PROG",
    "RSYNC_RSH",
    "SHELL",
    "SSH_ASKPASS",
    "SSH_PKCS11_HELPER",
    "SUDO_ASKPASS",
    "SUDO_EDITOR",
    "SVN_SSH",
    "SYSTEMD_EDITOR",
    "SYSTEMD_PAGER",
    "VISUAL",
];

/// What is read as code, or names files of it, or changes what every word of a line means.
const LOAD: &[&str] = &[
    "APT_CONFIG",
    "AWKLIBPATH",
    "AWKPATH",
    "AWS_CONFIG_FILE",
    "BASHOPTS",
    "BASH_ALIASES",
    "BASH_CMDS",
    "BASH_ENV",
    "BASH_LOADABLES_PATH",
    "BASH_XTRACEFD",
    "BAT_CONFIG_PATH",
    "CDPATH",
    "CLASSPATH",
    "CURL_HOME",
    "ENV",
    "EXINIT",
    "FPATH",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "GOFLAGS",
    "GREP_OPTIONS",
    "GROFF_BIN_PATH",
    "GROFF_COMMAND_PREFIX",
    "GROFF_FONT_PATH",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "INPUTRC",
    "JAVA_TOOL_OPTIONS",
    "KUBECONFIG",
    "LESS",
    "LESSKEY",
    "LESSKEYIN",
    "LOCPATH",
    "LUA_CPATH",
    "LUA_INIT",
    "LUA_PATH",
    "MAKEFILES",
    "MAKEFLAGS",
    "MANOPT",
    "MANPATH",
    "MYSQL_HOME",
    "MYVIMRC",
    "NLSPATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "OLDPWD",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "POSIXLY_CORRECT",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "PSQLRC",
    "PWD",
    "PYTHONBREAKPOINT",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "PYTHONWARNINGS",
    "RIPGREP_CONFIG_PATH",
    "RUBYLIB",
    "RUBYOPT",
    "R_PROFILE",
    "R_PROFILE_USER",
    "SCREENRC",
    "SHELLOPTS",
    "SSH_SK_PROVIDER",
    "SYSTEM_WGETRC",
    "TAR_OPTIONS",
    "TERMCAP",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TERMPATH",
    "UNZIP",
    "UNZIPOPT",
    "VIM",
    "VIMINIT",
    "VIMRUNTIME",
    "WGETRC",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    "ZDOTDIR",
    "ZIP",
    "ZIPOPT",
    "_JAVA_OPTIONS",
];

/// Beginnings of names of the same kind.
const LOAD_FAMILIES: &[&str] = &["BASH_FUNC_", "DYLD_", "GIT_", "JDK_JAVA_OPTIONS", "LD_", "LUA_INIT_", "npm_config_"];

/// Of those families, what only says who and when.
const PLAIN: &[&str] = &[
    "GIT_AUTHOR_DATE",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_NAME",
    "GIT_COMMITTER_DATE",
    "GIT_COMMITTER_EMAIL",
    "GIT_COMMITTER_NAME",
    "GIT_OPTIONAL_LOCKS",
    "GIT_TERMINAL_PROMPT",
];

/// The variable and its value, if a word is `NAME=value`; of `NAME+=value` too.
pub(super) fn split(word: &Word) -> Option<(String, Word)> {
    let text = head(word);
    let (name, _) = text.split_once('=')?;
    Some((name.strip_suffix('+').unwrap_or(name).to_owned(), after(word, name.len() + 1)))
}

/// What setting a variable does. `value` is none where only its name is known.
pub(super) fn effect(name: &str, value: Option<&Word>) -> Option<EffectKind> {
    let (stem, index) = name.split_once('[').map_or((name, ""), |(stem, index)| (stem, index));
    // An index is calculated, and a calculation runs the substitutions in it, in single quotes, too. What is put into a
    // variable may be calculated later: `x='a[$(id)]'; echo $((x))`.
    if super::told::hides_code(index) || value.is_some_and(|value| super::told::index_with_code(&head(value))) {
        return Some(EffectKind::LoadCode);
    }
    // Where words are parted matters to what is expanded only, and that is dynamic for all who read it. Signs that no
    // program's name and no option has part nothing of interest: `IFS=: read -r a b`.
    let signs = |value: &Word| value.likely().is_some_and(|text| text.chars().all(|c| " \t\n:,;|".contains(c)));
    if stem == "IFS" && value.is_some_and(signs) {
        return None;
    }
    if RUN.binary_search(&stem).is_ok() || stem.ends_with("_PAGER") || stem.ends_with("_EDITOR") {
        // To switch a pager off is what the careful do.
        let off = value.and_then(Word::literal).is_some_and(|value| matches!(&*value, "" | "cat"));
        return if off && stem.ends_with("PAGER") { None } else { Some(EffectKind::RunProgram) };
    }
    let family = LOAD_FAMILIES.iter().any(|family| stem.starts_with(family));
    let loads = LOAD.binary_search(&stem).is_ok() || (family && !PLAIN.contains(&stem));
    loads.then_some(EffectKind::LoadCode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_so_that_they_can_be_searched() {
        for list in [RUN, LOAD] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }
}
